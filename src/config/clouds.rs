//! The clouds: where their access comes from, and what their servers are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::clouds_yaml::{self, Found};
use super::context::Context;
use super::file::{Cloud, Daemon, Ehos, Field, File};
use super::given::Given;
use super::money;
use super::search;
use crate::cloudinit::Template;
use crate::openstack::{CloudSettings, ServiceSettings};
use crate::scaling::policy::CloudPolicy;
use system::environment::Environment;

/// The name of the cloud that the `OS_*` variables make.
const ENVVARS: &str = "envvars";
/// The policy of a server group where none is given: nodes are spread over hosts as far as there are enough.
const SERVER_GROUP_POLICY: &str = "soft-anti-affinity";
/// The policies of server groups that Nova has.
const SERVER_GROUP_POLICIES: [&str; 4] = [
    "soft-anti-affinity",
    "anti-affinity",
    "soft-affinity",
    "affinity",
];
/// Services of which something can be said alone.
const SERVICES: [&str; 4] = ["compute", "image", "network", "volume"];
/// Of an endpoint in the catalog.
const INTERFACES: [&str; 3] = ["public", "internal", "admin"];
/// Nova takes no more tags, and no longer ones.
const MOST_TAGS: usize = 50;
const LONGEST_TAG: usize = 60;

/// Every cloud of the configuration; without any, the one of `$OS_CLOUD` or of the `OS_*` variables.
pub(super) fn check(
    context: &mut Context<'_>,
    file: &mut File,
    ehos: &Ehos,
    daemon: &Daemon,
) -> (Vec<CloudSettings>, Vec<CloudPolicy>) {
    let mut clouds = file.clouds.take().unwrap_or_default().0;
    let mut of_variables = false;
    if clouds.is_empty() {
        if let Some((name, found)) = of_environment(context.env) {
            of_variables = found.cloud.cloud.is_absent();
            context.notes.extend(found.notes);
            context.problems.extend(found.problems);
            clouds.push((name, Some(found.cloud)));
        } else {
            context.problem(
                &["clouds"],
                "there is no cloud: describe one under `clouds:`, or source an openrc file (OS_AUTH_URL …)",
            );
        }
    }
    let mut settings = Vec::new();
    let mut policies = Vec::new();
    for (name, cloud) in clouds {
        let cloud = cloud.unwrap_or_default();
        let mut one = One::new(&name, cloud, ehos, daemon, of_variables);
        if let (Some(cloud), policy) = one.check(context) {
            settings.push(cloud);
            policies.push(policy);
        }
    }
    (settings, policies)
}

/// The cloud that counts when no file describes one: `$OS_CLOUD`, an entry of clouds.yaml, or the `OS_*` variables.
pub(super) fn of_environment(env: &Environment) -> Option<(String, Found)> {
    let Some(name) = env.variable("OS_CLOUD") else {
        return clouds_yaml::from_variables(env, None).map(|found| (ENVVARS.to_owned(), found));
    };
    let region = env.variable("OS_REGION_NAME");
    let cloud = Cloud {
        cloud: Given::Value(name.to_owned()),
        region_name: region.map_or(Given::Absent, |region| Given::Value(region.to_owned())),
        ..Cloud::default()
    };
    let found = Found {
        cloud,
        files: Vec::new(),
        notes: Vec::new(),
        problems: Vec::new(),
    };
    Some((name.to_owned(), found))
}

/// One cloud, and what it falls back to.
pub(super) struct One<'a> {
    pub(super) name: &'a str,
    pub(super) cloud: Cloud,
    ehos: &'a Ehos,
    daemon: &'a Daemon,
    /// The `OS_*` variables describe it.
    pub(super) of_variables: bool,
}

/// The first that is given.
fn first<'g, T>(candidates: &[&'g Given<T>]) -> Option<&'g Given<T>> {
    candidates
        .iter()
        .copied()
        .find(|candidate| !candidate.is_absent())
}

fn value<T: Clone>(candidates: &[&Given<T>]) -> Option<T> {
    first(candidates).and_then(Given::value)
}

impl<'a> One<'a> {
    pub(super) fn new(
        name: &'a str,
        cloud: Cloud,
        ehos: &'a Ehos,
        daemon: &'a Daemon,
        of_variables: bool,
    ) -> One<'a> {
        One {
            name,
            cloud,
            ehos,
            daemon,
            of_variables,
        }
    }

    /// How it is reached and who ehos is there, without what its servers are made of.
    pub(super) fn connection(&mut self, context: &mut Context<'_>) -> Option<CloudSettings> {
        context.quotable(&["clouds", self.name], self.name);
        let auth = self.add_entry(context).then(|| self.auth(context))??;
        Some(CloudSettings {
            name: self.name.to_owned(),
            auth,
            region: self.cloud.region_name.value(),
            interface: self.interface(context),
            services: self.services(context),
            cacert: self.cacert(context),
            insecure: self.insecure(),
            image: String::new(),
            base_image: None,
            flavors: Vec::new(),
            networks: Vec::new(),
            key: None,
            security_groups: Vec::new(),
            availability_zones: Vec::new(),
            server_group: None,
            server_group_policy: SERVER_GROUP_POLICY.to_owned(),
            boot_volume_size_gb: None,
            boot_volume_type: None,
            config_drive: false,
            tags: Vec::new(),
            gpus: BTreeMap::new(),
            user_data_file: PathBuf::new(),
            metadata: BTreeMap::new(),
            startd_attributes: BTreeMap::new(),
            scratch_size_gb: None,
            ccb: false,
        })
    }

    fn retires(&self) -> bool {
        self.cloud.retire.value() == Some(true)
    }

    fn insecure(&self) -> bool {
        self.cloud
            .insecure
            .value()
            .unwrap_or(self.cloud.verify.value() == Some(false))
    }

    fn check(&mut self, context: &mut Context<'_>) -> (Option<CloudSettings>, CloudPolicy) {
        let key = ["clouds", self.name];
        context.quotable(&key, self.name);
        let auth = if self.add_entry(context) {
            self.auth(context)
        } else {
            None
        };

        let cloud = &self.cloud;
        let (ehos, daemon) = (self.ehos, self.daemon);
        let base_image = [&cloud.base_image, &ehos.base_image];
        if cloud.image.is_absent()
            && ehos.image.is_absent()
            && first(&base_image).is_some()
            && !self.retires()
        {
            context.note(
                &["clouds", self.name],
                format!(
                    "nodes of cloud `{}` boot from the base image: it has no image of its own yet, see ehos image build",
                    self.name
                ),
            );
        }
        let image = self.required(
            context,
            "image",
            &[
                &cloud.image,
                &ehos.image,
                &cloud.base_image,
                &ehos.base_image,
            ],
        );
        let flavors = self.required(context, "flavor", &[&cloud.flavors, &ehos.flavors]);
        let networks = self.required(context, "network", &[&cloud.networks, &ehos.networks]);
        let region = cloud.region_name.value();
        for (field, text) in image
            .iter()
            .map(|image| ("image", image))
            .chain(flavors.iter().flatten().map(|flavor| ("flavor", flavor)))
            .chain(region.iter().map(|region| ("region_name", region)))
        {
            context.quotable(&["clouds", self.name, field], text);
        }
        let policy = CloudPolicy {
            name: self.name.to_owned(),
            flavors: unique(flavors.clone().unwrap_or_default()),
            image: image.clone().unwrap_or_default(),
            nodes_max: cloud.nodes_max.value(),
            weight: cloud.weight.value().unwrap_or(1),
            min_cores: value(&[&cloud.min_cores, &daemon.min_cores]).unwrap_or(0),
            min_ram_mb: mebibytes(value(&[&cloud.min_ram, &daemon.min_ram]).unwrap_or(0.0)),
            min_instances: value(&[&cloud.min_instances, &daemon.min_instances]).unwrap_or(0),
            prices: self.prices(context),
            budget: money::budget(cloud.budget.as_ref()),
            billing_period: cloud.billing_period.value(),
            max_lifetime: cloud.max_lifetime.value(),
            retire: self.retires(),
            ..CloudPolicy::new(self.name, Vec::new(), "")
        };
        let boot_volume_size = value(&[&cloud.boot_volume_size, &ehos.boot_volume_size]);
        let boot_volume_type = value(&[&cloud.boot_volume_type, &ehos.boot_volume_type]);
        if boot_volume_type.is_some() && boot_volume_size.is_none() {
            self.note(
                context,
                "boot_volume_type",
                "not used: nodes boot from the disk of their flavor; to boot them from a volume, set boot_volume_size",
            );
        }
        let insecure = self.insecure();
        if insecure {
            context.note(&key, "certificates of this cloud are not checked: whoever is on the way can take its place, and learns the password");
        }
        let settings = CloudSettings {
            name: self.name.to_owned(),
            region,
            interface: self.interface(context),
            services: self.services(context),
            cacert: self.cacert(context),
            insecure,
            image: policy.image.clone(),
            base_image: value(&base_image),
            flavors: policy.flavors.clone(),
            networks: unique(networks.unwrap_or_default()),
            key: value(&[&cloud.key, &ehos.key]),
            security_groups: unique(
                value(&[&cloud.security_groups, &ehos.security_groups]).unwrap_or_default(),
            ),
            availability_zones: unique(
                value(&[&cloud.availability_zones, &ehos.availability_zones]).unwrap_or_default(),
            ),
            server_group: value(&[&cloud.server_group, &ehos.server_group]),
            server_group_policy: self.server_group_policy(context),
            boot_volume_size_gb: boot_volume_size.filter(|size| *size > 0),
            boot_volume_type,
            config_drive: value(&[&cloud.config_drive, &ehos.config_drive]).unwrap_or(false),
            tags: self.tags(context),
            gpus: self.gpus(context),
            user_data_file: self.user_data_file(context),
            metadata: self.metadata(context),
            startd_attributes: self.startd_attributes(context),
            scratch_size_gb: value(&[&cloud.scratch_size, &ehos.scratch_size])
                .filter(|size| *size > 0),
            ccb: value(&[&cloud.ccb, &ehos.ccb]).unwrap_or(false),
            auth: match auth {
                Some(auth) => auth,
                None => return (None, policy),
            },
        };
        let policy = CloudPolicy {
            zones: settings.availability_zones.clone(),
            takes: settings.takes(),
            hard_server_group: settings.has_hard_server_group(),
            ..policy
        };
        (Some(settings), policy)
    }

    /// A note on a key that stands here or, for all clouds, under `ehos:`.
    fn note(&self, context: &mut Context<'_>, field: &str, what: &str) {
        let key = ["clouds", self.name, field];
        if context.has(&key) {
            context.note(&key, what);
        } else {
            context.note(&["ehos", field], what);
        }
    }

    /// A problem with a key that stands here or, for all clouds, under `ehos:`.
    fn problem(&self, context: &mut Context<'_>, field: &str, what: impl Into<String>) {
        let key = ["clouds", self.name, field];
        if context.has(&key) {
            context.problem(&key, what);
        } else {
            context.problem(&["ehos", field], what);
        }
    }

    fn server_group_policy(&self, context: &mut Context<'_>) -> String {
        let given = value(&[
            &self.cloud.server_group_policy,
            &self.ehos.server_group_policy,
        ]);
        let policy = given.unwrap_or_else(|| SERVER_GROUP_POLICY.to_owned());
        if !SERVER_GROUP_POLICIES.contains(&policy.as_str()) {
            let what = format!("`{policy}` is none of {}", SERVER_GROUP_POLICIES.join(", "));
            self.problem(context, "server_group_policy", what);
        }
        policy
    }

    /// Tags as Nova takes them.
    fn tags(&self, context: &mut Context<'_>) -> Vec<String> {
        let tags = unique(value(&[&self.cloud.tags, &self.ehos.tags]).unwrap_or_default());
        let wrong = |tag: &&String| {
            tag.is_empty() || tag.chars().count() > LONGEST_TAG || tag.contains(['/', ','])
        };
        if let Some(tag) = tags.iter().find(wrong) {
            let what = format!(
                "`{tag}` is no tag: Nova takes at most {LONGEST_TAG} characters, without `/` and `,`"
            );
            self.problem(context, "tags", what);
        }
        if tags.len() > MOST_TAGS {
            let what = format!("Nova takes at most {MOST_TAGS} tags");
            self.problem(context, "tags", what);
        }
        tags
    }

    /// GPUs by flavor: those of `ehos:`, and over them its own.
    fn gpus(&self, context: &mut Context<'_>) -> BTreeMap<String, u64> {
        let own = self.cloud.gpus.value().unwrap_or_default();
        let flavors = value(&[&self.cloud.flavors, &self.ehos.flavors]).unwrap_or_default();
        for name in own.keys().filter(|name| !flavors.contains(name)) {
            context.note(
                &["clouds", self.name, "gpus", name],
                format!(
                    "not a flavor of new nodes; these are: {}",
                    flavors.join(", ")
                ),
            );
        }
        let mut gpus = self.ehos.gpus.value().unwrap_or_default();
        gpus.retain(|name, _| flavors.contains(name));
        gpus.extend(own);
        gpus
    }

    /// Puts the entry of clouds.yaml, when the cloud names one, under what it says itself; false when there is none.
    fn add_entry(&mut self, context: &mut Context<'_>) -> bool {
        let Some(entry) = self.cloud.cloud.value() else {
            return true;
        };
        let region = self.cloud.region_name.value();
        match clouds_yaml::entry(&entry, region.as_deref(), context.env) {
            Ok(found) => {
                let own = std::mem::replace(&mut self.cloud, found.cloud);
                self.cloud.merge(own);
                context.notes.extend(found.notes);
                context.more_files.extend(found.files);
                let fine = found.problems.is_empty();
                context.problems.extend(found.problems);
                return fine;
            }
            Err(problem) if problem.file.is_some() => context.problems.push(problem),
            Err(problem) => context.problem(&["clouds", self.name, "cloud"], problem.what),
        }
        false
    }

    /// What must be given somewhere.
    fn required<T: Clone + Emptiness>(
        &self,
        context: &mut Context<'_>,
        field: &str,
        candidates: &[&Given<T>],
    ) -> Option<T> {
        match first(candidates) {
            Some(Given::Value(value)) if !value.is_empty() => Some(value.clone()),
            // Said already.
            Some(Given::Wrong(_)) => None,
            // No node is created any more.
            Some(_) | None if self.retires() => None,
            Some(_) | None => {
                context.problem(
                    &["clouds", self.name],
                    format!(
                        "no {field} for its nodes: write `{field}:` here or, for all clouds, under `ehos:`"
                    ),
                );
                None
            }
        }
    }

    /// What is said of one service alone.
    fn services(&self, context: &mut Context<'_>) -> ServiceSettings {
        let services = ServiceSettings {
            endpoint_overrides: self.cloud.endpoint_overrides.value().unwrap_or_default(),
            interfaces: self.cloud.interfaces.value().unwrap_or_default(),
            region_names: self.cloud.region_names.value().unwrap_or_default(),
        };
        for (field, values) in [
            ("endpoint_overrides", &services.endpoint_overrides),
            ("interfaces", &services.interfaces),
            ("region_names", &services.region_names),
        ] {
            for (service, value) in values {
                let key = ["clouds", self.name, field, service];
                if !SERVICES.contains(&service.as_str()) {
                    let what = format!("is none of {}", SERVICES.join(", "));
                    context.problem(&key, what);
                } else if field == "interfaces" && !INTERFACES.contains(&value.as_str()) {
                    let what = format!("`{value}` is none of {}", INTERFACES.join(", "));
                    context.problem(&key, what);
                } else if field == "endpoint_overrides"
                    && !(value.starts_with("https://") || value.starts_with("http://"))
                {
                    context.problem(&key, "must begin with https:// or http://");
                }
            }
        }
        services
    }

    fn interface(&self, context: &mut Context<'_>) -> String {
        let Some(given) = self.cloud.interface.get() else {
            return "public".to_owned();
        };
        let interface = given.trim_end_matches("URL");
        if !INTERFACES.contains(&interface) {
            context.problem(
                &["clouds", self.name, "interface"],
                format!("`{given}` is none of public, internal, admin"),
            );
        }
        interface.to_owned()
    }

    fn cacert(&self, context: &mut Context<'_>) -> Option<PathBuf> {
        let path = context.env.path(self.cloud.cacert.get()?);
        if !path.is_file() {
            context.problem(
                &["clouds", self.name, "cacert"],
                format!("there is no file {}", path.display()),
            );
        }
        Some(path)
    }

    /// The template of its nodes' user data, which must be one.
    fn user_data_file(&self, context: &mut Context<'_>) -> PathBuf {
        let own = ["clouds", self.name, "userdata_file"];
        let candidates = [
            (&self.cloud.userdata_file, &own[..]),
            (&self.ehos.userdata_file, &["ehos", "userdata_file"][..]),
            (
                &self.daemon.execute_config,
                &["daemon", "execute_config"][..],
            ),
        ];
        let given = candidates
            .into_iter()
            .find_map(|(given, key)| given.get().map(|path| (path.as_path(), key)));
        let (name, key) =
            given.unwrap_or((Path::new("execute.yaml"), &["ehos", "userdata_file"][..]));
        let beside = context.env.path(&context.folder(key).join(name));
        let searched = name
            .to_str()
            .and_then(|name| search::template(name, context.env));
        let path = match searched {
            _ if name.is_absolute() => name.to_owned(),
            _ if name.starts_with("~") => context.env.path(name),
            _ if given.is_some() && beside.exists() => beside,
            Some(path) => path,
            None => {
                let folders: Vec<String> = search::folders(context.env)
                    .iter()
                    .map(|folder| folder.display().to_string())
                    .collect();
                context.problem(
                    key,
                    format!(
                        "there is no user data template {} in {}",
                        name.display(),
                        folders.join(", ")
                    ),
                );
                return PathBuf::new();
            }
        };
        if let Err(error) = Template::load(&path) {
            context.problem(key, error.to_string());
        }
        path
    }

    /// What its flavors cost: those of `ehos:`, and over them its own.
    fn prices(&self, context: &mut Context<'_>) -> BTreeMap<String, f64> {
        let own = self.cloud.prices.value().unwrap_or_default();
        let flavors = value(&[&self.cloud.flavors, &self.ehos.flavors]).unwrap_or_default();
        for name in own.keys().filter(|name| !flavors.contains(name)) {
            context.note(
                &["clouds", self.name, "prices", name],
                format!(
                    "not a flavor of new nodes, this price counts only for nodes that still run; the flavors are: {}",
                    flavors.join(", ")
                ),
            );
        }
        let mut prices = self.ehos.prices.value().unwrap_or_default();
        // Nodes of flavors that were listed once may still run, and cost.
        if !prices.keys().any(|name| flavors.contains(name)) {
            prices.clear();
        }
        prices.extend(own);
        prices
    }

    fn metadata(&self, context: &mut Context<'_>) -> BTreeMap<String, String> {
        let mut metadata = self.ehos.metadata.value().unwrap_or_default();
        metadata.extend(self.cloud.metadata.value().unwrap_or_default());
        for (name, value) in &metadata {
            let what = if name.starts_with("ehos_") {
                "keys that begin with ehos_ are ehos's own"
            } else if name.len() > 255 || value.len() > 255 {
                "Nova takes at most 255 characters"
            } else {
                continue;
            };
            let key = ["clouds", self.name, "metadata", name];
            if context.has(&key) {
                context.problem(&key, what);
            } else {
                context.problem(&["ehos", "metadata", name], what);
            }
        }
        metadata
    }

    /// ClassAd expressions: that they are some is HTCondor's to say, that each is one line is ours.
    fn startd_attributes(&self, context: &mut Context<'_>) -> BTreeMap<String, String> {
        let mut attributes = self.ehos.startd_attrs.value().unwrap_or_default();
        attributes.extend(self.cloud.startd_attrs.value().unwrap_or_default());
        for (name, value) in &attributes {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let what =
                if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_word) {
                    "is no name of a ClassAd attribute: letters, digits and _"
                } else if value.trim().is_empty() || value.chars().any(char::is_control) {
                    "must be a ClassAd expression in one line; a text is '\"a text\"'"
                } else {
                    continue;
                };
            let key = ["clouds", self.name, "startd_attrs", name];
            if context.has(&key) {
                context.problem(&key, what);
            } else {
                context.problem(&["ehos", "startd_attrs", name], what);
            }
        }
        attributes
    }
}

trait Emptiness {
    fn is_empty(&self) -> bool;
}

impl Emptiness for String {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Emptiness for Vec<String> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// Without the second of two equal ones.
fn unique(list: Vec<String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for item in list {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}

/// GB of the original (it multiplies by 1024) in MiB.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates, and it is not negative.
fn mebibytes(gigabytes: f64) -> u64 {
    (gigabytes * 1024.0).ceil() as u64
}
