//! The pool: whether HTCondor answers, and whether ehos may do there what it has to.

mod joining;
mod managers;

mod settings;

use joining::joining;
use managers::managers;
use settings::{central_manager, nodes_settings};
use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Area, Finding, access, slot_users};
use condor::SHARED_PORT;
use condor::inspect::{self, Permission};
use condor::{CondorPool, Error, Tools};
use config::Config;
use scaling::observation::{CollectorView, Observed, PoolView};
use scaling::policy::addresses;
use system::deadline::Deadline;
use system::threads::{joined, spawn};
use tick::pool::{Pool, TrackedMachines};

const NAME: &str = "pool";
/// Ads of a node that is gone stay with the collector for this long at most: so long jobs are matched to it in vain.
const MAX_AD_LIFETIME_SECONDS: u64 = 180;
/// Longer ones are for pools whose slots stay: nodes that have joined wait for their first job. Those of configs/master.yaml
/// are 10 and 5.
const MAX_NEGOTIATOR_INTERVAL_SECONDS: u64 = 20;
const MAX_CYCLE_DELAY_SECONDS: u64 = 5;
/// How long a connection to the central manager may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A token that is made to see that it can be: it ends soon, and nobody gets it.
const TRIAL_TOKEN: Duration = Duration::from_secs(60);

/// Looks at the pool of `config`.
pub fn check(config: &Config, deadline: Deadline) -> Area {
    let tools = Tools::new(config.condor.bin.clone(), config.timeouts.command)
        .of_pool(config.condor.pool.as_deref());
    let clock = inspect::clock_ahead(&tools, deadline);
    if let Err(error @ Error::NotFound { .. }) = &clock {
        let why = format!("{error}; check the pool on the central manager");
        return Area {
            name: NAME.to_owned(),
            findings: vec![Finding::skipped("tools", why)],
            answered: None,
            cloud: None,
        };
    }
    let condor_pool = CondorPool::new(
        &config.condor,
        config.policy.negotiation_cycle,
        config.policy.update_interval,
        config.timeouts.command,
    );
    let mut findings = Vec::new();
    let mut answered = false;
    thread::scope(|scope| {
        let tools = &tools;
        let view = spawn(scope, || {
            condor_pool.observe(&TrackedMachines::default(), deadline)
        });
        let rights = spawn(scope, move || rights(config, tools, deadline));
        let tokens = spawn(scope, move || joining(config, tools, deadline));
        let settings = spawn(scope, move || central_manager(config, tools, deadline));
        let nodes = spawn(scope, move || inspect::nodes(tools, deadline));
        let host = config.condor.host_ip.as_deref();
        let hosts: Vec<Option<&str>> = match host.map(|host| addresses(host).map(Some)) {
            Some(all) => all.collect(),
            None => vec![None],
        };
        let collectors = |address: &str| {
            let of = |tools: &Tools| inspect::collector_address(tools, deadline).ok()?;
            // Each central manager has a collector of its own.
            let is_one = hosts.len() == 1 && !config.condor.high_availability;
            is_one.then_some(())?;
            Some((of(tools)?, of(&tools.of_pool(Some(address)))?))
        };
        let of_hosts = hosts
            .iter()
            .map(|host| host_ip(*host, deadline, collectors));
        let of_hosts: Vec<Finding> = of_hosts.collect();

        let view = joined(view);
        findings.extend(observed(&view, config.policy.negotiation_cycle));
        let collector = view.collector.known();
        answered = collector.is_some() || view.schedds.values().any(Observed::is_known);
        match clock {
            Ok(ahead) => findings.push(access::clock("the collector", Some(ahead))),
            // Said above.
            Err(_) => findings.push(Finding::skipped("clock", "the collector does not answer")),
        }
        let rights = joined(rights);
        findings.extend(match collector {
            Some(_) => rights,
            // Nobody was there to be asked for a right.
            None => rights.map(|it| Finding::skipped(it.check, "the collector does not answer")),
        });
        findings.extend(joined(tokens));
        findings.extend(of_hosts);
        findings.extend(managers(&view, config, tools, deadline));
        findings.extend(joined(settings));
        findings.extend(match joined(nodes) {
            Ok(found) => {
                let mut findings = nodes_settings(&found, &config.policy.cluster);
                findings.push(slot_users::nodes(&found, &config.policy.cluster));
                findings
            }
            Err(_) => vec![Finding::skipped("nodes", "the collector does not answer")],
        });
        findings.extend(templates(config));
    });
    Area {
        name: NAME.to_owned(),
        findings,
        answered: Some(answered),
        cloud: None,
    }
}

/// What collector, schedds and negotiator answer.
fn observed(view: &PoolView, negotiation_cycle: Duration) -> Vec<Finding> {
    let mut findings = vec![match &view.collector {
        Observed::Known(collector) => Finding::ok(
            "collector",
            format!("{} startd(s)", collector.startds.len()),
        ),
        Observed::Unknown(why) => unanswered("collector", why.as_str()),
    }];
    for (name, schedd) in &view.schedds {
        findings.push(match schedd {
            Observed::Known(schedd) => Finding::ok(
                "schedd",
                format!(
                    "{name}: {} jobs idle, {} running",
                    schedd.jobs.idle, schedd.jobs.running
                ),
            ),
            Observed::Unknown(why) => unanswered("schedd", why.as_str()),
        });
    }
    let collector = view.collector.known();
    findings.extend(collector.map(|collector| negotiator(collector, negotiation_cycle)));
    findings
}

/// Whether ehos may do what it has to.
fn rights(config: &Config, tools: &Tools, deadline: Deadline) -> [Finding; 2] {
    let may = |right| inspect::permission(tools, right, deadline);
    let drains = match config.policy.drains() {
        true => right_to_drain(&may("ADMINISTRATOR")),
        false => nodes_end_themselves(),
    };
    [drains, right_to_advertise(&may("ADVERTISE_STARTD"))]
}

/// Findings on the users of jobs, one for each template.
fn templates(config: &Config) -> Vec<Finding> {
    let mut templates: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
    for cloud in &config.clouds {
        let clouds = templates.entry(&cloud.user_data_file).or_default();
        clouds.push(&cloud.name);
    }
    let check = |(path, clouds): (&Path, Vec<&str>)| slot_users::template(path, &clouds);
    templates.into_iter().filter_map(check).collect()
}

fn unanswered(check: &'static str, why: impl Into<String>) -> Finding {
    Finding::failed(
        check,
        why,
        "check that HTCondor runs (`systemctl status condor`), and that condor.pool and condor.schedds are correct",
    )
}

/// How often the negotiator really matches, against what ehos reckons with.
fn negotiator(collector: &CollectorView, cycle: Duration) -> Finding {
    const CHECK: &str = "negotiator";
    let Some(period) = collector.negotiation_period else {
        return Finding::warning(
            CHECK,
            "the duration of negotiation cycles is unknown: without a negotiator no job is matched",
            "wait for two cycles after a start; then check `condor_status -negotiator` and the NegotiatorLog",
        );
    };
    let what = format!("a cycle takes {} s", period.as_secs());
    if period > cycle {
        return Finding::warning(
            CHECK,
            format!(
                "{what}, and daemon.negotiation_cycle is {} s",
                cycle.as_secs()
            ),
            format!(
                "set daemon.negotiation_cycle: {}s; ehos uses the longer one",
                period.as_secs()
            ),
        );
    }
    Finding::ok(CHECK, what)
}

fn nodes_end_themselves() -> Finding {
    let what = "not needed: condor.scale_down is self-shutdown, and nodes shut themselves down";
    Finding::skipped("drain", what)
}

fn right_to_drain(permission: &Result<Permission, Error>) -> Finding {
    const CHECK: &str = "drain";
    match permission {
        Ok(Permission::Granted(who)) => {
            Finding::ok(CHECK, format!("the collector allows {who} to drain nodes"))
        }
        Ok(Permission::Refused) => Finding::failed(
            CHECK,
            "the collector does not allow this user to drain nodes: ehos cannot remove idle ones",
            "run this as the user that runs ehos; if it still fails, add its identity to ALLOW_ADMINISTRATOR on the \
             central manager, and give it a token (master.yaml)",
        ),
        Err(error) => unknown_right(CHECK, error),
    }
}

fn right_to_advertise(permission: &Result<Permission, Error>) -> Finding {
    const CHECK: &str = "advertise";
    match permission {
        Ok(Permission::Granted(who)) => Finding::ok(
            CHECK,
            format!("the collector allows {who} to invalidate ads of deleted nodes"),
        ),
        Ok(Permission::Refused) => Finding::warning(
            CHECK,
            "the collector does not allow this user to invalidate ads of deleted nodes: jobs are matched to them \
             until the ads expire",
            "add the identity of the user that runs ehos to ALLOW_ADVERTISE_STARTD and ALLOW_ADVERTISE_MASTER on the \
             central manager",
        ),
        Err(error) => unknown_right(CHECK, error),
    }
}

fn unknown_right(check: &'static str, error: &Error) -> Finding {
    match error {
        Error::NotFound { .. } => Finding::skipped(check, error.to_string()),
        _ => unanswered(check, error.advice().problem),
    }
}

/// The collector's port at the address that nodes are told. `collectors` are this pool's and the one there, as they call
/// themselves, where both say so.
fn host_ip(
    host_ip: Option<&str>,
    deadline: Deadline,
    collectors: impl FnOnce(&str) -> Option<(String, String)>,
) -> Finding {
    const CHECK: &str = "host-ip";
    let Some(host_ip) = host_ip else {
        return Finding::skipped(CHECK, "condor.host_ip is not set");
    };
    let address = match host_ip.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => {
            host_ip.to_owned()
        }
        _ if host_ip.contains(':') && !host_ip.starts_with('[') => {
            format!("[{host_ip}]:{SHARED_PORT}")
        }
        _ => format!("{host_ip}:{SHARED_PORT}"),
    };
    let reached = address
        .to_socket_addrs()
        .and_then(|mut addresses| {
            addresses
                .next()
                .ok_or_else(|| std::io::Error::other("no such host"))
        })
        .and_then(|address| {
            let timeout = deadline.left().min(CONNECT_TIMEOUT);
            TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1)))
        });
    match reached.map(|_| collectors(&address)) {
        Ok(Some((here, there))) if here != there => Finding::failed(
            CHECK,
            format!(
                "nodes would join another pool: the collector of this one is {here}, the one at {address} is {there}"
            ),
            "set condor.host_ip to this pool's central manager; if the configuration was copied from another pool's, \
             give this one an ehos.cluster of its own, too: each would delete the other's nodes",
        ),
        Ok(_) => Finding::ok(CHECK, format!("{address} accepts connections")),
        Err(error) => Finding::warning(
            CHECK,
            format!(
                "{address}, the collector's address for nodes, cannot be reached from here: {error}"
            ),
            "correct condor.host_ip, unless it is a floating IP: its own server may not reach it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use secrecy::SecretString;

    use condor::inspect::NodeSettings;

    use super::joining::given_token;
    use super::settings::{ad_lifetime, at_most, event_log, nodes_settings, update_after_cycle};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::check::Outcome;

    fn a_token(claims: &str) -> SecretString {
        format!("eyJh.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into()
    }

    #[test]
    fn a_negotiator_setting_is_compared_as_a_number_of_seconds() {
        let outcome = |value| at_most("NEGOTIATOR_INTERVAL", value, 20, "jobs wait").outcome;
        assert_eq!(outcome(Some("20")), Outcome::Ok);
        assert_eq!(outcome(Some("0")), Outcome::Ok);
        assert_eq!(outcome(Some("21")), Outcome::Warning);
        for unknown in [None, Some("$(MINUTE) * 2"), Some("-1"), Some("20 s")] {
            assert_eq!(outcome(unknown), Outcome::Skipped, "{unknown:?}");
        }
    }

    #[test]
    fn a_given_token_is_read_and_not_told() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let of = |token: SecretString| {
            let finding = given_token(&token, Some("lab"), now);
            let said = format!("{finding:?}");
            assert!(!said.contains(token.expose_secret()), "{said}");
            finding.outcome
        };
        assert_eq!(
            of(a_token(r#"{"iss": "lab", "sub": "execute@lab"}"#)),
            Outcome::Ok
        );
        let ends = |end: i64| a_token(&format!(r#"{{"iss": "lab", "exp": {end}}}"#));
        assert_eq!(of(ends(1_800_000_000 + 9 * 86_400)), Outcome::Ok);
        assert_eq!(of(ends(1_800_000_000 + 86_400)), Outcome::Warning);
        assert_eq!(of(ends(1_800_000_000)), Outcome::Failed);
        assert_eq!(of(a_token(r#"{"iss": "other"}"#)), Outcome::Failed);
        assert_eq!(of("no token at all".into()), Outcome::Failed);
        assert_eq!(of("a.!.b".into()), Outcome::Failed);
    }

    #[test]
    fn the_negotiator_should_not_be_slower_than_configured() {
        let of = |period: Option<u64>| {
            let view = CollectorView {
                up_for: Duration::from_secs(3600),
                negotiation_period: period.map(Duration::from_secs),
                cycle_began: None,
                startds: Vec::new(),
                unreadable: Vec::new(),
                forged: Vec::new(),
            };
            negotiator(&view, Duration::from_secs(80)).outcome
        };
        assert_eq!(of(Some(80)), Outcome::Ok);
        assert_eq!(of(Some(81)), Outcome::Warning);
        assert_eq!(of(None), Outcome::Warning);
    }

    #[test]
    fn settings_of_the_central_manager() {
        assert_eq!(ad_lifetime(Some("180")).outcome, Outcome::Ok);
        assert_eq!(ad_lifetime(Some("900")).outcome, Outcome::Warning);
        assert_eq!(ad_lifetime(None).outcome, Outcome::Warning);
        assert_eq!(update_after_cycle(Some("True")).outcome, Outcome::Ok);
        assert_eq!(update_after_cycle(Some("false")).outcome, Outcome::Warning);
        assert_eq!(update_after_cycle(None).outcome, Outcome::Warning);
    }

    #[test]
    fn the_event_log_is_the_one_that_ehos_reads() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("EventLog");
        let of = |value: Option<&str>| event_log(value, &log);
        assert!(of(None).what.contains("is not set"));
        assert_eq!(of(Some("")).outcome, Outcome::Warning);
        assert_eq!(of(Some("/elsewhere")).outcome, Outcome::Warning);
        let value = log.to_str();
        assert_eq!(of(value).outcome, Outcome::Ok, "before the first job");
        std::fs::write(&log, "").unwrap();
        assert_eq!(of(value).outcome, Outcome::Ok);
    }

    #[test]
    fn nodes_must_let_jobs_finish() {
        let node = |cluster: &str, retirement: Option<i64>, interval: Option<u64>| NodeSettings {
            machine: "n1".to_owned(),
            cluster: Some(cluster.to_owned()),
            max_job_retirement_seconds: retirement,
            update_interval_seconds: interval,
            slot_users: None,
            cpus: None,
        };
        let of = |nodes: &[NodeSettings]| {
            let findings = nodes_settings(nodes, "pool-1");
            findings.iter().map(|f| f.outcome).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [Outcome::Skipped]);
        assert_eq!(of(&[node("pool-2", Some(0), None)]), [Outcome::Skipped]);
        assert_eq!(of(&[node("pool-1", Some(3600), Some(60))]), [Outcome::Ok]);
        assert_eq!(of(&[node("pool-1", None, Some(60))]), [Outcome::Ok]);
        assert_eq!(of(&[node("pool-1", Some(0), Some(60))]), [Outcome::Failed]);
        assert_eq!(of(&[node("pool-1", Some(3600), None)]), [Outcome::Warning]);
    }

    #[test]
    fn the_address_of_the_central_manager_is_tried() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let deadline = || Deadline::within(Duration::from_secs(10));
        let address = listener.local_addr().unwrap().to_string();
        let of = |host: Option<&str>, there: &str| {
            let collectors = ("<10.0.0.1:9618>".to_owned(), there.to_owned());
            host_ip(host, deadline(), |_| Some(collectors)).outcome
        };
        assert_eq!(of(Some(&address), "<10.0.0.1:9618>"), Outcome::Ok);
        assert_eq!(of(Some(&address), "<10.0.0.2:9618>"), Outcome::Failed);
        let silent = host_ip(Some(&address), deadline(), |_| None);
        assert_eq!(silent.outcome, Outcome::Ok);
        drop(listener);
        assert_eq!(of(Some(&address), "<10.0.0.1:9618>"), Outcome::Warning);
        assert_eq!(of(None, "<10.0.0.1:9618>"), Outcome::Skipped);
    }
}
