//! Entries of OpenStack's own clouds.yaml (with secure.yaml), and the `OS_*` variables.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::environment::Environment;
use super::error::Problem;
use super::explain::explain;
use super::file::{Auth, Cloud, Field, Finding};
use super::given::Given;
use super::{position, secrets};

/// What an entry says. Keys that ehos does not know are other programs'.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a mapping of keys to values")]
struct Entry {
    auth: Option<Auth>,
    auth_type: Given<String>,
    region_name: Given<String>,
    interface: Given<String>,
    endpoint_type: Given<String>,
    cacert: Given<PathBuf>,
    insecure: Given<bool>,
    verify: Given<bool>,
}

/// An entry, and what is worth knowing about it.
pub(super) struct Found {
    /// As a cloud of ours that says no more than the entry does.
    pub(super) cloud: Cloud,
    /// The files that it stands in.
    pub(super) files: Vec<PathBuf>,
    /// Secrets that others can read.
    pub(super) notes: Vec<String>,
}

/// The entry `name` of the first clouds.yaml there is, with that of secure.yaml over it.
pub(super) fn entry(name: &str, env: &Environment) -> Result<Found, Problem> {
    let files = candidates("OS_CLIENT_CONFIG_FILE", "clouds", env);
    let Some(file) = files.iter().find(|file| file.exists()) else {
        let places: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        return Err(Problem::general(format!(
            "the cloud `{name}` is to come from clouds.yaml, and there is none: looked for {}",
            places.join(", ")
        )));
    };
    let mut found = Found {
        cloud: Cloud::default(),
        files: Vec::new(),
        notes: Vec::new(),
    };
    let (entry, names) = read(file, name, &mut found)?;
    let Some(entry) = entry else {
        return Err(Problem::of_file(
            file,
            format!(
                "there is no cloud `{name}` in it; there are {}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            ),
        ));
    };
    found.cloud.merge(entry);
    if let Some(secure) = candidates("OS_CLIENT_SECURE_FILE", "secure", env)
        .iter()
        .chain(&[file.with_file_name("secure.yaml")])
        .find(|file| file.exists())
        && let (Some(entry), _) = read(secure, name, &mut found)?
    {
        found.cloud.merge(entry);
    }
    Ok(found)
}

/// The names of the entries of the first clouds.yaml there is.
pub(super) fn names(env: &Environment) -> Result<Vec<String>, Problem> {
    let files = candidates("OS_CLIENT_CONFIG_FILE", "clouds", env);
    let Some(file) = files.iter().find(|file| file.exists()) else {
        return Ok(Vec::new());
    };
    let mut found = Found {
        cloud: Cloud::default(),
        files: Vec::new(),
        notes: Vec::new(),
    };
    // No entry is called so: only the names are read.
    read(file, "", &mut found).map(|(_, names)| names)
}

/// Where a file of openstacksdk can be, in its order.
fn candidates(variable: &str, stem: &str, env: &Environment) -> Vec<PathBuf> {
    if let Some(file) = env.variable(variable) {
        return vec![env.path(Path::new(file))];
    }
    let user = match env.variable("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => env.path(Path::new("~/.config")),
    };
    [
        env.working_directory.clone(),
        user.join("openstack"),
        env.root.join("etc/openstack"),
    ]
    .iter()
    .flat_map(|folder| ["yaml", "yml"].map(|extension| folder.join(stem).with_extension(extension)))
    .collect()
}

/// The entry `name` of `file`, and the names of all of its entries.
fn read(
    file: &Path,
    name: &str,
    found: &mut Found,
) -> Result<(Option<Cloud>, Vec<String>), Problem> {
    let text = std::fs::read_to_string(file).map_err(|error| Problem::unreadable(file, &error))?;
    let mut reader = Reader {
        name,
        entry: None,
        names: Vec::new(),
    };
    reader
        .file(&text)
        .map_err(|error| explain(file, &text, &error))?;
    found.files.push(file.to_owned());
    let Some(entry) = reader.entry else {
        return Ok((None, reader.names));
    };
    let cloud = entry.into_cloud();
    let mut wrong = None;
    let mut secret = false;
    let mut path = vec!["clouds".to_owned(), name.to_owned()];
    cloud.visit(&mut path, &mut |path, finding| match finding {
        Finding::Wrong(why) => wrong = wrong.take().or(Some((path.to_vec(), why.to_owned()))),
        Finding::Secret => secret = true,
        Finding::Obsolete | Finding::Value(_) => {}
    });
    if let Some((path, why)) = wrong {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        return Err(Problem {
            file: Some(file.to_owned()),
            place: position::find(&text, &keys),
            key: Some(path.join(".")),
            what: why,
        });
    }
    if secret && secrets::others_can_read(file) {
        found.notes.push(secrets::warning(file));
    }
    Ok((Some(cloud), reader.names))
}

impl Entry {
    fn into_cloud(self) -> Cloud {
        Cloud {
            auth: self.auth,
            auth_type: self.auth_type,
            region_name: self.region_name,
            interface: if self.interface.is_absent() {
                self.endpoint_type
            } else {
                self.interface
            },
            cacert: self.cacert,
            insecure: self.insecure,
            verify: self.verify,
            ..Cloud::default()
        }
    }
}

/// Reads one entry, and skips the others: what they hold need not make sense to ehos.
struct Reader<'n> {
    name: &'n str,
    entry: Option<Entry>,
    names: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, text: &str) -> Result<(), serde_yaml::Error> {
        Level {
            reader: self,
            top: true,
        }
        .deserialize(serde_yaml::Deserializer::from_str(text))
    }
}

struct Level<'r, 'n> {
    reader: &'r mut Reader<'n>,
    top: bool,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of names to clouds")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if self.top && key == "clouds" {
                map.next_value_seed(Level {
                    reader: &mut *self.reader,
                    top: false,
                })?;
            } else if !self.top && key == self.reader.name {
                self.reader.entry = Some(map.next_value::<Option<Entry>>()?.unwrap_or_default());
                self.reader.names.push(key);
            } else {
                map.next_value::<IgnoredAny>()?;
                if !self.top {
                    self.reader.names.push(key);
                }
            }
        }
        Ok(())
    }
}

/// The cloud that the `OS_*` variables describe, when they do.
pub(super) fn from_variables(env: &Environment) -> Option<Cloud> {
    env.variable("OS_AUTH_URL")?;
    let text = |name: &str| match env.variable(name) {
        Some(value) => Given::Value(value.to_owned()),
        None => Given::Absent,
    };
    let secret = |name: &str| match env.variable(name) {
        Some(value) => Given::Value(value.into()),
        None => Given::Absent,
    };
    Some(Cloud {
        auth_url: text("OS_AUTH_URL"),
        auth_type: text("OS_AUTH_TYPE"),
        username: text("OS_USERNAME"),
        user_id: text("OS_USER_ID"),
        password: secret("OS_PASSWORD"),
        project_name: text("OS_PROJECT_NAME"),
        project_id: text("OS_PROJECT_ID"),
        user_domain_name: text("OS_USER_DOMAIN_NAME"),
        user_domain_id: text("OS_USER_DOMAIN_ID"),
        project_domain_name: text("OS_PROJECT_DOMAIN_NAME"),
        project_domain_id: text("OS_PROJECT_DOMAIN_ID"),
        application_credential_id: text("OS_APPLICATION_CREDENTIAL_ID"),
        application_credential_name: text("OS_APPLICATION_CREDENTIAL_NAME"),
        application_credential_secret: secret("OS_APPLICATION_CREDENTIAL_SECRET"),
        region_name: text("OS_REGION_NAME"),
        interface: text("OS_INTERFACE"),
        cacert: match env.variable("OS_CACERT") {
            Some(path) => Given::Value(PathBuf::from(path)),
            None => Given::Absent,
        },
        insecure: match env.variable("OS_INSECURE").map(super::given::flag) {
            Some(Ok(flag)) => Given::Value(flag),
            Some(Err(why)) => Given::Wrong(format!("OS_INSECURE: {why}")),
            None => Given::Absent,
        },
        ..Cloud::default()
    })
}
