//! One configuration file as it is written: every key that there is, each of them optional.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};

use super::error::Problem;
use super::explain::explain;
use super::given::{Given, Obsolete, Value, is_placeholder};
use super::influxdb::WriteUrl;
use super::schedules::Schedules;
use crate::scaling::schedule::Spare;
use crate::simulation::Scenario;

/// Something in a file that its reader has to know of.
pub(super) enum Finding<'a> {
    /// A value of the wrong kind, and why it is that.
    Wrong(&'a str),
    /// A key without a meaning any more.
    Obsolete,
    /// A secret stands here in plain text.
    Secret,
    /// A value that may be shown.
    Value(String),
}

/// A place where a key can stand.
pub(super) trait Field {
    /// Puts what `over` says over this.
    fn merge(&mut self, over: Self);

    /// Whether it says nothing.
    fn is_missing(&self) -> bool;

    /// Calls `f` for each finding, with its key path.
    fn visit(&self, path: &mut Vec<String>, f: &mut dyn FnMut(&[String], Finding<'_>));
}

impl<T: Value> Field for Given<T> {
    fn is_missing(&self) -> bool {
        self.is_absent()
    }

    fn merge(&mut self, over: Given<T>) {
        if !over.is_absent() {
            *self = over;
        }
    }

    fn visit(&self, path: &mut Vec<String>, f: &mut dyn FnMut(&[String], Finding<'_>)) {
        match self {
            Given::Wrong(why) => f(path, Finding::Wrong(why)),
            Given::Value(_) if T::SECRET => f(path, Finding::Secret),
            Given::Value(value) => f(path, Finding::Value(value.show())),
            Given::Absent => {}
        }
    }
}

impl Field for Obsolete {
    fn is_missing(&self) -> bool {
        !self.0
    }

    fn merge(&mut self, over: Obsolete) {
        self.0 |= over.0;
    }

    fn visit(&self, path: &mut Vec<String>, f: &mut dyn FnMut(&[String], Finding<'_>)) {
        if self.0 {
            f(path, Finding::Obsolete);
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn is_missing(&self) -> bool {
        self.is_none()
    }

    fn merge(&mut self, over: Option<T>) {
        match (self.as_mut(), over) {
            (Some(base), Some(over)) => base.merge(over),
            (None, over) => *self = over,
            (Some(_), None) => {}
        }
    }

    fn visit(&self, path: &mut Vec<String>, f: &mut dyn FnMut(&[String], Finding<'_>)) {
        if let Some(inner) = self {
            inner.visit(path, f);
        }
    }
}

impl Field for Scenario {
    fn is_missing(&self) -> bool {
        false
    }

    fn merge(&mut self, over: Scenario) {
        *self = over;
    }

    fn visit(&self, path: &mut Vec<String>, f: &mut dyn FnMut(&[String], Finding<'_>)) {
        f(path, Finding::Value("a simulated world".to_owned()));
    }
}

/// A mapping of known keys.
pub(super) trait Section {
    /// Every key.
    const KEYS: &'static [&'static str];
}

/// What stands at a merge key, `<<: *anchor` or `<<: [*one, *two]`: mappings of the same kind whose keys count where the
/// section has none of that name, those of the first before those of the second (YAML's type "merge").
#[derive(Debug)]
pub(super) struct Merged<T>(pub(super) Vec<T>);

/// The name of a merge key.
pub(super) const MERGE_KEY: &str = "<<";

impl<T> Default for Merged<T> {
    fn default() -> Merged<T> {
        Merged(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Merged<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Merged<T>, D::Error> {
        struct OneOrSeveral<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrSeveral<T> {
            type Value = Merged<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of keys to values, or a list of such mappings")
            }
            fn visit_unit<E>(self) -> Result<Merged<T>, E> {
                Ok(Merged::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Merged<T>, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                Ok(Merged(vec![T::deserialize(map)?]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merged<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Merged(all))
            }
        }
        deserializer.deserialize_any(OneOrSeveral(std::marker::PhantomData))
    }
}

/// A mapping of known keys: the struct, the list of its keys, and how two of them merge.
macro_rules! section {
    ($(#[$attribute:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        #[derive(Debug, Default)]
        $(#[$attribute])*
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                #[derive(Default, Deserialize)]
                #[serde(default, expecting = "a mapping of keys to values")]
                struct Keys {
                    $($field: $type,)*
                    #[serde(rename = "<<")]
                    merged: Merged<$name>,
                }
                let keys = Keys::deserialize(deserializer)?;
                let mut section = $name { $($field: keys.$field,)* };
                for under in keys.merged.0 {
                    $(
                        if section.$field.is_missing() {
                            section.$field = under.$field;
                        }
                    )*
                }
                Ok(section)
            }
        }

        impl Section for $name {
            const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
        }

        impl Field for $name {
            fn is_missing(&self) -> bool {
                $(self.$field.is_missing())&&*
            }

            fn merge(&mut self, over: $name) {
                $(self.$field.merge(over.$field);)*
            }

            fn visit(&self, path: &mut Vec<String>, f: &mut dyn FnMut(&[String], Finding<'_>)) {
                $(
                    path.push(stringify!($field).to_owned());
                    self.$field.visit(path, f);
                    path.pop();
                )*
            }
        }
    };
}

section! {
    /// The whole file.
    File {
        clouds: Option<Clouds>,
        ehos: Option<Ehos>,
        daemon: Option<Daemon>,
        condor: Option<Condor>,
        simulation: Option<Scenario>,
        notify: Option<Notify>,
        metrics: Option<Metrics>,
        influxdb: Option<Influxdb>,
    }
}

section! {
    /// `ehos:`, the pool and what its servers are made of.
    Ehos {
        cluster: Given<String>,
        project_prefix: Given<String>,
        image: Given<String>,
        base_image: Given<String>,
        flavor: Given<Vec<String>>,
        flavors: Given<Vec<String>>,
        network: Given<Vec<String>>,
        networks: Given<Vec<String>>,
        key: Given<String>,
        security_groups: Given<Vec<String>>,
        availability_zone: Given<Vec<String>>,
        availability_zones: Given<Vec<String>>,
        server_group: Given<String>,
        server_group_policy: Given<String>,
        boot_volume_size: Given<u64>,
        boot_volume_type: Given<String>,
        config_drive: Given<bool>,
        tags: Given<Vec<String>>,
        gpus: Given<BTreeMap<String, u64>>,
        userdata_file: Given<PathBuf>,
        scratch_size: Given<u64>,
        ccb: Given<bool>,
        metadata: Given<BTreeMap<String, String>>,
        startd_attrs: Given<BTreeMap<String, String>>,
        prices: Given<BTreeMap<String, f64>>,
        nodes_min: Given<u64>,
        nodes_max: Given<u64>,
        nodes_spare: Given<Spare>,
        base_image_id: Obsolete,
        submission_nodes: Obsolete,
        sleep: Obsolete,
        sleep_min: Obsolete,
        sleep_max: Obsolete,
    }
}

section! {
    /// `daemon:`, how ehos decides.
    Daemon {
        nodes_min: Given<u64>,
        nodes_max: Given<u64>,
        nodes_spare: Given<Spare>,
        min_cores: Given<u64>,
        min_ram: Given<f64>,
        min_instances: Given<u64>,
        node_allocation: Given<String>,
        core_price: Given<f64>,
        node_cost: Given<f64>,
        hold_up: Given<f64>,
        max_actions: Given<u64>,
        max_unproven: Given<u64>,
        idle_timeout: Given<Duration>,
        boot_timeout: Given<Duration>,
        lost_timeout: Given<Duration>,
        lost_job_timeout: Given<Duration>,
        intent_grace: Given<Duration>,
        collector_grace: Given<Duration>,
        unknown_grace: Given<Duration>,
        delete_timeout: Given<Duration>,
        negotiation_cycle: Given<Duration>,
        update_interval: Given<Duration>,
        protect_after: Given<u64>,
        failure_memory: Given<Duration>,
        backoff_first: Given<Duration>,
        backoff_longest: Given<Duration>,
        refusal_memory: Given<Duration>,
        purge_floating_ips: Given<bool>,
        token_margin: Given<Duration>,
        max_lifetime: Given<Duration>,
        max_lifetime_kill: Given<Duration>,
        time_zone: Given<String>,
        budget: Option<Budget>,
        user_limits: Option<Named<SubmitterKeys>>,
        accounting_group_limits: Option<Named<SubmitterKeys>>,
        schedules: Option<Schedules>,
        vanish_share: Given<f64>,
        vanish_count: Given<u64>,
        tick_timeout: Given<Duration>,
        request_timeout: Given<Duration>,
        command_timeout: Given<Duration>,
        state_dir: Given<PathBuf>,
        history_days: Given<u64>,
        event_interval: Given<Duration>,
        execute_config: Given<PathBuf>,
        master_cloud: Obsolete,
        influxdb: Option<Influxdb>,
        hostname: Given<String>,
        node_log: Obsolete,
        sleep: Obsolete,
        sleep_min: Obsolete,
        sleep_max: Obsolete,
        submission_nodes: Obsolete,
        database: Obsolete,
        use_db_settings: Obsolete,
    }
}

section! {
    /// `metrics:`, who gets the figures of a tick.
    Metrics {
        prometheus_textfile: Given<PathBuf>,
        timeout: Given<Duration>,
    }
}

section! {
    /// `influxdb:` as a mapping.
    InfluxdbKeys {
        url: Given<WriteUrl>,
        db: Given<String>,
        username: Given<String>,
        password: Given<SecretString>,
        password_file: Given<PathBuf>,
        org: Given<String>,
        bucket: Given<String>,
        token: Given<SecretString>,
        token_file: Given<PathBuf>,
    }
}

section! {
    /// `budget:`, what may be spent.
    Budget {
        per_hour: Given<f64>,
        per_month: Given<f64>,
    }
}

section! {
    /// One entry of `user_limits:` or `accounting_group_limits:`.
    SubmitterKeys {
        nodes_max: Given<u64>,
        cores_max: Given<u64>,
        budget: Option<Budget>,
    }
}

section! {
    /// One entry of `schedules:`.
    Window {
        days: Given<Vec<String>>,
        hours: Given<String>,
        time_zone: Given<String>,
        nodes_min: Given<u64>,
        nodes_max: Given<u64>,
        nodes_spare: Given<Spare>,
        idle_timeout: Given<Duration>,
    }
}

section! {
    /// `notify:`, who is told of what is wrong.
    Notify {
        command: Given<Vec<String>>,
        webhook: Given<SecretString>,
        webhook_file: Given<PathBuf>,
        after_ticks: Given<u64>,
        repeat: Given<Duration>,
        timeout: Given<Duration>,
    }
}

section! {
    /// `condor:`, how HTCondor is asked, and how nodes join.
    Condor {
        host_ip: Given<String>,
        pool: Given<String>,
        schedds: Given<Vec<String>>,
        job_constraint: Given<String>,
        match_requirements: Given<bool>,
        universes: Given<Vec<String>>,
        bin: Given<PathBuf>,
        event_log: Given<PathBuf>,
        trust_domain: Given<String>,
        password: Given<SecretString>,
        password_file: Given<PathBuf>,
        token: Given<SecretString>,
        token_file: Given<PathBuf>,
        token_key: Given<String>,
        token_key_directory: Given<PathBuf>,
        token_identity: Given<String>,
        token_lifetime: Given<Duration>,
        scale_down: Given<String>,
    }
}

/// Who ehos is on a cloud: the same keys stand in a cloud of ours, under its `auth:`, and in a clouds.yaml.
macro_rules! with_auth_keys {
    ($($field:ident: $type:ty,)*) => {
        section! {
            /// `auth:` of a cloud.
                    Auth { $($field: $type,)* }
        }

        section! {
            /// One entry of `clouds:`.
                    Cloud {
                cloud: Given<String>,
                os_cloud: Given<String>,
                auth: Option<Auth>,
                $($field: $type,)*
                auth_type: Given<String>,
                region_name: Given<String>,
                interface: Given<String>,
                endpoint_overrides: Given<BTreeMap<String, String>>,
                interfaces: Given<BTreeMap<String, String>>,
                region_names: Given<BTreeMap<String, String>>,
                cacert: Given<PathBuf>,
                insecure: Given<bool>,
                verify: Given<bool>,
                image: Given<String>,
                base_image: Given<String>,
                flavor: Given<Vec<String>>,
                flavors: Given<Vec<String>>,
                network: Given<Vec<String>>,
                networks: Given<Vec<String>>,
                key: Given<String>,
                security_groups: Given<Vec<String>>,
                availability_zone: Given<Vec<String>>,
                availability_zones: Given<Vec<String>>,
                server_group: Given<String>,
                server_group_policy: Given<String>,
                boot_volume_size: Given<u64>,
                boot_volume_type: Given<String>,
                config_drive: Given<bool>,
                tags: Given<Vec<String>>,
                gpus: Given<BTreeMap<String, u64>>,
                userdata_file: Given<PathBuf>,
                scratch_size: Given<u64>,
                ccb: Given<bool>,
                metadata: Given<BTreeMap<String, String>>,
                startd_attrs: Given<BTreeMap<String, String>>,
                prices: Given<BTreeMap<String, f64>>,
                nodes_max: Given<u64>,
                weight: Given<u64>,
                retire: Given<bool>,
                budget: Option<Budget>,
                billing_period: Given<Duration>,
                max_lifetime: Given<Duration>,
                min_cores: Given<u64>,
                min_ram: Given<f64>,
                min_instances: Given<u64>,
                backend: Obsolete,
                no_cache: Obsolete,
                identity_api_version: Obsolete,
            }
        }

        impl Cloud {
            /// Puts what stands in its `auth:` beside it.
            pub(super) fn flatten_auth(&mut self) {
                if let Some(auth) = self.auth.take() {
                    $(self.$field.merge(auth.$field);)*
                }
            }

            /// Its `auth:`, and over it the same keys beside it.
            pub(super) fn take_auth(&mut self) -> Auth {
                let mut auth = self.auth.take().unwrap_or_default();
                auth.merge(Auth { $($field: self.$field.take(),)* });
                auth
            }
        }
    };
}

with_auth_keys! {
    auth_url: Given<String>,
    username: Given<String>,
    user_id: Given<String>,
    password: Given<SecretString>,
    password_file: Given<PathBuf>,
    project_name: Given<String>,
    project_id: Given<String>,
    user_domain_name: Given<String>,
    user_domain_id: Given<String>,
    project_domain_name: Given<String>,
    project_domain_id: Given<String>,
    application_credential_id: Given<String>,
    application_credential_name: Given<String>,
    application_credential_secret: Given<SecretString>,
    application_credential_secret_file: Given<PathBuf>,
    token: Given<SecretString>,
    token_file: Given<PathBuf>,
}

/// `influxdb:`, the address alone or a mapping.
#[derive(Debug, Default)]
pub(super) struct Influxdb(pub(super) InfluxdbKeys);

impl<'de> Deserialize<'de> for Influxdb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Influxdb, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Influxdb;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or a mapping of keys to values")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Influxdb, E> {
                let url = WriteUrl::read(text.into_deserializer())?;
                Ok(Influxdb(InfluxdbKeys {
                    url,
                    ..InfluxdbKeys::default()
                }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Influxdb, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                InfluxdbKeys::deserialize(map).map(Influxdb)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Field for Influxdb {
    fn is_missing(&self) -> bool {
        false
    }

    fn merge(&mut self, over: Influxdb) {
        self.0.merge(over.0);
    }

    fn visit(&self, path: &mut Vec<String>, f: &mut dyn FnMut(&[String], Finding<'_>)) {
        self.0.visit(path, f);
    }
}

/// A section that stands under a name of the site's own.
pub(super) trait Entry {
    /// The noun for it.
    const NOUN: &'static str;
}

impl Entry for Cloud {
    const NOUN: &'static str = "cloud";
}

impl Entry for SubmitterKeys {
    const NOUN: &'static str = "limit";
}

/// `clouds:`.
pub(super) type Clouds = Named<Cloud>;

/// A mapping of names to sections, in the order of the file.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) Vec<(String, Option<T>)>);

impl<T> Default for Named<T> {
    fn default() -> Named<T> {
        Named(Vec::new())
    }
}

impl<'de, T: Entry + Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named<T>, D::Error> {
        struct InOrder<T>(std::marker::PhantomData<T>);
        impl<'de, T: Entry + Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Named<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a mapping of names to {}s", T::NOUN)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries: Vec<(String, Option<T>)> = Vec::new();
                let mut merged: Vec<(String, Option<T>)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == MERGE_KEY {
                        let under: Merged<Named<T>> = map.next_value()?;
                        merged.extend(under.0.into_iter().flat_map(|entries| entries.0));
                        continue;
                    }
                    if entries.iter().any(|(there, _)| *there == name) {
                        return Err(A::Error::custom(format!(
                            "the {} `{name}` stands here twice",
                            T::NOUN
                        )));
                    }
                    entries.push((name, map.next_value()?));
                }
                for (name, entry) in merged {
                    if entries.iter().all(|(there, _)| *there != name) {
                        entries.push((name, entry));
                    }
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(InOrder(std::marker::PhantomData))
    }
}

impl<T: Entry + Field> Field for Named<T> {
    fn is_missing(&self) -> bool {
        false
    }

    fn merge(&mut self, over: Named<T>) {
        for (name, entry) in over.0 {
            match self.0.iter_mut().find(|(there, _)| *there == name) {
                Some((_, base)) => base.merge(entry),
                None => self.0.push((name, entry)),
            }
        }
    }

    fn visit(&self, path: &mut Vec<String>, f: &mut dyn FnMut(&[String], Finding<'_>)) {
        for (name, entry) in &self.0 {
            path.push(name.clone());
            if is_placeholder(name) {
                let noun = T::NOUN;
                let why = format!("is still a placeholder: give the {noun} a name");
                f(path, Finding::Wrong(&why));
            }
            entry.visit(path, f);
            path.pop();
        }
    }
}

/// Keys that have two spellings, and how a section with both is told.
macro_rules! one_spelling {
    ($section:expr, $wrong:expr, $path:expr, $($one:ident -> $kept:ident),*) => {$(
        if !$section.$one.is_absent() && !$section.$kept.is_absent() {
            $wrong(
                &[&$path[..], &[stringify!($one)]].concat(),
                concat!("`", stringify!($kept), "` is given too, and is the same: keep one of them"),
            );
        }
        let given = $section.$one.take();
        $section.$kept.merge(given);
    )*};
}

impl File {
    /// Keeps each value under one key where there are two for it, so that a later file's value replaces an
    /// earlier one's whichever key it stands at. `wrong` is told of keys that stand beside their other spelling.
    pub(super) fn unify(&mut self, wrong: &mut dyn FnMut(&[&str], &str)) {
        if let Some(ehos) = &mut self.ehos {
            one_spelling!(
                ehos, wrong, ["ehos"],
                flavor -> flavors, network -> networks, availability_zone -> availability_zones
            );
        }
        for (name, cloud) in self.clouds.iter_mut().flat_map(|clouds| &mut clouds.0) {
            if let Some(cloud) = cloud {
                one_spelling!(
                    cloud, wrong, ["clouds", name],
                    flavor -> flavors, network -> networks, os_cloud -> cloud,
                    availability_zone -> availability_zones
                );
            }
        }
    }
}

/// The file with this text, as far as its keys are known.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, Problem> {
    serde_yaml::from_str::<Option<File>>(text)
        .map(Option::unwrap_or_default)
        .map_err(|error| explain(path, text, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "# only a comment\n", "ehos:\ndaemon:\nclouds:\n  a:\n"] {
            assert!(parse(Path::new("e.yaml"), text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn later_files_are_merged_over_key_by_key() {
        let read = |text| parse(Path::new("e.yaml"), text).unwrap();
        let mut file = read("clouds:\n  b: {image: one, key: k}\n  a:\nehos: {flavor: f}\n");
        file.merge(read(
            "clouds:\n  a: {image: x}\n  c: {image: z}\n  b: {image: two, key: None}\ndaemon: {nodes_max: 1}\n",
        ));
        let clouds = file.clouds.unwrap().0;
        let images: Vec<_> = clouds
            .iter()
            .map(|(name, cloud)| {
                (
                    name.as_str(),
                    cloud.as_ref().unwrap().image.value().unwrap(),
                )
            })
            .collect();
        let expected = [("b", "two"), ("a", "x"), ("c", "z")];
        assert_eq!(
            images,
            expected.map(|(name, image)| (name, image.to_owned()))
        );
        assert_eq!(clouds[0].1.as_ref().unwrap().key.value().unwrap(), "k");
        assert_eq!(file.daemon.unwrap().nodes_max.value(), Some(1));
        assert_eq!(file.ehos.unwrap().flavor.value().unwrap(), ["f"]);
    }
}
