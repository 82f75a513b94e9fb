//! The clouds: where their access comes from, and what their servers are made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::clouds_yaml::{self, Found};
use super::diagnostics::{Diagnostics, one_of, unknown_value};
use super::document::{Item, Section};
use super::money;
use super::search;
use keys::{Setting, Value};
use openstack::{Auth, CloudSettings, INTERFACES, ServiceSettings};
use scaling::policy::CloudPolicy;
use scaling::sorting::IntoMap;
use system::advice::Advice;
use system::environment::Environment;
use userdata::cloudinit::Template;

/// The name of the cloud that the `OS_*` variables make.
const ENVVARS: &str = "envvars";
/// Services of which something can be said alone.
const SERVICES: [&str; 4] = ["compute", "image", "network", "volume"];
/// Nova takes no more tags, and no longer ones.
const MAX_TAGS: usize = 50;
const MAX_TAG: usize = 60;

/// Every cloud of the configuration; without any, the one of `$OS_CLOUD` or of the `OS_*` variables.
pub(super) fn check(
    context: &mut Diagnostics<'_>,
    file: &Section,
) -> (Vec<CloudSettings>, Vec<CloudPolicy>) {
    let clouds = file.section("clouds").sections();
    let mut clouds: Vec<(String, Section)> = clouds
        .map(|(name, cloud)| (name.to_owned(), cloud.clone()))
        .collect();
    let mut of_variables = false;
    if clouds.is_empty() {
        if let Some((name, found)) = of_environment(context.env) {
            of_variables = !found.cloud.has("cloud");
            context.notes.extend(found.notes);
            context.problems.extend(found.problems);
            clouds.push((name, found.cloud));
        } else {
            context.problem(
                &["clouds"],
                (
                    "no cloud is configured",
                    "describe one under `clouds:`, or source an openrc file (OS_AUTH_URL …)",
                ),
            );
        }
    }
    let mut settings = Vec::new();
    let mut policies = Vec::new();
    for (name, cloud) in clouds {
        let mut checker = CloudChecker {
            name: &name,
            cloud,
            ehos: file.section("ehos"),
            daemon: file.section("daemon"),
            of_variables,
        };
        let (cloud, policy) = checker.check(context);
        settings.push(cloud);
        policies.push(policy);
    }
    (settings, policies)
}

/// The cloud that counts when no file describes one: `$OS_CLOUD`, an entry of clouds.yaml, or the `OS_*` variables.
pub(super) fn of_environment(env: &Environment) -> Option<(String, Found)> {
    let Some(name) = env.variable("OS_CLOUD") else {
        return clouds_yaml::from_variables(env, None).map(|found| (ENVVARS.to_owned(), found));
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let mut cloud = Section::default();
    cloud.set("cloud", Some(text(name)));
    cloud.set("region_name", env.variable("OS_REGION_NAME").map(text));
    let found = Found {
        cloud,
        files: Vec::new(),
        notes: Vec::new(),
        problems: Vec::new(),
    };
    Some((name.to_owned(), found))
}

/// One cloud, and what counts for all of them.
pub(super) struct CloudChecker<'a> {
    pub(super) name: &'a str,
    pub(super) cloud: Section,
    pub(super) ehos: &'a Section,
    pub(super) daemon: &'a Section,
    /// The `OS_*` variables describe it.
    pub(super) of_variables: bool,
}

impl CloudChecker<'_> {
    /// How it is reached and who ehos is there, without what its servers are made of.
    pub(super) fn connection(&mut self, context: &mut Diagnostics<'_>) -> Option<CloudSettings> {
        let auth = self.login(context)?;
        let settings = self.settings(context);
        Some(CloudSettings { auth, ..settings })
    }

    /// Who ehos is there.
    fn login(&mut self, context: &mut Diagnostics<'_>) -> Option<Auth> {
        context.quotable(&["clouds", self.name], self.name);
        if self.add_entry(context) {
            self.auth(context)
        } else {
            None
        }
    }

    /// The settings as they are given.
    fn settings(&self, context: &mut Diagnostics<'_>) -> CloudSettings {
        let mut settings = CloudSettings {
            name: self.name.to_owned(),
            services: self.services(context),
            ..CloudSettings::default()
        };
        let path = ["clouds", self.name];
        context.fill(
            &mut settings,
            &[(&path, &self.cloud), (&["ehos"], self.ehos)],
        );
        if let Some(cacert) = settings.cacert.as_ref().filter(|path| !path.is_file()) {
            let what = format!("there is no file {}", cacert.display());
            context.problem(&["clouds", self.name, "cacert"], what);
        }
        let interface = settings.interface.trim_end_matches("URL").to_owned();
        settings.interface = interface;
        if !self.cloud.has("insecure") {
            settings.insecure = self.cloud.value("verify") == Some(false);
        }
        settings
    }

    fn is_retired(&self) -> bool {
        self.cloud.value("retire") == Some(true)
    }

    /// What stands here, else for all clouds under `ehos:`.
    fn item(&self, key: &str) -> Option<&Item> {
        self.cloud.get(key).or_else(|| self.ehos.get(key))
    }

    fn value<T: Setting>(&self, key: &str) -> Option<T> {
        match self.item(key)? {
            Item::Value(value) => T::of(value.clone()),
            _ => None,
        }
    }

    fn check(&mut self, context: &mut Diagnostics<'_>) -> (CloudSettings, CloudPolicy) {
        let auth = self.login(context).unwrap_or_else(Auth::nobody);
        let mut settings = CloudSettings {
            auth,
            ..self.settings(context)
        };
        if self.item("image").is_none() && self.item("base_image").is_some() && !self.is_retired() {
            context.note(
                &["clouds", self.name],
                (
                    "nodes boot from the base image: the cloud has no image of its own",
                    "run `ehos image build`",
                ),
            );
        }
        let image = match self.item("image") {
            Some(_) => "image",
            None => "base_image",
        };
        settings.image = self.required(context, image, "image").unwrap_or_default();
        let flavors = self.required(context, "flavors", "flavor");
        settings.flavors = unique(flavors.unwrap_or_default());
        let networks = self.required(context, "networks", "network");
        settings.networks = unique(networks.unwrap_or_default());
        self.quotable(context, &settings);
        for list in [
            &mut settings.security_groups,
            &mut settings.availability_zones,
        ] {
            *list = unique(std::mem::take(list));
        }
        settings.tags = self.tags(context, std::mem::take(&mut settings.tags));
        for size in [
            &mut settings.boot_volume_size_gb,
            &mut settings.scratch_size_gb,
        ] {
            *size = size.filter(|size| *size > 0);
        }
        if settings.boot_volume_type.is_some() && self.item("boot_volume_size").is_none() {
            self.note(
                context,
                "boot_volume_type",
                (
                    "not used: nodes boot from the disk of their flavor",
                    "set boot_volume_size to boot them from a volume",
                ),
            );
        }
        if settings.insecure {
            context.note(
                &["clouds", self.name],
                (
                    "certificates of this cloud are not checked: anyone on the network path can read the password",
                    "remove `insecure`, or set `cacert`",
                ),
            );
        }
        settings.gpus = self.by_flavor(context, "gpus", "");
        settings.user_data_file = self.user_data_file(context);
        settings.metadata = self.metadata(context);
        settings.startd_attributes = self.startd_attributes(context);
        let policy = self.policy(context, &settings);
        (settings, policy)
    }

    fn policy(&self, context: &mut Diagnostics<'_>, settings: &CloudSettings) -> CloudPolicy {
        let mut policy = CloudPolicy::new(self.name, settings.flavors.clone(), &settings.image);
        let path = ["clouds", self.name];
        let from: [(&[&str], &Section); 3] = [
            (&path, &self.cloud),
            (&["ehos"], self.ehos),
            (&["daemon"], self.daemon),
        ];
        context.fill(&mut policy, &from);
        let min_ram = self
            .cloud
            .get("min_ram")
            .or_else(|| self.daemon.get("min_ram"));
        if let Some(Item::Value(Value::Number(gigabytes))) = min_ram {
            policy.min_ram_mb = mebibytes(*gigabytes);
        }
        policy.prices = self.by_flavor(
            context,
            "prices",
            ", this price counts only for nodes that still run; the flavors are",
        );
        policy.budget = money::budget(context, &path, &self.cloud);
        policy.zones.clone_from(&settings.availability_zones);
        policy.takes = settings.takes();
        policy.hard_server_group = settings.has_hard_server_group();
        policy
    }

    /// What is written into the configuration of HTCondor.
    fn quotable(&self, context: &mut Diagnostics<'_>, settings: &CloudSettings) {
        let image = ("image", &settings.image);
        let flavors = settings.flavors.iter().map(|flavor| ("flavor", flavor));
        let region = settings.region.iter().map(|region| ("region_name", region));
        for (field, text) in std::iter::once(image).chain(flavors).chain(region) {
            context.quotable(&["clouds", self.name, field], text);
        }
    }

    /// The section in which a key stands: this cloud's, or that for all clouds.
    fn place<'k>(&'k self, context: &Diagnostics<'_>, key: &[&'k str]) -> Vec<&'k str> {
        let own: Vec<&str> = ["clouds", self.name].iter().chain(key).copied().collect();
        match context.has(&own) {
            true => own,
            false => std::iter::once("ehos").chain(key.iter().copied()).collect(),
        }
    }

    fn note(&self, context: &mut Diagnostics<'_>, field: &str, what: impl Into<Advice>) {
        let place = self.place(context, &[field]);
        context.note(&place, what);
    }

    fn problem(&self, context: &mut Diagnostics<'_>, key: &[&str], what: impl Into<Advice>) {
        let place = self.place(context, key);
        context.problem(&place, what);
    }

    /// Tags as Nova takes them.
    fn tags(&self, context: &mut Diagnostics<'_>, tags: Vec<String>) -> Vec<String> {
        let tags = unique(tags);
        let wrong = |tag: &&String| {
            tag.is_empty() || tag.chars().count() > MAX_TAG || tag.contains(['/', ','])
        };
        if let Some(tag) = tags.iter().find(wrong) {
            let what = format!(
                "`{tag}` is not a tag: Nova takes at most {MAX_TAG} characters, without `/` and `,`"
            );
            self.problem(context, &["tags"], what);
        }
        if tags.len() > MAX_TAGS {
            self.problem(
                context,
                &["tags"],
                format!("Nova takes at most {MAX_TAGS} tags"),
            );
        }
        tags
    }

    /// Amounts by flavor: those of `ehos:` that are of use here, and over them its own.
    fn by_flavor<T: Clone>(
        &self,
        context: &mut Diagnostics<'_>,
        key: &str,
        meaning: &str,
    ) -> BTreeMap<String, T>
    where
        BTreeMap<String, T>: Setting,
    {
        let own: BTreeMap<String, T> = self.cloud.value(key).unwrap_or_default();
        let flavors: Vec<String> = self.value("flavors").unwrap_or_default();
        let meaning = if meaning.is_empty() {
            "; these are"
        } else {
            meaning
        };
        for name in own.keys().filter(|name| !flavors.contains(name)) {
            context.note(
                &["clouds", self.name, key, name],
                format!("not a flavor of new nodes{meaning}: {}", flavors.join(", ")),
            );
        }
        let mut all: BTreeMap<String, T> = self.ehos.value(key).unwrap_or_default();
        match key {
            // Nodes of flavors that were listed once may still run, and cost.
            "prices" if all.keys().any(|name| flavors.contains(name)) => {}
            _ => all.retain(|name, _| flavors.contains(name)),
        }
        all.extend(own);
        all
    }

    /// Puts the entry of clouds.yaml, when the cloud names one, under what it says itself; false when there is none.
    fn add_entry(&mut self, context: &mut Diagnostics<'_>) -> bool {
        let Some(entry) = self.cloud.text("cloud") else {
            return true;
        };
        match clouds_yaml::entry(entry, self.cloud.text("region_name"), context.env) {
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
    fn required<T: Setting + Default + PartialEq>(
        &self,
        context: &mut Diagnostics<'_>,
        key: &str,
        called: &str,
    ) -> Option<T> {
        let value = match self.item(key) {
            // Said already.
            Some(Item::Wrong) => return None,
            _ => self.value(key).filter(|value| *value != T::default()),
        };
        // Where the cloud retires, no node is created any more.
        if value.is_none() && !self.is_retired() {
            context.problem(
                &["clouds", self.name],
                (
                    format!("no {called} for its nodes"),
                    format!("write `{called}:` here or, for all clouds, under `ehos:`"),
                ),
            );
        }
        value
    }

    /// What is said of one service alone.
    fn services(&self, context: &mut Diagnostics<'_>) -> ServiceSettings {
        let services = ServiceSettings {
            endpoint_overrides: self.cloud.value("endpoint_overrides").unwrap_or_default(),
            interfaces: self.cloud.value("interfaces").unwrap_or_default(),
            region_names: self.cloud.value("region_names").unwrap_or_default(),
        };
        for (field, values) in [
            ("endpoint_overrides", &services.endpoint_overrides),
            ("interfaces", &services.interfaces),
            ("region_names", &services.region_names),
        ] {
            for (service, value) in values {
                let key = ["clouds", self.name, field, service];
                if !SERVICES.contains(&service.as_str()) {
                    context.problem(&key, ("unknown service", one_of(&SERVICES)));
                } else if field == "interfaces" && !INTERFACES.contains(&value.as_str()) {
                    context.problem(&key, unknown_value(value, &INTERFACES));
                } else if field == "endpoint_overrides"
                    && !(value.starts_with("https://") || value.starts_with("http://"))
                {
                    context.problem(&key, "must begin with https:// or http://");
                }
            }
        }
        services
    }

    /// The template of its nodes' user data, which must be one.
    fn user_data_file(&self, context: &mut Diagnostics<'_>) -> PathBuf {
        let own = ["clouds", self.name, "userdata_file"];
        let for_all = ["ehos", "userdata_file"];
        let candidates: [(&Section, &[&str]); 3] = [
            (&self.cloud, &own),
            (self.ehos, &for_all),
            (self.daemon, &["daemon", "execute_config"]),
        ];
        let given = candidates.into_iter().find_map(|(section, key)| {
            let path: PathBuf = section.value(key.last().copied().unwrap_or_default())?;
            Some((path, key))
        });
        let is_given = given.is_some();
        let (name, key) = given.unwrap_or((PathBuf::from("execute.yaml"), &for_all));
        let beside = context.env.path(&context.folder(key).join(&name));
        let searched = name
            .to_str()
            .and_then(|name| search::template(name, context.env));
        let path = match searched {
            _ if name.is_absolute() => name,
            _ if name.starts_with("~") => context.env.path(&name),
            _ if is_given && beside.exists() => beside,
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
            context.problem(key, error);
        }
        path
    }

    /// Texts by name: those of `ehos:`, and over them its own.
    fn merged(&self, key: &str) -> BTreeMap<String, String> {
        let sections = [self.ehos, &self.cloud];
        let maps = sections
            .iter()
            .filter_map(|section| section.value::<BTreeMap<_, _>>(key));
        maps.flatten().into_map()
    }

    fn metadata(&self, context: &mut Diagnostics<'_>) -> BTreeMap<String, String> {
        let metadata = self.merged("metadata");
        for (name, value) in &metadata {
            let what = if name.starts_with("ehos_") {
                "keys that begin with ehos_ are reserved"
            } else if name.len() > 255 || value.len() > 255 {
                "Nova takes at most 255 characters"
            } else {
                continue;
            };
            self.problem(context, &["metadata", name], what);
        }
        metadata
    }

    /// ClassAd expressions: that they are some is HTCondor's to say, that each is one line is ours.
    fn startd_attributes(&self, context: &mut Diagnostics<'_>) -> BTreeMap<String, String> {
        let attributes = self.merged("startd_attrs");
        for (name, value) in &attributes {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let what =
                if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_word) {
                    "is not a name of a ClassAd attribute: letters, digits and _"
                } else if value.trim().is_empty() || value.chars().any(char::is_control) {
                    "must be a ClassAd expression in one line; a text is '\"a text\"'"
                } else {
                    continue;
                };
            self.problem(context, &["startd_attrs", name], what);
        }
        attributes
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
