//! What is said of one service alone: of those that ehos asks it counts.

use std::collections::BTreeMap;

use super::{Keys, Value, text};
use crate::document::Section;
use keys::Value as Setting;
use system::advice::Advice;

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

impl Keys {
    /// Puts what is said of single services into the cloud.
    pub(super) fn services(&mut self, cloud: &mut Section) {
        let mut all: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        let keys: Vec<String> = self.beside.keys().cloned().collect();
        for key in keys {
            let of_service = OF_SERVICE.iter().find_map(|end| {
                let prefix = key.strip_suffix(end)?.strip_suffix('_')?;
                Some((prefix, *end))
            });
            let Some((prefix, what)) = of_service else {
                continue;
            };
            let mut services = SERVICES.iter();
            let service = services.find(|(_, names)| names.contains(&prefix));
            let value = self.beside.remove(&key);
            if let (Some((service, _)), Some(value)) = (service, value)
                && let Some((key, text)) = self.service(service, what, value)
            {
                all.entry(key)
                    .or_default()
                    .insert((*service).to_owned(), text);
            }
        }
        for (key, values) in all {
            cloud.set(key, Some(Setting::Texts(values)));
        }
    }

    /// The key of ehos for what is said of a service, and its value.
    fn service(
        &mut self,
        service: &str,
        what: &str,
        value: Value,
    ) -> Option<(&'static str, String)> {
        let version = text(&value.node).unwrap_or_default();
        let spoken = if service == "volume" { "3" } else { "2" };
        let note: Advice = match (service, what) {
            ("identity", "api_version") if version.starts_with('2') => {
                "Keystone v2 is not supported: ehos uses v3".into()
            }
            ("identity", "endpoint_override" | "endpoint") => "Keystone is at `auth_url`".into(),
            ("identity", _) => return None,
            (_, "endpoint_override" | "endpoint") => {
                let value = self.put_in(Some(value));
                let url = self.parsed(value.as_ref(), |text| match text.starts_with("http") {
                    true => Ok(text.to_owned()),
                    false => Err("must begin with https:// or http://".into()),
                });
                return url.map(|url| ("endpoint_overrides", url));
            }
            (_, "interface" | "endpoint_type") => {
                let interface = self.interface(Some(&value))?;
                return Some(("interfaces", interface));
            }
            (_, "region_name") => {
                let region = self.parsed(Some(&value), |text| Ok(text.to_owned()))?;
                return Some(("region_names", region));
            }
            (_, "api_version") if !version.starts_with(spoken) => {
                format!("ehos uses version {spoken}").into()
            }
            (_, "service_type" | "service_name") => (
                "ehos finds the service by its usual type",
                format!("set {service}_endpoint_override if ehos does not find it"),
            )
                .into(),
            ("compute", "default_microversion" | "min_version" | "max_version") => {
                "ehos requests the microversions that it needs".into()
            }
            _ => return None,
        };
        self.note(&value, note.at("not used"));
        None
    }
}
