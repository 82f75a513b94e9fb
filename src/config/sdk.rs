//! What openstacksdk makes of the keys of a cloud in clouds.yaml and of the `OS_*` variables: each is put into a cloud of ours,
//! changes nothing that ehos does, or is named.
//!
//! Source: openstacksdk, openstack/config/loader.py and cloud_region.py; keystoneauth, the options of its plugins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::document::{Item, Section, scalar};
use super::error::Problem;
use super::explain::nearest;
use crate::openstack::INTERFACES;
use crate::yaml::{self, Node, Place};
use keys::{Value as Setting, flag};

/// The services that ehos asks, with the names that keys of openstacksdk give them.
const SERVICES: [(&str, &[&str]); 5] = [
    ("compute", &["compute"]),
    ("image", &["image"]),
    ("network", &["network"]),
    (
        "volume",
        &[
            "volume",
            "volumev3",
            "volumev2",
            "block_storage",
            "block_store",
        ],
    ),
    ("identity", &["identity"]),
];

/// Ends of keys that say something about one service, the longer before those that they end in.
const OF_SERVICE: [&str; 15] = [
    "endpoint_override",
    "endpoint_type",
    "endpoint",
    "interface",
    "region_name",
    "service_type",
    "service_name",
    "default_microversion",
    "min_version",
    "max_version",
    "api_version",
    "status_code_retries",
    "connect_retries",
    "rate_limit",
    "concurrency",
];

/// Keys that cannot change what ehos does: what other programs create, show or keep.
const HARMLESS: [&str; 29] = [
    "cache",
    "client",
    "metrics",
    "description",
    "disable_vendor_agent",
    "external_network",
    "floating_ip_source",
    "force_ipv4",
    "image_api_use_tasks",
    "image_format",
    "internal_network",
    "message",
    "name",
    "nat_destination",
    "nat_source",
    "default_network",
    "networks",
    "prefer_ipv6",
    "requires_floating_ip",
    "secgroup_source",
    "status",
    "timing",
    "use_external_network",
    "use_internal_network",
    "use_direct_get",
    "password_expires",
    "networks_external",
    "statsd",
    "tenant_description",
];

/// Keys of `auth`, wherever they stand, that no login of ehos has.
const OTHER_LOGINS: [(&str, &str); 5] = [
    ("trust_id", "a trust"),
    ("system_scope", "the system as scope"),
    ("passcode", "a one-time passcode"),
    ("auth_methods", "several factors"),
    ("endpoint", "an endpoint without a login"),
];

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
    pub(super) notes: Vec<String>,
    pub(super) problems: Vec<Problem>,
    /// The region that was chosen.
    region: Option<String>,
}

/// openstacksdk takes `-` for `_`.
fn normal(key: &str) -> String {
    key.replace('-', "_")
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

    fn at(&self, value: &Value, what: impl Into<String>) -> Problem {
        let what = what.into();
        match self.origins.get(value.origin) {
            Some(Origin::File { path, text }) => {
                let keys: Vec<&str> = value.path.iter().map(String::as_str).collect();
                Problem {
                    file: Some(path.clone()),
                    place: yaml::find(text, &keys),
                    key: Some(value.path.join(".")),
                    what,
                }
            }
            Some(Origin::Variables { file, lines }) => {
                let name = value.path.last().cloned().unwrap_or_default();
                let line = lines.get(&name);
                Problem {
                    file: file.clone(),
                    place: line.map(|line| Place {
                        line: *line,
                        column: 1,
                    }),
                    key: Some(name),
                    what,
                }
            }
            None => Problem::general(what),
        }
    }

    fn note(&mut self, value: &Value, what: impl Into<String>) {
        let note = self.at(value, what).to_string();
        self.notes.push(note);
    }

    fn problem(&mut self, value: &Value, what: impl Into<String>) {
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
                    self.note(&other, format!("not used: `{by}` says something else"));
                }
            }
        }
        found
    }

    fn parsed<T>(
        &mut self,
        value: Option<&Value>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = value?;
        let read = match text(&value.node) {
            Some(text) => scalar(text, parse)?,
            None => Err("must be one value".to_owned()),
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

    /// Takes out the name of the vendor profile. One that is `missing`, in no file of profiles, is an error where nothing else
    /// says how to log in.
    pub(super) fn take_profile(&mut self, missing: bool) {
        let Some(profile) = self.take(&["cloud", "profile"], true) else {
            return;
        };
        if !missing {
            return;
        }
        let name = text(&profile.node).unwrap_or_default();
        let what = format!(
            "the profile `{name}` is in no clouds-public.yaml (of the folders of clouds.yaml), and the profiles that are part of openstacksdk are \
             not read"
        );
        if self.auth.contains_key("auth_url") || self.beside.contains_key("auth_url") {
            self.note(&profile, format!("not used: {what}"));
        } else {
            let what = format!("{what}: put `auth_url` and `region_name` into this entry");
            self.problem(&profile, what);
        }
    }

    /// Chooses the region, and puts its own values over the rest.
    pub(super) fn choose_region(&mut self, wanted: Option<&str>) {
        let named = self.beside.remove("region_name");
        let regions = self.beside.remove("regions");
        let mut names: Vec<(String, Node)> = Vec::new();
        let listed = match (&regions, &named) {
            (Some(regions), _) => Some(regions),
            (None, Some(named)) => Some(named),
            (None, None) => None,
        };
        let Some(listed) = listed.cloned() else {
            return;
        };
        let items = match &listed.node {
            Node::List(items) => items.clone(),
            // What openstacksdk once had in the place of a list.
            Node::Text(text) => text
                .split(',')
                .map(|name| Node::Text(name.trim().to_owned()))
                .collect(),
            other => vec![other.clone()],
        };
        for item in items {
            let name = match &item {
                Node::Text(name) => Some(name.as_str()),
                map => map.get("name").and_then(text),
            };
            let Some(name) = name else {
                self.problem(
                    &listed,
                    "each region is a name, or a mapping of `name` and `values`",
                );
                return;
            };
            let values = item.get("values").cloned().unwrap_or(Node::Null);
            names.push((name.to_owned(), values));
        }
        let own = named.as_ref().and_then(|named| text(&named.node));
        let own = own.filter(|_| regions.is_some());
        let wanted = wanted.or(own);
        let all: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        let index = match (wanted, names.as_slice()) {
            (Some(wanted), _) => names.iter().position(|(name, _)| name == wanted),
            (None, [_]) => Some(0),
            (None, _) => None,
        };
        let Some((name, values)) = index.and_then(|index| names.get(index)).cloned() else {
            // One that is only the entry's own default may be replaced by any.
            if regions.is_none() && names.len() == 1 {
                self.region = wanted.map(str::to_owned);
                let node = wanted.map_or(Node::Null, |name| Node::Text(name.to_owned()));
                self.beside
                    .insert("region_name".to_owned(), Value { node, ..listed });
                return;
            }
            if names.is_empty() {
                return;
            }
            let what = match wanted {
                Some(wanted) => format!(
                    "there is no region `{wanted}` in it; there are {}",
                    all.join(", ")
                ),
                None => format!(
                    "has several regions, {}: say which is meant by `region_name` in ehos.yaml, or $OS_REGION_NAME with \
                     $OS_CLOUD",
                    all.join(", ")
                ),
            };
            self.problem(&listed, what);
            return;
        };
        let path: Vec<String> = match regions.is_some() {
            true => {
                let position = index.unwrap_or(0) + 1;
                let mut path = listed.path.clone();
                path.extend([position.to_string(), "values".to_owned()]);
                path
            }
            false => listed.path.clone(),
        };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.put(&values, listed.origin, &path);
        self.region = Some(name.clone());
        self.beside.insert(
            "region_name".to_owned(),
            Value {
                node: Node::Text(name),
                ..listed
            },
        );
    }

    /// Puts the region into the places that openstacksdk keeps for it.
    fn put_in(&mut self, value: Option<Value>) -> Option<Value> {
        let mut value = value?;
        if let (Node::Text(url), Some(region)) = (&mut value.node, &self.region) {
            *url = url.replace("{region_name}", region);
        }
        if text(&value.node).is_some_and(|url| url.contains('{')) {
            self.problem(
                &value,
                "has a `{` that ehos cannot fill in: write the address itself (only {region_name} is filled in)",
            );
        }
        Some(value)
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
        let insecure = self.parsed(insecure.as_ref(), flag);
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
                        "`{kind}` is no login that ehos can do (password, v3applicationcredential and token are): {ADVICE}"
                    );
                    self.problem(value, what);
                }
                return None;
            }
        };
        if let (true, Some(value)) = (kind.starts_with("v2"), &value) {
            self.note(value, "Keystone v2 is not supported: v3 is asked");
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
                let verify = self.parsed(Some(&value), flag);
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
                Err(format!("`{text}` is none of public, internal, admin"))
            }
        })
    }

    /// What is said of one service: of those that ehos asks it counts.
    fn services(&mut self, cloud: &mut Section) {
        let mut endpoints = BTreeMap::new();
        let mut interfaces = BTreeMap::new();
        let mut regions = BTreeMap::new();
        let keys: Vec<String> = self.beside.keys().cloned().collect();
        for key in keys {
            let Some((prefix, what)) = OF_SERVICE.iter().find_map(|end| {
                let prefix = key.strip_suffix(end)?.strip_suffix('_')?;
                Some((prefix, *end))
            }) else {
                continue;
            };
            let Some(value) = self.beside.remove(&key) else {
                continue;
            };
            let service = SERVICES
                .iter()
                .find(|(_, names)| names.contains(&prefix))
                .map(|(service, _)| *service);
            // Of another service.
            let Some(service) = service else { continue };
            match (service, what) {
                ("identity", "api_version")
                    if text(&value.node).is_some_and(|version| version.starts_with('2')) =>
                {
                    self.note(
                        &value,
                        "not used: Keystone v2 is not supported, v3 is asked",
                    );
                }
                ("identity", "endpoint_override" | "endpoint") => {
                    self.note(&value, "not used: Keystone is asked at `auth_url`");
                }
                ("identity", _) => {}
                (_, "endpoint_override" | "endpoint") => {
                    if let Some(value) = self.put_in(Some(value)) {
                        let url =
                            self.parsed(Some(&value), |text| match text.starts_with("http") {
                                true => Ok(text.to_owned()),
                                false => Err("must begin with https:// or http://".to_owned()),
                            });
                        endpoints.extend(url.map(|url| (service.to_owned(), url)));
                    }
                }
                (_, "interface" | "endpoint_type") => {
                    let interface = self.interface(Some(&value));
                    interfaces.extend(interface.map(|interface| (service.to_owned(), interface)));
                }
                (_, "region_name") => {
                    let region = self.parsed(Some(&value), |text| Ok(text.to_owned()));
                    regions.extend(region.map(|region| (service.to_owned(), region)));
                }
                (service, "api_version") => {
                    let spoken = match service {
                        "volume" => "3",
                        _ => "2",
                    };
                    if !text(&value.node).is_some_and(|version| version.starts_with(spoken)) {
                        self.note(
                            &value,
                            format!("not used: version {spoken} is what ehos asks"),
                        );
                    }
                }
                (_, "service_type" | "service_name") => {
                    self.note(
                        &value,
                        format!("not used: ehos finds the service by its usual type; if it is not found so, give {service}_endpoint_override"),
                    );
                }
                ("compute", "default_microversion" | "min_version" | "max_version") => {
                    self.note(
                        &value,
                        "not used: ehos asks for the microversions that it needs",
                    );
                }
                _ => {}
            }
        }
        for (key, values) in [
            ("endpoint_overrides", endpoints),
            ("interfaces", interfaces),
            ("region_names", regions),
        ] {
            cloud.set(key, (!values.is_empty()).then_some(Setting::Texts(values)));
        }
    }

    /// Keys without which somebody else would be logged in, or nobody.
    fn other_logins(&mut self) {
        for (key, what) in OTHER_LOGINS {
            // One that is named with its kind of login has been told.
            if let Some(value) = self.take(&[key], false)
                && self.problems.is_empty()
            {
                self.problem(&value, format!("ehos cannot log in by {what}: {ADVICE}"));
            }
        }
    }

    /// What is left of the keys.
    fn rest(&mut self, all: bool) {
        let told = [
            ("cert", "ehos shows no certificate of its own to a cloud"),
            ("key", "ehos shows no certificate of its own to a cloud"),
            ("api_timeout", "daemon.request_timeout limits each request"),
            ("timeout", "daemon.request_timeout limits each request"),
            ("vendor_hook", "ehos runs no code of a vendor"),
        ];
        for (key, why) in told {
            if let Some(value) = self.beside.remove(key) {
                self.note(&value, format!("not used: {why}"));
            }
        }
        let beside = std::mem::take(&mut self.beside);
        let auth = std::mem::take(&mut self.auth);
        if !all {
            return;
        }
        let harmless = |key: &str| HARMLESS.contains(&key) || key.starts_with("has_");
        let beside = beside.into_iter().filter(|(key, _)| !harmless(key));
        for (key, value) in beside.chain(auth) {
            let known = [
                "auth_url",
                "username",
                "password",
                "project_name",
                "project_id",
                "user_domain_name",
                "user_domain_id",
                "project_domain_name",
                "region_name",
                "interface",
                "auth_type",
                "cacert",
                "verify",
                "insecure",
                "regions",
                "application_credential_id",
                "application_credential_secret",
                "profile",
            ];
            let hint = nearest(&key, &known, 0.9).map_or_else(String::new, |known| {
                format!("; the nearest known key is `{known}`")
            });
            self.note(
                &value,
                format!("not used: ehos does not know this key{hint}"),
            );
        }
    }
}
