//! `ehos master deploy`: creates the central manager, and installs ehos with its timer there.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use log::warn;

use crate::cli::MasterDeploy;
use crate::commands::{image_build, only_one, print, state_directory};
use config::{self, Config};
use deploy::image::{BuildRequest, RecipeOverrides};
use deploy::master::find::{self, Proof};
use deploy::master::install::{self, Program};
use deploy::master::report::{DeployPlan, DeployReport};
use deploy::master::spec::{DeployOverrides, MasterSpec};
use deploy::master::{self, DeployOptions, images};
use openstack::auth::Session;
use openstack::{CloudSettings, token_cache};
use system::environment::Environment;
use system::exit::Exit;
use system::lock;
use system::progress::Progress;
use tick::signing_key;
use tick::state_directory;

/// Makes the central manager, or brings the one that is there up to date, and writes what came of it to `out`.
///
/// # Errors
/// The configuration ([`config::Error`]), the state directory ([`state_directory::Error`]), and why there is no central manager.
pub fn run(
    args: &MasterDeploy,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let mut config = config::ensure_cluster(&args.common.config, environment, args.dry_run)?;
    let cloud = chosen_cloud(args, &config)?.name.clone();
    let directory = state_directory(&args.common, &config, environment)?;
    let overrides = overrides(args, environment);
    overrides.master_template()?;
    let program = Program::new(
        args.package.as_deref(),
        args.sha256.as_deref(),
        args.binary.as_deref(),
        environment,
    )?;
    let mut _lock = None;
    let keys = if args.dry_run {
        signing_key::load(&directory, config.folder(), environment)
    } else {
        state_directory::prepare(&directory)?;
        _lock = Some(only_one(&directory, lock::MASTER, "ehos master deploy")?);
        signing_key::load_or_make(&directory, config.folder(), environment)
    };
    let options = DeployOptions {
        user: args.ssh_user.as_deref(),
        proof: Proof::new(keys, &directory, &args.trust_server),
        accept_host_key: args.accept_host_key,
        keep_failed: args.keep_failed,
        poll: config::poll(environment)?,
    };
    let proof = &options.proof;
    find::no_other(&config, &cloud, proof)?;
    let mut notices = notices(&directory)?;
    overrides.put_into(&mut config, &cloud)?;
    if args.build_image && !args.dry_run {
        let build = |config: &Config, clouds: &[&CloudSettings]| {
            let request = build_request(args, environment, &directory, config, proof);
            image_build::build(&request, clouds, &Progress::with_afterword())
        };
        let built = images::build_missing(&mut config, &cloud, proof, build)?;
        notices.extend(built);
    }
    let settings = chosen_cloud(args, &config)?;

    let tokens = (!args.dry_run).then(|| token_cache(&directory, &settings.name));
    let session = Session::new(settings, config.timeouts.request, tokens)?;
    let spec = MasterSpec::look_up(&config, &session, &overrides)?;
    if let Some(notice) = spec.missing_key(environment) {
        warn!("{notice}");
        notices.push(notice);
    }
    let signing_keys = signing_key::text(&directory, config.folder(), environment);
    let work = install::everything(&program, &config, signing_keys);
    if args.dry_run {
        let plan = DeployPlan {
            spec: &spec,
            preview: master::preview(&session, &spec, options, &work)?,
            overrides: &overrides,
            notices: &notices,
        };
        print(out, args.output, || plan.text(), || plan.json())?;
        return Ok(Exit::Done);
    }
    let report = DeployReport {
        spec: &spec,
        deployed: &master::deploy(&session, &spec, &options, &work, args.timeout)?,
        options: &options,
        notices,
    };
    print(out, args.output, || report.text(), || report.json())?;
    Ok(report.exit())
}

/// The cloud of the central manager.
fn chosen_cloud<'c>(args: &MasterDeploy, config: &'c Config) -> anyhow::Result<&'c CloudSettings> {
    let names: Vec<String> = args.cloud.iter().cloned().collect();
    match config.chosen(&names)?.into_iter().next() {
        Some(settings) => Ok(settings),
        None => bail!("a simulated site has no cloud for a central manager"),
    }
}

fn build_request<'a>(
    args: &'a MasterDeploy,
    environment: &'a Environment,
    directory: &'a Path,
    config: &'a Config,
    proof: &'a Proof,
) -> BuildRequest<'a> {
    BuildRequest {
        config,
        recipe: RecipeOverrides {
            base: args.base.clone(),
            from: args.from.clone(),
            flavor: None,
            name: None,
            keep_failed: args.keep_failed,
            timeout: args.timeout,
        },
        keep_server: false,
        environment,
        state_directory: directory,
        files: &args.common.config,
        keys: &proof.keys,
    }
}

fn overrides<'a>(args: &'a MasterDeploy, environment: &'a Environment) -> DeployOverrides<'a> {
    DeployOverrides {
        environment,
        image: args.image.as_deref(),
        builds_image: args.build_image,
        flavor: args.flavor.as_deref(),
        name: args.name.as_deref(),
        template: args.master.as_deref(),
        execute: args.execute.as_deref(),
        trust_domain: args.trust_domain.as_deref(),
        floating_ip: args.floating_ip.as_deref(),
        identity: args.identity.as_deref(),
    }
}

/// The notices before the deployment.
fn notices(directory: &Path) -> anyhow::Result<Vec<String>> {
    let nodes = state_directory::load(directory, false)?.state.nodes.len();
    if nodes == 0 {
        return Ok(Vec::new());
    }
    let notice = format!(
        "state directory {}: contains {nodes} nodes: two machines must not run ticks for the same pool; stop the timer of this \
         machine (systemctl disable --now ehos.timer)",
        directory.display()
    );
    warn!("{notice}");
    Ok(vec![notice])
}
