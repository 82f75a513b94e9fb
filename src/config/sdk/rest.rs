//! Keys of openstacksdk that no setting of ehos is made of: other logins, profiles, and those of other programs.

use super::{ADVICE, Keys, text};
use crate::table::AUTH;
use crate::yaml_error::nearest;
use system::advice::Advice;

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

/// Keys beside those of a login that could be meant by one that is not known.
const KNOWN: [&str; 8] = [
    "region_name",
    "interface",
    "auth_type",
    "cacert",
    "verify",
    "insecure",
    "regions",
    "profile",
];

impl Keys {
    /// Takes out the name of the vendor profile. One that is `missing`, in no file of profiles, is an error where nothing else
    /// says how to log in.
    pub(crate) fn take_profile(&mut self, missing: bool) {
        let Some(profile) = self.take(&["cloud", "profile"], true) else {
            return;
        };
        if !missing {
            return;
        }
        let name = text(&profile.node).unwrap_or_default();
        let what = format!(
            "the profile `{name}` is in no clouds-public.yaml (of the folders of clouds.yaml), and ehos does not read the \
             profiles of openstacksdk"
        );
        if self.auth.contains_key("auth_url") || self.beside.contains_key("auth_url") {
            self.note(&profile, format!("not used: {what}"));
        } else {
            let remedy = "put `auth_url` and `region_name` into this entry";
            self.problem(&profile, (what, remedy));
        }
    }

    /// Keys without which somebody else would be logged in, or nobody.
    pub(super) fn other_logins(&mut self) {
        for (key, what) in OTHER_LOGINS {
            // One that is named with its kind of login has been told.
            if let Some(value) = self.take(&[key], false)
                && self.problems.is_empty()
            {
                self.problem(&value, (format!("ehos cannot log in by {what}"), ADVICE));
            }
        }
    }

    /// What is left of the keys.
    pub(super) fn rest(&mut self, all: bool) {
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
        let mut known: Vec<&str> = AUTH.keys().map(|key| key.name).collect();
        known.extend(KNOWN);
        for (key, value) in beside.chain(auth) {
            let hint = nearest(&key, &known, 0.9);
            let what = Advice {
                problem: "not used: ehos does not know this key".to_owned(),
                remedy: hint.map(|known| format!("the nearest known key is `{known}`")),
            };
            self.note(&value, what);
        }
    }
}
