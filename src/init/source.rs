//! Where the access to the cloud comes from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;

use super::password;
use config::{Diagnostic, connection, openrc};
use openstack::CloudSettings;
use system::environment::Environment;

/// A cloud whose project has no name that is known.
const NAMELESS: &str = "cloud";

/// Access to a cloud.
#[derive(Debug)]
pub struct Access {
    /// How the cloud is reached, and who ehos is there.
    pub settings: CloudSettings,
    /// Where that is from, for people.
    pub origin: String,
    /// Keys and lines there that are not used.
    pub notes: Vec<Diagnostic>,
}

/// The access of the openrc file, of the entry of clouds.yaml, of the variables, or of the only entry of clouds.yaml: the
/// first that is given.
///
/// # Errors
/// When it will not do ([`config::Error`]), or nothing is given.
pub fn access(
    openrc_file: Option<&Path>,
    os_cloud: Option<&str>,
    name: Option<&str>,
    env: &Environment,
) -> anyhow::Result<Access> {
    let variable = |name: &str| env.variables.get(name).filter(|value| !value.is_empty());
    if let Some(file) = openrc_file {
        let file = env.working_directory.join(file);
        let openrc::Openrc {
            mut variables,
            lines,
            notes,
        } = openrc::variables(&file, env)?;
        let origin = file.display().to_string();
        if !variables.contains_key("OS_AUTH_URL")
            && let Some(entry) = variables.get("OS_CLOUD")
        {
            let env = Environment {
                variables: env
                    .variables
                    .clone()
                    .into_iter()
                    .chain(variables.clone())
                    .collect(),
                root: env.root.clone(),
                working_directory: env.working_directory.clone(),
            };
            return of_entry(entry, name, notes, &env);
        }
        add_password(&mut variables, variable("OS_PASSWORD"), &origin)?;
        let access = of_variables(variables, name, origin, Some((&file, &lines)), env)?;
        return Ok(Access {
            notes: notes.into_iter().chain(access.notes).collect(),
            ..access
        });
    }
    let entry = match os_cloud.or(variable("OS_CLOUD").map(String::as_str)) {
        Some(entry) => entry.to_owned(),
        None if variable("OS_AUTH_URL").is_some() => {
            let mut variables = env.variables.clone();
            let origin = "the OS_* variables".to_owned();
            add_password(&mut variables, None, &origin)?;
            return of_variables(variables, name, origin, None, env);
        }
        None => match connection::entries(env)?.as_slice() {
            [only] => only.clone(),
            [] => bail!(
                "no access to a cloud is given: download an openrc file or a clouds.yaml in the cloud's dashboard (API \
                 access, application credentials), and name it with --openrc FILE, or put it to \
                 ~/.config/openstack/clouds.yaml"
            ),
            several => bail!(
                "clouds.yaml has several entries: choose one with --os-cloud NAME: {}",
                several.join(", ")
            ),
        },
    };
    of_entry(&entry, name, Vec::new(), env)
}

fn of_entry(
    entry: &str,
    name: Option<&str>,
    mut notes: Vec<Diagnostic>,
    env: &Environment,
) -> anyhow::Result<Access> {
    let mut found = connection::of_entry(entry, env)?;
    if let Some(name) = name {
        name.clone_into(&mut found.settings.name);
    }
    notes.append(&mut found.notes);
    Ok(Access {
        settings: found.settings,
        origin: format!("the entry `{entry}` of clouds.yaml"),
        notes,
    })
}

fn of_variables(
    variables: BTreeMap<String, String>,
    name: Option<&str>,
    origin: String,
    file: Option<(&Path, &BTreeMap<String, usize>)>,
    env: &Environment,
) -> anyhow::Result<Access> {
    let project = variables
        .get("OS_PROJECT_NAME")
        .or_else(|| variables.get("OS_TENANT_NAME"));
    let name = match (name, project) {
        (Some(name), _) => name.to_owned(),
        // It becomes the name of a file, too.
        (None, Some(project)) => {
            project.replace(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)), "-")
        }
        (None, None) => NAMELESS.to_owned(),
    };
    let found = connection::of_variables(&name, variables, file, env)?;
    Ok(Access {
        settings: found.settings,
        origin,
        notes: found.notes,
    })
}

/// Dashboards' openrc files have no password: they ask for it.
fn add_password(
    variables: &mut BTreeMap<String, String>,
    given: Option<&String>,
    origin: &str,
) -> anyhow::Result<()> {
    let has = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    let by_password = has("OS_USERNAME") || has("OS_USER_ID");
    let by_credential =
        has("OS_APPLICATION_CREDENTIAL_ID") || has("OS_APPLICATION_CREDENTIAL_NAME");
    if has("OS_PASSWORD") || !by_password || by_credential {
        return Ok(());
    }
    let user = variables
        .get("OS_USERNAME")
        .or_else(|| variables.get("OS_USER_ID"))
        .map_or("", String::as_str);
    let password = match given {
        Some(password) => password.clone(),
        None => password::ask(&format!("Password of the OpenStack user {user}"))
            .context("the password cannot be read from the terminal")?
            .map(|password| password.expose_secret().to_owned())
            .with_context(|| {
                format!(
                    "no password of the user {user} in {origin}: give it in $OS_PASSWORD, or answer on a terminal"
                )
            })?,
    };
    variables.insert("OS_PASSWORD".to_owned(), password);
    Ok(())
}
