//! `ehos master deploy`: the central manager, with ehos under its timer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use log::warn;
use serde_json::{Value, json};

use crate::cli::{ImageRecipe, MasterDeploy, Output};
use crate::commands::state_directory;
use crate::config::{self, Config, public};
use crate::deadline::Deadline;
use crate::deploy::image;
use crate::deploy::master::conffile::FileChange;
use crate::deploy::master::deploy::{self, Deployed, Manner, Preview, Proof};
use crate::deploy::master::install::{self, Program, Timer};
use crate::deploy::master::order::{Order, Wishes};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::local_keys::LocalKeys;
use crate::lock::{self, try_lock};
use crate::openstack::CloudSettings;
use crate::openstack::auth::Session;
use crate::openstack::token_cache;
use crate::plain::line;
use crate::progress::Progress;
use crate::scaling::observation::ServerRecord;
use crate::signing_key;
use crate::state;

/// How long looking everything up may take.
const LOOKING: Duration = Duration::from_secs(120);

/// Makes the central manager, or brings the one that is there up to date, and writes what came of it to `out`.
///
/// # Errors
/// The configuration ([`config::Error`]), the state directory ([`state::Error`]), and why there is no central manager.
pub fn run(
    args: &MasterDeploy,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let mut config = config::ensure_cluster(&args.common.config, environment, args.dry_run)?;
    let name = chosen_cloud(args, &config)?.name.clone();
    let directory = state_directory(&args.common, &config, environment)?;
    let template = master_template(args, environment)?;
    let program = program(args, environment)?;

    let _lock = if args.dry_run {
        None
    } else {
        state::prepare(&directory)?;
        match try_lock(&directory, lock::MASTER)
            .map_err(|error| state::unlockable(&directory, lock::MASTER, error))?
        {
            Some(lock) => Some(lock),
            None => bail!(
                "another `ehos master deploy` is at work (it has the lock of {})",
                directory.display()
            ),
        }
    };
    let proof = Proof {
        keys: match args.dry_run {
            true => signing_key::load(&directory, config.folder(), environment),
            false => signing_key::load_or_make(&directory, config.folder(), environment),
        },
        known_hosts: directory.join("known_hosts"),
        trusted: args.trust_server.clone(),
    };
    alone(args, &config, &proof)?;
    let mut notices = notices(&directory)?;
    carry_over(args, environment, &name, &mut config)?;
    let progress = match args.dry_run {
        true => Progress::new(),
        false => Progress::with_afterword(),
    };
    if args.build_image && !args.dry_run {
        build_images(
            args,
            environment,
            &directory,
            &mut config,
            &proof,
            &progress,
            &mut notices,
        )?;
    }
    let settings = chosen_cloud(args, &config)?;

    let looking = Deadline::within(LOOKING);
    let tokens = (!args.dry_run).then(|| token_cache(&directory, &settings.name));
    let session = Session::new(settings, config.timeouts.request, tokens)?;
    let wishes = Wishes {
        flavor: args.flavor.as_deref(),
        name: args.name.as_deref(),
        template: &template,
        trust_domain: args.trust_domain.as_deref(),
        floating_ip: args.floating_ip.as_deref(),
    };
    let order = Order::new(&config, &session, &wishes, looking)?;
    let home = environment.variables.get("HOME").map(PathBuf::from);
    let given = args.identity.as_deref().map(|file| at(environment, file));
    let identity = deploy::identity(
        given.as_deref(),
        &order.key.public_key,
        home.as_deref(),
        settings,
    )?;

    let mut manner = Manner {
        user: args.ssh_user.as_deref(),
        identity,
        known_hosts: directory.join("known_hosts"),
        proof: proof.clone(),
        accept_host_key: args.accept_host_key,
        keep: args.keep,
        poll: config::poll(environment)?,
    };
    let work = install::work(
        &program,
        public::secret_files(&config),
        public::plain_files(&config),
        public::public(&config),
        signing_key::text(&directory, config.folder(), environment),
    );
    if manner.identity.is_none()
        && let keys = LocalKeys::look(environment)
        && let Some((what, remedy)) = keys.missing(&order.key.name, &order.key.public_key)
    {
        // ssh may know of one that cannot be seen from here: it is tried.
        let notice = format!("{what}; {remedy}");
        warn!("{notice}");
        notices.push(notice);
    }
    if args.dry_run {
        let found = deploy::look(&session, &order, &proof, looking)?;
        let mut plan = planned(args, &order, found.as_ref());
        let mut files = Vec::new();
        if let Some((record, true)) = &found {
            // A dry run writes nothing here, no host key either.
            let scratch = tempfile::tempdir().context("no temporary folder can be made")?;
            let copy = scratch.path().join("known_hosts");
            if manner.known_hosts.exists() {
                std::fs::copy(&manner.known_hosts, &copy)
                    .context("the known host keys cannot be copied")?;
            }
            manner.known_hosts = copy;
            let line = progress.line(&record.name);
            line.doing("compares its files");
            let seen = deploy::preview(&session, &order, &manner, record, &work, &line, looking);
            line.done("compared");
            match seen {
                Ok(preview) => {
                    plan.extend(in_sentences(&preview));
                    files = preview.files;
                }
                Err(why) => plan.push(format!(
                    "what would change in its files cannot be seen: {why}"
                )),
            }
        }
        let printed = match args.output {
            Output::Text => {
                let plan = plan.iter().map(|step| line!("{step}"));
                plan.collect::<String>() + &differences(&files)
            }
            Output::Json => in_json(&json!({
                "version": 1, "dry_run": true, "exit": Exit::Done as u8, "cloud": settings.name,
                "image": order.image.1, "trust_domain": order.trust_domain, "plan": plan,
                "files": files_in_json(&files), "notices": notices,
            }))?,
        };
        out.write_all(printed.as_bytes())?;
        return Ok(Exit::Done);
    }

    let line = progress.line(&order.name);
    let deadline = Deadline::within(args.timeout);
    let deployed = match deploy::deploy(&session, &order, &manner, &work, &line, deadline) {
        Ok(deployed) => deployed,
        Err(error) => {
            line.done("failed");
            return Err(error.into());
        }
    };
    line.done("ready");
    if !deployed.made {
        notices.push(format!(
            "{} was there and ready: the program was installed again, with its units, templates and secrets; its \
             server, its ehos.yaml and what was edited there were left as they are (what is new here, an image perhaps, \
             goes into /etc/ehos/ehos.d there)",
            deployed.server.record.name
        ));
        notices.extend(deployed.files.iter().filter_map(|file| file.told(false)));
        notices.extend(deployed.timer.and_then(Timer::told).map(str::to_owned));
    }
    let exit = match (deployed.tick_exit, deployed.timer) {
        (Some(0), _) => Exit::Done,
        // Nothing was to tick there.
        (None, Some(timer)) if !timer.active && !deployed.made => Exit::Done,
        _ => Exit::Failed,
    };
    let report = Report {
        cloud: &settings.name,
        order: &order,
        manner: &manner,
        deployed: &deployed,
        notices: &notices,
        exit,
    };
    let printed = match args.output {
        Output::Text => report.text(),
        Output::Json => in_json(&report.json())?,
    };
    out.write_all(printed.as_bytes())
        .context("the report could not be printed")?;
    Ok(exit)
}

/// The cloud that the central manager is made in.
fn chosen_cloud<'c>(args: &MasterDeploy, config: &'c Config) -> anyhow::Result<&'c CloudSettings> {
    let names: Vec<String> = args.cloud.iter().cloned().collect();
    match config.chosen(&names)?.into_iter().next() {
        Some(settings) => Ok(settings),
        None => bail!("a simulated site has no cloud that a central manager could be made in"),
    }
}

/// A pool has one central manager: none is made beside one that another cloud of the configuration has.
fn alone(args: &MasterDeploy, config: &Config, proof: &Proof) -> anyhow::Result<()> {
    let here = chosen_cloud(args, config)?;
    let looking = Deadline::within(LOOKING);
    let found = |settings: &CloudSettings| {
        let session = Session::new(settings, config.timeouts.request, None)?;
        let found = deploy::found_in(&session, &config.policy.cluster, proof, looking)?;
        anyhow::Ok(found)
    };
    if config.clouds.len() < 2 || found(here)?.is_some() {
        return Ok(());
    }
    for other in config.clouds.iter().filter(|other| other.name != here.name) {
        let found = found(other).with_context(|| {
            format!(
                "cloud {}: whether the central manager of this pool is there cannot be seen, and a second one would work \
                 against it; run this again when the cloud answers, or take it out of the configuration",
                other.name
            )
        })?;
        if let Some((name, id)) = found {
            bail!(
                "the central manager of this pool is in cloud {}: {name} ({id}); bring it up to date with --cloud {}, or \
                 delete it before you make another one in cloud {}",
                other.name,
                other.name,
                here.name
            );
        }
    }
    Ok(())
}

/// What the command line says goes into the configuration that the master gets.
fn carry_over(
    args: &MasterDeploy,
    environment: &Environment,
    cloud: &str,
    config: &mut Config,
) -> anyhow::Result<()> {
    for settings in &mut config.clouds {
        if let Some(execute) = &args.execute {
            settings.user_data_file = at(environment, execute);
        }
        if settings.name != cloud {
            continue;
        }
        match &args.image {
            Some(image) => settings.image.clone_from(image),
            None if !args.build_image && settings.base_image.as_ref() == Some(&settings.image) => {
                bail!(
                    "cloud {cloud}: there is no golden image yet: make one with `ehos image build`, or here with \
                 --build-image, or give --image"
                )
            }
            None => {}
        }
    }
    Ok(())
}

/// Makes golden images, which nodes of the clouds and the master boot from then. One that fails stops all only where the
/// master is to be.
fn build_images(
    args: &MasterDeploy,
    environment: &Environment,
    directory: &Path,
    config: &mut Config,
    proof: &Proof,
    progress: &Progress,
    notices: &mut Vec<String>,
) -> anyhow::Result<()> {
    let here = chosen_cloud(args, config)?.name.clone();
    let has_image = |cloud: &&CloudSettings| cloud.base_image.as_ref() != Some(&cloud.image);
    let begun = {
        let settings = chosen_cloud(args, config)?;
        let session = Session::new(settings, config.timeouts.request, None)?;
        let looking = Deadline::within(LOOKING);
        let image = deploy::unfinished(&session, &config.policy.cluster, proof, looking)?;
        has_image(&settings) && image.as_ref() == Some(&settings.image)
    };
    // An interrupted run has made images already; where it could not, they are made now.
    let clouds: Vec<&CloudSettings> = config
        .clouds
        .iter()
        .filter(|cloud| !(begun && has_image(cloud)))
        .collect();
    if begun {
        notices.push("goes on with the images that an interrupted run has made".to_owned());
    }
    if clouds.is_empty() {
        return Ok(());
    }
    let recipe = ImageRecipe {
        base: args.base.clone(),
        from: args.from.clone(),
        flavor: None,
        name: None,
        keep: args.keep,
        timeout: args.timeout,
    };
    let order = image::Order {
        recipe: &recipe,
        keep_server: false,
        environment,
        state_directory: directory,
        files: &args.common.config,
    };
    let builds = image::build_everywhere(config, &clouds, &order, progress)?;
    for (cloud, built) in builds.clouds {
        match built {
            Ok(built) => {
                notices.push(format!(
                    "cloud {cloud}: image {} ({}) was made of {}",
                    built.image_name, built.image_id, built.source
                ));
                let settings = config.clouds.iter_mut();
                for settings in settings.filter(|settings| settings.name == cloud) {
                    settings.image.clone_from(&built.image_id);
                }
            }
            Err(error) if cloud == here => {
                return Err(anyhow::Error::from(error).context("there is no image for the master"));
            }
            Err(error) => {
                warn!("{error}");
                notices.push(format!("no nodes there: {error}"));
            }
        }
    }
    for by_hand in builds.recorded.by_hand {
        notices.push(format!(
            "not written: {}; put this into the configuration here: {}",
            by_hand.why, by_hand.lines
        ));
    }
    Ok(())
}

fn at(environment: &Environment, file: &Path) -> PathBuf {
    environment.working_directory.join(file)
}

fn master_template(args: &MasterDeploy, environment: &Environment) -> anyhow::Result<PathBuf> {
    if let Some(file) = &args.master {
        return Ok(at(environment, file));
    }
    config::template("master.yaml", environment)
        .context("there is no master.yaml in the folders where templates are looked for; give one with --master")
}

fn program(args: &MasterDeploy, environment: &Environment) -> anyhow::Result<Program> {
    if let (Some(url), Some(sha256)) = (&args.package, &args.sha256) {
        return Ok(Program::Package {
            url: url.clone(),
            sha256: sha256.clone(),
        });
    }
    let Some(file) = &args.binary else {
        return Ok(Program::File(PathBuf::from("/proc/self/exe")));
    };
    let file = at(environment, file);
    if !file.is_file() {
        bail!("--binary {}: there is no such file", file.display());
    }
    Ok(Program::File(file))
}

/// What an operator should know beforehand.
fn notices(directory: &Path) -> anyhow::Result<Vec<String>> {
    let nodes = state::load(directory, false)?.state.nodes.len();
    if nodes == 0 {
        return Ok(Vec::new());
    }
    let notice = format!(
        "the state directory {} of this machine knows {nodes} nodes: two that tick for one pool work against each other, \
         so stop the timer here (systemctl disable --now ehos.timer)",
        directory.display()
    );
    warn!("{notice}");
    Ok(vec![notice])
}

/// What would be done, in sentences.
fn planned(
    args: &MasterDeploy,
    order: &Order,
    found: Option<&(ServerRecord, bool)>,
) -> Vec<String> {
    let mut plan = Vec::new();
    if args.build_image {
        plan.push(
            "make a golden image in every cloud (see `ehos image build --dry-run`)".to_owned(),
        );
    }
    match found {
        Some((record, true)) => plan.push(format!(
            "install ehos again on {} ({}), which is ready",
            record.name, record.id
        )),
        Some((record, false)) => plan.push(format!(
            "go on with {} ({}), which an earlier run left, or delete it if it failed and make {} anew",
            record.name, record.id, order.name
        )),
        None => plan.push(format!(
            "make the server {} of image {}, with keypair {} and the domain {}",
            order.name, order.image.1, order.key.name, order.trust_domain
        )),
    }
    if let Some(network) = &args.floating_ip {
        plan.push(format!("give it a floating IP of {network}"));
    }
    plan.push(
        if found.is_some_and(|(_, ready)| *ready) {
            "over SSH, with the secrets of the configuration; its timer stays as it is"
        } else {
            "install ehos there over SSH, with the secrets of the configuration, and start its timer"
        }
        .to_owned(),
    );
    plan
}

/// What a deploy would change on a central manager that is ready, in sentences.
fn in_sentences(preview: &Preview) -> Vec<String> {
    let mut sentences = vec![format!(
        "the program: {} there, ehos {} here",
        preview.version,
        env!("CARGO_PKG_VERSION")
    )];
    let files = preview.files.iter();
    let changes: Vec<String> = files.filter_map(|file| file.told(true)).collect();
    if changes.is_empty() {
        sentences.push("its other files: all as they would come".to_owned());
    }
    sentences.extend(changes);
    sentences.extend(preview.timer.and_then(Timer::told).map(str::to_owned));
    sentences
}

/// What changes in the files, below each other.
fn differences(files: &[FileChange]) -> String {
    files
        .iter()
        .filter(|file| !file.difference.is_empty())
        .map(|file| {
            // A file on a server can hold what a terminal takes for commands.
            let clean = |line: &str| line.replace(|c: char| c.is_control() && c != '\t', "?");
            let lines = file.difference.lines().map(clean);
            format!("\n{}\n", lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

fn files_in_json(files: &[FileChange]) -> Value {
    let file = |file: &FileChange| json!({"path": file.path, "change": file.change.word(), "difference": file.difference});
    files.iter().map(file).collect()
}

fn in_json(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// What came of it.
struct Report<'r> {
    cloud: &'r str,
    order: &'r Order,
    manner: &'r Manner<'r>,
    deployed: &'r Deployed,
    notices: &'r [String],
    exit: Exit,
}

impl Report<'_> {
    fn addresses(&self) -> Vec<&str> {
        let known = self.deployed.server.addresses.iter();
        let mut addresses: Vec<&str> = known.map(|address| address.address.as_str()).collect();
        if let Some(floating) = &self.deployed.floating_ip
            && !addresses.contains(&floating.as_str())
        {
            addresses.insert(0, floating);
        }
        addresses
    }

    /// How to log in by hand, with the host key that was learnt.
    fn login(&self) -> String {
        let Deployed {
            server,
            address,
            user,
            ..
        } = self.deployed;
        let identity = match &self.manner.identity {
            Some(file) => format!(" -i {}", file.display()),
            None => String::new(),
        };
        format!(
            "ssh{identity} -o UserKnownHostsFile={} -o HostKeyAlias={} {user}@{address}",
            self.manner.known_hosts.display(),
            server.record.id
        )
    }

    fn text(&self) -> String {
        let Deployed {
            server,
            version,
            tick_exit,
            tick,
            ..
        } = self.deployed;
        // One that was there is of whatever image and domain it was made with.
        let made_of = if self.deployed.made {
            format!(
                ", image {}, domain {}",
                self.order.image.1, self.order.trust_domain
            )
        } else {
            String::new()
        };
        let mut text = line!(
            "the central manager {} ({}) is ready: {}",
            server.record.name,
            server.record.id,
            self.addresses().join(", "),
        );
        text.push_str(&line!("{version}{made_of}"));
        for notice in self.notices {
            text.push_str(&line!("note: {notice}"));
        }
        text.push_str(&differences(&self.deployed.files));
        let ended = match tick_exit {
            Some(0) => "went well".to_owned(),
            Some(code) => format!("FAILED with exit code {code}"),
            None if self.exit == Exit::Done => "was not started".to_owned(),
            None => "has no exit code".to_owned(),
        };
        text.push('\n');
        text.push_str(&line!("its first tick {ended}:"));
        for line in tick.lines() {
            text.push_str(&line!("    {line}"));
        }
        text.push('\n');
        text.push_str(&line!("log in:          {}", self.login()));
        text.push_str(
            "a first job:     as an ordinary user there: printf '%s\\n' executable=/bin/sleep arguments=60 queue | \
             condor_submit\n\
             what ehos does:  journalctl -fu ehos\n",
        );
        text
    }

    fn json(&self) -> Value {
        let Deployed {
            server,
            made,
            address,
            floating_ip,
            user,
            version,
            tick_exit,
            tick,
            files,
            timer,
        } = self.deployed;
        json!({
            "version": 1, "dry_run": false, "exit": self.exit as u8, "cloud": self.cloud,
            "server": {"id": server.record.id, "name": server.record.name},
            "made": made, "image": made.then_some(&self.order.image.1),
            "trust_domain": made.then_some(&self.order.trust_domain),
            "addresses": self.addresses(), "floating_ip": floating_ip, "address": address, "user": user,
            "login": self.login(), "ehos": version,
            "tick": {"exit": tick_exit, "text": tick}, "files": files_in_json(files),
            "timer": timer.map(|timer| json!({"enabled": timer.enabled, "active": timer.active})),
            "notices": self.notices,
        })
    }
}
