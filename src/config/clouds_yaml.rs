//! Entries of OpenStack's own clouds.yaml, with secure.yaml and clouds-public.yaml, and the `OS_*` variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{Item, Section};
use super::error::Diagnostic;
use super::sdk::{Keys, Origin};
use super::yaml_error::explain;
use super::{secrets, text};
use system::advice::Advice;
use system::environment::Environment;
use yaml::{self, Node};

/// An entry, and what is worth knowing about it.
pub(super) struct Found {
    /// As a cloud of ehos that says no more than the entry does.
    pub(super) cloud: Section,
    /// The files that it stands in.
    pub(super) files: Vec<PathBuf>,
    /// Secrets that others can read, and keys that are not used.
    pub(super) notes: Vec<Diagnostic>,
    /// What is wrong with it.
    pub(super) problems: Vec<Diagnostic>,
}

/// A file that is read.
struct File {
    path: PathBuf,
    text: String,
    tree: Node,
}

impl File {
    fn read(path: &Path) -> Result<File, Diagnostic> {
        let text = text::read(path)?;
        let tree = yaml::parse(&text).map_err(|error| explain(path, &text, &error))?;
        Ok(File {
            path: path.to_owned(),
            text,
            tree,
        })
    }

    /// The entry of this name under `section`.
    fn entry(&self, section: &str, name: &str) -> Option<&Node> {
        self.tree.get(section)?.get(name)
    }

    /// The names of the entries.
    fn names(&self) -> Result<Vec<String>, Diagnostic> {
        match self.tree.get("clouds") {
            Some(Node::Map(entries)) => Ok(entries.iter().map(|(name, _)| name.clone()).collect()),
            None | Some(Node::Null) => Ok(Vec::new()),
            Some(_) => Err(Diagnostic {
                key: Some("clouds".into()),
                ..Diagnostic::of_file(&self.path, "must be a mapping of names to clouds")
            }),
        }
    }
}

/// The entry `name` of the first clouds.yaml there is, with that of secure.yaml over it; `region` is the one that is meant
/// where it has several.
pub(super) fn entry(
    name: &str,
    region: Option<&str>,
    env: &Environment,
) -> Result<Found, Diagnostic> {
    let files = candidates("OS_CLIENT_CONFIG_FILE", "clouds", env);
    let Some(path) = files.iter().find(|file| file.exists()) else {
        return Err(Diagnostic::general(format!(
            "there is no clouds.yaml for the cloud `{name}`: searched {}",
            names_of(&files)
        )));
    };
    let file = File::read(path)?;
    let names = file.names()?;
    let Some(entry) = file.entry("clouds", name) else {
        return Err(Diagnostic::of_file(
            path,
            Advice {
                problem: format!("there is no cloud `{name}` in it"),
                remedy: (!names.is_empty())
                    .then(|| format!("expected one of {}", names.join(", "))),
            },
        ));
    };
    if !matches!(entry, Node::Map(_) | Node::Null) {
        return Err(Diagnostic {
            place: yaml::find(&file.text, &["clouds", name]),
            key: Some(format!("clouds.{name}").into()),
            ..Diagnostic::of_file(path, "must be a mapping of keys to values")
        });
    }
    let secure = secure(path, env)?;
    let secret = secure
        .as_ref()
        .and_then(|secure| secure.entry("clouds", name));
    let mut keys = Keys::new();
    let mut files = Vec::new();
    let missing = put_profile(&mut keys, &mut files, secret, entry, env)?;
    let mut origins = vec![(
        put(&mut keys, &file, entry, &["clouds", name]),
        path.clone(),
    )];
    files.push(path.clone());
    if let Some(secure) = &secure {
        if let Some(secret) = secret {
            let origin = put(&mut keys, secure, secret, &["clouds", name]);
            origins.push((origin, secure.path.clone()));
        }
        files.push(secure.path.clone());
    }
    keys.take_profile(missing);
    keys.choose_region(region);
    for (origin, path) in origins {
        if keys.has_secret_in(origin) && secrets::others_can_read(&path) {
            keys.notes.push(secrets::warning(&path));
        }
    }
    let cloud = keys.cloud(true);
    Ok(Found {
        cloud,
        files,
        notes: keys.notes,
        problems: keys.problems,
    })
}

/// Puts in the vendor profile that the entry names, of the first clouds-public.yaml there is; whether it is missing there.
fn put_profile(
    keys: &mut Keys,
    files: &mut Vec<PathBuf>,
    secret: Option<&Node>,
    entry: &Node,
    env: &Environment,
) -> Result<bool, Diagnostic> {
    let mut entries = [secret, Some(entry)].into_iter().flatten();
    let named = entries.find_map(|entry| entry.get("profile").or_else(|| entry.get("cloud")));
    let Some(Node::Text(profile)) = named else {
        return Ok(false);
    };
    let places = candidates("OS_CLIENT_VENDOR_FILE", "clouds-public", env);
    let vendors = places.iter().find(|place| place.exists());
    let vendors = vendors.map(|place| File::read(place)).transpose()?;
    let found = vendors.as_ref().and_then(|vendors| {
        let entry = vendors.entry("public-clouds", profile)?;
        Some((vendors, entry))
    });
    if let Some((vendors, entry)) = found {
        put(keys, vendors, entry, &["public-clouds", profile]);
        files.push(vendors.path.clone());
    }
    Ok(found.is_none())
}

fn put(keys: &mut Keys, file: &File, entry: &Node, path: &[&str]) -> usize {
    let origin = keys.origin(Origin::File {
        path: file.path.clone(),
        text: file.text.clone(),
    });
    keys.put(entry, origin, path);
    origin
}

fn secure(beside: &Path, env: &Environment) -> Result<Option<File>, Diagnostic> {
    let mut files = candidates("OS_CLIENT_SECURE_FILE", "secure", env);
    files.extend(ENDINGS.map(|ending| beside.with_file_name("secure").with_extension(ending)));
    let path = files.iter().find(|file| file.exists());
    path.map(|path| File::read(path)).transpose()
}

/// The names of the entries of the first clouds.yaml there is.
pub(super) fn names(env: &Environment) -> Result<Vec<String>, Diagnostic> {
    let files = candidates("OS_CLIENT_CONFIG_FILE", "clouds", env);
    match files.iter().find(|file| file.exists()) {
        Some(path) => File::read(path)?.names(),
        None => Ok(Vec::new()),
    }
}

/// How the files of openstacksdk end.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Where a file of openstacksdk can be, in its order.
fn candidates(variable: &str, stem: &str, env: &Environment) -> Vec<PathBuf> {
    if let Some(file) = env.variable(variable) {
        return vec![env.path(Path::new(file))];
    }
    let of_user = env.variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = env.path(Path::new("~/.config"));
    let mut folders = vec![env.working_directory.clone()];
    folders.extend(of_user.iter().map(|folder| folder.join("openstack")));
    folders.push(home.join("openstack"));
    folders.push(env.root.join("etc/xdg/openstack"));
    folders.push(env.root.join("etc/openstack"));
    folders
        .iter()
        .flat_map(|folder| ENDINGS.map(|ending| folder.join(stem).with_extension(ending)))
        .collect()
}

fn names_of(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    names.join(", ")
}

/// Variables that choose an entry or a file, and say nothing of a cloud.
const SELECTORS: [&str; 5] = [
    "OS_CLOUD",
    "OS_CLOUD_NAME",
    "OS_CLIENT_CONFIG_FILE",
    "OS_CLIENT_SECURE_FILE",
    "OS_CLIENT_VENDOR_FILE",
];

/// The cloud that the `OS_*` variables describe, when they do. Those of an openrc file `file` are set in the `lines` of it; of
/// this process, what is not known is left alone.
pub(super) fn from_variables(
    env: &Environment,
    file: Option<(&Path, &BTreeMap<String, usize>)>,
) -> Option<Found> {
    env.variable("OS_AUTH_URL")?;
    let mut keys = Keys::new();
    let origin = keys.origin(Origin::Variables {
        file: file.map(|(path, _)| path.to_owned()),
        lines: file.map(|(_, lines)| lines.clone()).unwrap_or_default(),
    });
    for (name, value) in &env.variables {
        let Some(key) = name.strip_prefix("OS_") else {
            continue;
        };
        let is_set = file.is_none_or(|(_, lines)| lines.contains_key(name)) || is_login(key);
        if value.is_empty() || SELECTORS.contains(&name.as_str()) || !is_set {
            continue;
        }
        keys.put_variable(name, &key.to_ascii_lowercase(), value, origin);
    }
    keys.take_profile(true);
    keys.choose_region(None);
    let mut cloud = keys.cloud(file.is_some());
    if let Some(Item::Section(auth)) = cloud.take("auth") {
        cloud.merge(auth);
    }
    Some(Found {
        cloud,
        files: file.iter().map(|(path, _)| (*path).to_owned()).collect(),
        notes: keys.notes,
        problems: keys.problems,
    })
}

/// A password may be given beside the file.
fn is_login(key: &str) -> bool {
    key == "PASSWORD"
}
