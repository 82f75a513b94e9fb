//! Access to a cloud that no configuration describes yet: for a configuration that is to be made.

use std::collections::BTreeMap;
use std::path::Path;

use super::clouds::CloudChecker;
use super::clouds_yaml::{self, Found};
use super::diagnostics::{Diagnostics, Source};
use super::document::Section;
use super::error::{Diagnostic, Error};
use openstack::CloudSettings;
use system::environment::Environment;

/// The names of the entries of clouds.yaml, none when there is no such file, with the file.
///
/// # Errors
/// When it cannot be read.
pub fn entries(env: &Environment) -> Result<Vec<String>, Error> {
    Ok(clouds_yaml::names(env)?)
}

/// Access that was found, and what is worth knowing about where it is from.
#[derive(Debug)]
pub struct Connection {
    /// How the cloud is reached, and who ehos is there.
    pub settings: CloudSettings,
    /// Keys that are not used, and the like.
    pub notes: Vec<Diagnostic>,
}

/// The access that the entry `name` of clouds.yaml gives; what its servers are to be made of is left empty.
///
/// # Errors
/// When there is no such entry, or it will not do.
pub fn of_entry(name: &str, env: &Environment) -> Result<Connection, Error> {
    let region = env.variable("OS_REGION_NAME");
    let found = clouds_yaml::entry(name, region, env)?;
    settings(name, found, false, env)
}

/// The access that the `OS_*` variables give, as the cloud `name`; those of an openrc file with its path and lines.
///
/// # Errors
/// When one is missing, or will not do.
pub fn of_variables(
    name: &str,
    variables: BTreeMap<String, String>,
    file: Option<(&Path, &BTreeMap<String, usize>)>,
    env: &Environment,
) -> Result<Connection, Error> {
    let env = Environment {
        variables,
        root: env.root.clone(),
        working_directory: env.working_directory.clone(),
    };
    let found = clouds_yaml::from_variables(&env, file)
        .ok_or_else(|| Diagnostic::general("OS_AUTH_URL is missing"))?;
    settings(name, found, true, &env)
}

fn settings(
    name: &str,
    found: Found,
    of_variables: bool,
    env: &Environment,
) -> Result<Connection, Error> {
    if !found.problems.is_empty() {
        // What else is missing may follow from these.
        return Err(Error {
            problems: found.problems,
        });
    }
    let source = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).ok()?;
        Some(Source { path, text })
    };
    let mut context = Diagnostics {
        env,
        sources: found.files.into_iter().filter_map(source).collect(),
        more_files: Vec::new(),
        problems: found.problems,
        notes: found.notes,
    };
    let nothing = Section::default();
    let mut checker = CloudChecker {
        name,
        cloud: found.cloud,
        ehos: &nothing,
        daemon: &nothing,
        of_variables,
    };
    match checker.connection(&mut context) {
        Some(settings) if context.problems.is_empty() => Ok(Connection {
            settings,
            notes: context.notes,
        }),
        _ => Err(Error {
            problems: context.problems,
        }),
    }
}
