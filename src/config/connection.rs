//! Access to a cloud that no configuration describes yet: for a configuration that is to be made.

use std::collections::BTreeMap;

use super::clouds::One;
use super::clouds_yaml;
use super::context::{Context, Source};
use super::environment::Environment;
use super::error::{Error, Problem};
use super::file::{Cloud, Daemon, Ehos};
use super::given::Given;
use super::settings::CloudSettings;

/// The names of the entries of clouds.yaml, none when there is no such file, with the file.
///
/// # Errors
/// When it cannot be read.
pub fn entries(env: &Environment) -> Result<Vec<String>, Error> {
    Ok(clouds_yaml::names(env)?)
}

/// The access that the entry `name` of clouds.yaml gives; what its servers are to be made of is left empty.
///
/// # Errors
/// When there is no such entry, or it will not do.
pub fn of_entry(name: &str, env: &Environment) -> Result<CloudSettings, Error> {
    let cloud = Cloud {
        cloud: Given::Value(name.to_owned()),
        ..Cloud::default()
    };
    let files = clouds_yaml::entry(name, env)?.files;
    settings(name, cloud, files, false, env)
}

/// The access that the `OS_*` variables give, as the cloud `name`.
///
/// # Errors
/// When one is missing, or will not do.
pub fn of_variables(
    name: &str,
    variables: BTreeMap<String, String>,
    env: &Environment,
) -> Result<CloudSettings, Error> {
    let env = Environment {
        variables,
        root: env.root.clone(),
        working_directory: env.working_directory.clone(),
    };
    let cloud = clouds_yaml::from_variables(&env)
        .ok_or_else(|| Problem::general("OS_AUTH_URL is missing"))?;
    settings(name, cloud, Vec::new(), true, &env)
}

fn settings(
    name: &str,
    cloud: Cloud,
    files: Vec<std::path::PathBuf>,
    of_variables: bool,
    env: &Environment,
) -> Result<CloudSettings, Error> {
    let source = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).ok()?;
        Some(Source { path, text })
    };
    let mut context = Context {
        env,
        sources: files.into_iter().filter_map(source).collect(),
        more_files: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
    };
    let (ehos, daemon) = (Ehos::default(), Daemon::default());
    let mut one = One::new(name, cloud, &ehos, &daemon, of_variables);
    match one.connection(&mut context) {
        Some(settings) if context.problems.is_empty() => Ok(settings),
        _ => Err(Error {
            problems: context.problems,
        }),
    }
}
