//! What openstacksdk makes of the keys of a cloud in clouds.yaml and of the `OS_*` variables: each is put into a cloud of ehos,
//! changes nothing that ehos does, or is named.
//!
//! Source: openstacksdk, openstack/config/loader.py and cloud_region.py; keystoneauth, the options of its plugins.

mod region;
mod rest;
mod services;

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::diagnostics::unknown_value;
use super::document::{Item, Section, scalar};
use super::error::Diagnostic;
use keys::{Value as Setting, flag};
use openstack::INTERFACES;
use system::advice::Advice;
use yaml::{self, Node, Place};

/// Keys of a login: their spellings, the last of them ours, and whether what stands beside `auth` counts before what stands in it.
const LOGIN: [(&[&str], bool); 13] = [
    (&["user_name", "username"], false),
    (&["user_id"], false),
    (&["password"], false),
    (&["application_credential_id"], false),
    (&["application_credential_name"], false),
    (&["application_credential_secret"], false),
    (&["tenant_id", "project_id"], true),
    (&["tenant_name", "project_name"], true),
    (&["user_domain_id"], true),
    (&["user_domain_name"], true),
    (&["project_domain_id"], true),
    (&["project_domain_name"], true),
    (&["auth_token", "token"], true),
];

/// Those of them that are secrets.
const SECRETS: [&str; 3] = ["password", "application_credential_secret", "token"];

/// What to do where ehos cannot log in as the entry says.
const ADVICE: &str = "create an application credential for ehos (openstack application credential create ehos) and use that";

/// Where keys come from.
pub(super) enum Origin {
    /// A file with its text.
    File { path: PathBuf, text: String },
    /// The `OS_*` variables, by the lines of the openrc file that sets them, or of this process.
    Variables {
        file: Option<PathBuf>,
        lines: BTreeMap<String, usize>,
    },
}

/// One value, and where it stands.
#[derive(Clone)]
struct Value {
    node: Node,
    origin: usize,
    path: Vec<String>,
}

/// The keys of one cloud, of several layers.
pub(super) struct Keys {
    origins: Vec<Origin>,
    beside: BTreeMap<String, Value>,
    auth: BTreeMap<String, Value>,
    pub(super) notes: Vec<Diagnostic>,
    pub(super) problems: Vec<Diagnostic>,
    /// The region that was chosen.
    region: Option<String>,
}

/// openstacksdk takes `-` for `_`.
fn normal(key: &str) -> String {
    key.replace('-', "_")
}

fn truth(text: &str) -> Result<bool, Advice> {
    flag(text).map_err(Into::into)
}

fn text(node: &Node) -> Option<&str> {
    match node {
        Node::Text(text) => Some(text),
        _ => None,
    }
}

impl Keys {
    pub(super) fn new() -> Keys {
        Keys {
            origins: Vec::new(),
            beside: BTreeMap::new(),
            auth: BTreeMap::new(),
            notes: Vec::new(),
            problems: Vec::new(),
            region: None,
        }
    }

    pub(super) fn origin(&mut self, origin: Origin) -> usize {
        self.origins.push(origin);
        self.origins.len() - 1
    }

    /// Puts the keys of a mapping over what is there; `path` is where in its origin it stands.
    pub(super) fn put(&mut self, map: &Node, origin: usize, path: &[&str]) {
        for (key, node) in map.entries() {
            let path: Vec<String> = path
                .iter()
                .copied()
                .chain([key.as_str()])
                .map(str::to_owned)
                .collect();
            if normal(key) == "auth" && matches!(node, Node::Map(_)) {
                for (name, node) in node.entries() {
                    let path = path.iter().cloned().chain([name.clone()]).collect();
                    Self::set(&mut self.auth, name, node, origin, path);
                }
            } else {
                Self::set(&mut self.beside, key, node, origin, path);
            }
        }
    }

    /// Puts in what a variable of the shell says.
    pub(super) fn put_variable(&mut self, variable: &str, key: &str, value: &str, origin: usize) {
        let node = Node::Text(value.to_owned());
        let path = vec![variable.to_owned()];
        Self::set(&mut self.beside, key, &node, origin, path);
    }

    fn set(
        keys: &mut BTreeMap<String, Value>,
        key: &str,
        node: &Node,
        origin: usize,
        path: Vec<String>,
    ) {
        // openstacksdk takes what is empty for what is not there.
        if *node != Node::Null && text(node) != Some("") {
            let node = node.clone();
            keys.insert(normal(key), Value { node, origin, path });
        }
    }

    fn at(&self, value: &Value, what: impl Into<Advice>) -> Diagnostic {
        let what = what.into();
        match self.origins.get(value.origin) {
            Some(Origin::File { path, text }) => {
                let keys: Vec<&str> = value.path.iter().map(String::as_str).collect();
                Diagnostic {
                    place: yaml::find(text, &keys),
                    key: Some(value.path.join(".").into()),
                    ..Diagnostic::of_file(path, what)
                }
            }
            Some(Origin::Variables { file, lines }) => {
                let name = value.path.last().cloned().unwrap_or_default();
                let line = lines.get(&name);
                Diagnostic {
                    file: file.clone(),
                    place: line.map(|line| Place {
                        line: *line,
                        column: 1,
                    }),
                    key: Some(name.into()),
                    ..Diagnostic::general(what)
                }
            }
            None => Diagnostic::general(what),
        }
    }

    fn note(&mut self, value: &Value, what: impl Into<Advice>) {
        let note = self.at(value, what);
        self.notes.push(note);
    }

    fn problem(&mut self, value: &Value, what: impl Into<Advice>) {
        let problem = self.at(value, what);
        self.problems.push(problem);
    }

    /// What stands at any of these names, which are the same, the last of them before the others; of `auth` and of what stands
    /// beside it, that which `beside_first` says.
    fn take(&mut self, names: &[&str], beside_first: bool) -> Option<Value> {
        let mut found: Option<Value> = None;
        for name in names {
            let (auth, beside) = (self.auth.remove(*name), self.beside.remove(*name));
            let both = if beside_first {
                [auth, beside]
            } else {
                [beside, auth]
            };
            for value in both.into_iter().flatten() {
                if let Some(other) = found.replace(value)
                    && let Some(kept) = &found
                    && other.node != kept.node
                {
                    let by = kept.path.last().cloned().unwrap_or_default();
                    self.note(&other, format!("not used: `{by}` has another value"));
                }
            }
        }
        found
    }

    fn parsed<T>(
        &mut self,
        value: Option<&Value>,
        parse: impl FnOnce(&str) -> Result<T, Advice>,
    ) -> Option<T> {
        let value = value?;
        let read = match text(&value.node) {
            Some(text) => scalar(text, parse)?,
            None => Err("must be one value".into()),
        };
        read.map_err(|why| self.problem(value, why)).ok()
    }

    fn string(&mut self, names: &[&str], beside_first: bool) -> Option<String> {
        let value = self.take(names, beside_first);
        self.parsed(value.as_ref(), |text| Ok(text.to_owned()))
    }

    /// Whether a secret stands in a file of this path.
    pub(super) fn has_secret_in(&self, origin: usize) -> bool {
        [&self.auth, &self.beside].into_iter().any(|keys| {
            SECRETS
                .iter()
                .chain(&["auth_token"])
                .any(|name| keys.get(*name).is_some_and(|value| value.origin == origin))
        })
    }

    /// The cloud that the keys describe. `all` keys that are not known are named; else they may be those of other programs.
    pub(super) fn cloud(&mut self, all: bool) -> Section {
        let mut cloud = Section::default();
        let mut auth = self.login();
        let auth_type = self.auth_type(&mut auth);
        cloud.set_item("auth", Item::Section(auth));
        cloud.set("auth_type", auth_type.map(Setting::Text));
        let region = self.string(&["region_name"], true);
        cloud.set("region_name", region.map(Setting::Text));
        let cacert = self.string(&["cacert"], true).map(PathBuf::from);
        cloud.set("cacert", cacert.map(Setting::Path));
        let insecure = self.take(&["insecure"], true);
        let insecure = self.parsed(insecure.as_ref(), truth);
        cloud.set("insecure", insecure.map(Setting::Flag));
        self.verify(&mut cloud);
        let interface = self.take(&["endpoint_type", "interface"], true);
        let interface = self.interface(interface.as_ref());
        cloud.set("interface", interface.map(Setting::Text));
        self.services(&mut cloud);
        self.other_logins();
        self.rest(all);
        cloud
    }

    /// Who logs in.
    fn login(&mut self) -> Section {
        let mut auth = Section::default();
        let url = self.take(&["auth_url"], false);
        let url = self.put_in(url);
        let url = self.parsed(url.as_ref(), |text| Ok(text.to_owned()));
        auth.set("auth_url", url.map(Setting::Text));
        for (names, beside_first) in LOGIN {
            let text = self.string(names, beside_first);
            let name = names.last().copied().unwrap_or_default();
            let secret = SECRETS.contains(&name);
            auth.set(
                name,
                text.map(|text| match secret {
                    true => Setting::Secret(SecretString::from(text)),
                    false => Setting::Text(text),
                }),
            );
        }
        // One domain for both, and the one that is meant where none is given.
        let id = self.string(&["default_domain_id", "default_domain", "domain_id"], true);
        let name = self.string(&["default_domain_name", "domain_name"], true);
        for [of_id, of_name] in [
            ["user_domain_id", "user_domain_name"],
            ["project_domain_id", "project_domain_name"],
        ] {
            if !auth.has(of_id) && !auth.has(of_name) {
                auth.set(of_id, id.clone().map(Setting::Text));
                auth.set(of_name, name.clone().map(Setting::Text));
            }
        }
        auth
    }

    fn auth_type(&mut self, auth: &mut Section) -> Option<String> {
        let value = self.take(&["auth_plugin", "auth_type"], true);
        let kind = match value.as_ref().map(|value| text(&value.node)) {
            None => {
                let others = [
                    "username",
                    "user_id",
                    "application_credential_id",
                    "application_credential_name",
                ];
                // As the openstack command does.
                if !others.iter().any(|key| auth.has(key)) && auth.has("token") {
                    return Some("v3token".to_owned());
                }
                auth.take("token");
                return None;
            }
            Some(kind) => kind.unwrap_or_default().to_ascii_lowercase(),
        };
        let ours = match kind.as_str() {
            // Which of them is meant is plain.
            "password" if auth.has("application_credential_id") && !auth.has("password") => {
                "v3applicationcredential"
            }
            "password" | "v3password" | "v2password" => "v3password",
            "v3applicationcredential" | "application_credential" => "v3applicationcredential",
            "token" | "v3token" | "v2token" => "v3token",
            _ => {
                if let Some(value) = &value {
                    let what = format!(
                        "ehos cannot log in by `{kind}`, only by password, v3applicationcredential or token"
                    );
                    self.problem(value, (what, ADVICE));
                }
                return None;
            }
        };
        if let (true, Some(value)) = (kind.starts_with("v2"), &value) {
            self.note(value, "Keystone v2 is not supported: ehos uses v3");
        }
        if ours != "v3token" {
            auth.take("token");
        }
        Some(ours.to_owned())
    }

    fn verify(&mut self, cloud: &mut Section) {
        let Some(value) = self.take(&["verify"], true) else {
            return;
        };
        match text(&value.node) {
            // As `requests` has it, the certificates themselves.
            Some(path) if flag(path).is_err() && path.contains('/') => {
                if !cloud.has("cacert") {
                    cloud.set("cacert", Some(Setting::Path(PathBuf::from(path))));
                }
            }
            _ => {
                let verify = self.parsed(Some(&value), truth);
                cloud.set("verify", verify.map(Setting::Flag));
            }
        }
    }

    fn interface(&mut self, value: Option<&Value>) -> Option<String> {
        self.parsed(value, |text| {
            let interface = text.trim_end_matches("URL");
            if INTERFACES.contains(&interface) {
                Ok(interface.to_owned())
            } else {
                Err(unknown_value(text, &INTERFACES))
            }
        })
    }
}
