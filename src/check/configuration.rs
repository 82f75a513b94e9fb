//! The configuration and the templates, without asking anybody.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::fix::Fix;
use super::{Area, Finding, Outcome};
use condor::CondorSettings;
use config::{self, Config};
use openstack::CloudSettings;
use scaling::action::Intent;
use scaling::observation::NodeId;
use system::deadline::Deadline;
use system::environment::Environment;
use userdata::cloudinit::{MAX_BASE64, Template};
use userdata::node::NodeUserData;

const NAME: &str = "configuration";
/// The templates that servers other than nodes are made of.
const TEMPLATES: [&str; 2] = ["base.yaml", "master.yaml"];
/// As long as a token of HTCondor with a lifetime and limits is.
const TOKEN_LENGTH: usize = 320;
/// The trust domain in user data that nobody gets.
const SOME_DOMAIN: &str = "pool.example.org";

/// What is worth knowing about a configuration that can be used.
pub fn check(config: &Config, environment: &Environment) -> Area {
    let files: Vec<String> = config
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let mut findings = vec![Finding::ok("files", files.join(", "))];
    let notes = config.notes.iter();
    findings.extend(notes.map(|note| {
        let exposed = note.file.as_ref().filter(|_| note.exposes_secret);
        let fix = exposed.map(|file| Fix::HideFile { path: file.clone() });
        Finding::of("files", Outcome::Warning, note.advice()).fixed_by(fix)
    }));
    if config.simulation.is_some() {
        findings.push(Finding::skipped(
            "simulation",
            "simulated site: no cloud and no pool to check",
        ));
    }
    for name in TEMPLATES {
        findings.push(match config::template(name, environment) {
            None => Finding::skipped("templates", format!("no {name}: nodes do not need it")),
            Some(path) => match Template::load(&path) {
                Ok(_) => Finding::ok("templates", path.display().to_string()),
                Err(error) => Finding::by_error("templates", error),
            },
        });
    }
    Area {
        name: NAME.to_owned(),
        findings,
        answered: None,
        cloud: None,
    }
}

/// A configuration that cannot be used: nothing else is looked at.
pub fn unusable(error: &config::Error) -> Area {
    Area {
        name: NAME.to_owned(),
        findings: error
            .problems
            .iter()
            .map(|problem| Finding::by_error("files", problem.advice()))
            .collect(),
        answered: None,
        cloud: None,
    }
}

/// The user data of a node can be filled in, and Nova takes it. No token is made for it: one of the usual length stands
/// in its place.
pub fn user_data(
    config: &Config,
    settings: &CloudSettings,
    region: &str,
    deadline: Deadline,
) -> Finding {
    const CHECK: &str = "user-data";
    let given = &config.condor;
    let template = settings.user_data_file.display();
    if given.host_ip.is_none()
        && let Ok(template) = Template::load(&settings.user_data_file)
        && ["host_ip", "master_ip"]
            .iter()
            .any(|tag| template.tags().contains(*tag))
    {
        return Finding::warning(
            CHECK,
            "condor.host_ip is not set: ehos cannot create nodes without their central manager",
            "`ehos master deploy` makes one that knows its own address; for one that you have, set condor.host_ip to \
             its address as nodes reach it",
        );
    }
    let stand_in = SecretString::from("t".repeat(TOKEN_LENGTH));
    let condor = CondorSettings {
        host_ip: given.host_ip.clone(),
        password: given.password.clone(),
        noclaim_shutdown: given.noclaim_shutdown,
        token: Some(given.token.clone().unwrap_or(stand_in)),
        trust_domain: Some(
            given
                .trust_domain
                .clone()
                .unwrap_or_else(|| SOME_DOMAIN.to_owned()),
        ),
        ..CondorSettings::default()
    };
    let intent = Intent {
        node: NodeId("n-20261122-0000000000000000".into()),
        name: String::new(),
        cloud: settings.name.clone(),
        flavor: settings.flavors.first().cloned().unwrap_or_default(),
        image: settings.image.clone(),
        zone: None,
        at: Timestamp::now(),
    };
    let filler = NodeUserData::new(&condor, &config.policy, config.timeouts.command);
    match filler.render(settings, &intent, region, deadline) {
        Ok(filled) => Finding::ok(
            CHECK,
            format!(
                "{} bytes of {} ({template})",
                filled.text.expose_secret().len(),
                // Four characters of base64 for three bytes.
                MAX_BASE64 / 4 * 3
            ),
        ),
        Err(failure) => Finding::failed(
            CHECK,
            failure.message,
            "correct the template or the key of the configuration that it needs (docs/configuration.md)",
        ),
    }
}
