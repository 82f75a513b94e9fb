//! One cloud: everything is asked at once, then judged.

use std::thread;

use jiff::Timestamp;

use super::fix::Fix;
use super::{Area, Finding, access, boot, configuration, placement, quota, reach, rights};
use config::Config;
use deploy::local_keys::LocalKeys;
use deploy::prerequisites::Part;
use openstack::auth::{Session, Token};
use openstack::compute::{Keypair, NamedFlavor, Servers};
use openstack::image::Image;
use openstack::items::Items;
use openstack::network::{Network, SecurityGroup, Subnet};
use openstack::{AuthMethod, CloudSettings};
use openstack::{
    Error, Service, compute, identity, image, limits, network, server_group, volume, zone,
};
use scaling::observation::{OwnedServer, Quota, Role, SecondaryQuota, Usage};
use system::deadline::Deadline;
use system::threads::{joined, spawn};

/// Looks at the cloud of `settings`.
pub fn check(
    config: &Config,
    settings: &CloudSettings,
    keys_here: &LocalKeys,
    deadline: Deadline,
) -> Area {
    let mut area = Area {
        name: format!("cloud {}", settings.name),
        findings: Vec::new(),
        answered: Some(true),
        cloud: Some(settings.name.clone()),
    };
    let login = Session::new(settings, config.timeouts.request, None)
        .map(Session::reporting)
        .and_then(|session| Ok((session.token(deadline)?, session)));
    match login {
        Ok((token, session)) => {
            area.findings
                .push(Finding::ok("login", settings.auth.url.clone()));
            let findings = &mut area.findings;
            all(config, &session, &token, keys_here, deadline, findings);
        }
        Err(error) => {
            area.answered = Some(!error.is_unanswered());
            area.findings
                .push(access::login(&settings.auth.url, &error));
            area.findings
                .push(Finding::skipped("services", "not checked without a login"));
            area.findings.push(configuration::user_data(
                config, settings, "REGION", deadline,
            ));
        }
    }
    area
}

fn all(
    config: &Config,
    session: &Session,
    token: &Token,
    keys_here: &LocalKeys,
    deadline: Deadline,
    findings: &mut Vec<Finding>,
) {
    let settings = session.settings();
    let cloud = settings.name.as_str();
    findings.push(credentials(session, token, deadline));
    findings.push(access::clock("Keystone", token.clock_ahead));
    let region = match region(token, settings) {
        Ok(region) => {
            findings.push(Finding::ok("region", region.clone()));
            region
        }
        Err(error) => {
            findings.push(Finding::by_error("region", error.advice()));
            findings.push(Finding::skipped("services", "not checked without a region"));
            return;
        }
    };
    if config.policy.retires(cloud) {
        findings.push(Finding::skipped(
            "nodes",
            "retire: true: no node is created in this cloud, so what new nodes need is not checked",
        ));
        return;
    }
    let judge = Judge {
        config,
        settings,
        answers: Answers::of(session, token, deadline),
    };
    judge.boot(keys_here, findings);
    findings.extend(judge.answers.placed.iter().cloned());
    judge.rights(findings);
    if let Some(size_gb) = settings.boot_volume_size_gb {
        findings.push(judge.boot_volume(session, size_gb, deadline));
    }
    judge.reach(findings);
    judge.quota(findings);
    findings.push(configuration::user_data(
        config, settings, &region, deadline,
    ));
    // Whoever they are of: the rest of each list was read.
    let unread = session.unread().into_iter();
    findings.extend(unread.map(|item| {
        Finding::warning(
            "answers",
            item.to_string(),
            "report this item to the operators of the cloud; ehos ignores it",
        )
    }));
}

type Answer<T> = Result<T, Error>;

/// What a cloud says, asked all at once.
struct Answers {
    flavors: Answer<Items<NamedFlavor>>,
    image: Answer<Image>,
    quota: Answer<Quota>,
    servers: Answer<Servers>,
    keys: Answer<Vec<Keypair>>,
    networks: Answer<Vec<Network>>,
    subnets: Answer<Vec<Subnet>>,
    groups: Answer<Vec<SecurityGroup>>,
    ports: Answer<Option<Usage>>,
    parts: Answer<SecondaryQuota>,
    placed: Vec<Finding>,
    rights: Vec<Finding>,
    version: Answer<Option<(u32, u32)>>,
}

impl Answers {
    fn of(session: &Session, token: &Token, deadline: Deadline) -> Answers {
        thread::scope(|scope| {
            let image = &session.settings().image;
            let flavors = spawn(scope, || compute::flavors(session, deadline));
            let image = spawn(scope, move || image::find(session, image, deadline));
            let quota = spawn(scope, || compute::quota(session, deadline));
            let servers = spawn(scope, || compute::servers(session, deadline));
            let keys = spawn(scope, || compute::keypairs(session, deadline));
            let networks = spawn(scope, || network::networks(session, deadline));
            let subnets = spawn(scope, || network::subnets(session, deadline));
            let groups = spawn(scope, || network::security_groups(session, deadline));
            let ports = spawn(scope, || limits::ports(session, deadline));
            let parts = spawn(scope, || limits::parts(session, deadline));
            let placed = spawn(scope, || placement(session, deadline));
            let rights = spawn(scope, || rights::rights(session, token, deadline));
            let version = spawn(scope, || compute::newest_version(session, deadline));
            Answers {
                flavors: joined(flavors),
                image: joined(image),
                quota: joined(quota),
                servers: joined(servers),
                keys: joined(keys),
                networks: joined(networks),
                subnets: joined(subnets),
                groups: joined(groups),
                ports: joined(ports),
                parts: joined(parts),
                placed: joined(placed),
                rights: joined(rights),
                version: joined(version),
            }
        })
    }
}

/// Judges the answers of one cloud.
struct Judge<'a> {
    config: &'a Config,
    settings: &'a CloudSettings,
    answers: Answers,
}

impl Judge<'_> {
    fn failed(&self, check: &'static str, error: &Error) -> Finding {
        Finding::by_error(check, error.advice())
    }

    /// What nodes boot from and with.
    fn boot(&self, keys_here: &LocalKeys, findings: &mut Vec<Finding>) {
        let settings = self.settings;
        let has_manager = self.config.condor.host_ip.is_some();
        let image = &self.answers.image;
        match &self.answers.flavors {
            Ok(there) => findings.extend(boot::flavors(
                there,
                &settings.flavors,
                image.as_ref().ok(),
                settings.boot_volume_size_gb.is_some(),
            )),
            Err(error) => findings.push(self.failed("flavors", error)),
        }
        findings.push(match image {
            Ok(image) => boot::image(
                image,
                &settings.image,
                settings.base_image.as_deref(),
                &self.config.policy.cluster,
                has_manager,
            ),
            Err(error) => self.failed("image", error),
        });
        findings.push(match &self.answers.keys {
            Ok(there) => boot::key(there, settings.key.as_deref(), keys_here, has_manager),
            Err(error) => self.failed("key", error),
        });
    }

    fn rights(&self, findings: &mut Vec<Finding>) {
        findings.extend(self.answers.rights.iter().cloned());
        // A Nova that does not tell its version is asked for what it has.
        let version = self.answers.version.as_ref().ok().copied().flatten();
        findings.extend(rights::versions(self.settings, version));
    }

    fn boot_volume(&self, session: &Session, size_gb: u64, deadline: Deadline) -> Finding {
        let volume_type = self.settings.boot_volume_type.as_deref();
        let image = self.answers.image.as_ref().ok();
        match volume::volume_types(session, deadline) {
            Ok(types) => placement::boot_volume(size_gb, volume_type, &types, image),
            Err(error) => self.failed("boot-volume", &error),
        }
    }

    /// Networks, and what their security groups let through.
    fn reach(&self, findings: &mut Vec<Finding>) {
        let mut prefixes = Vec::new();
        match &self.answers.networks {
            Ok(there) => {
                let (found, said) = reach::networks(there, &self.settings.networks);
                findings.extend(said);
                match &self.answers.subnets {
                    Ok(subnets) => prefixes = reach::prefixes(subnets, &found),
                    Err(error) => findings.push(self.failed("networks", error)),
                }
            }
            Err(error) => findings.push(self.failed("networks", error)),
        }
        match &self.answers.groups {
            Ok(there) => findings.extend(reach::security_groups(
                there,
                &self.settings.security_groups,
                &prefixes,
                self.config.condor.host_ip.as_deref(),
            )),
            Err(error) => findings.push(self.failed("security-groups", error)),
        }
    }

    fn quota(&self, findings: &mut Vec<Finding>) {
        let none = SecondaryQuota::default();
        let parts = match &self.answers.parts {
            Ok(parts) => parts,
            Err(error) => {
                // A server group that is not there is told already.
                if !matches!(error, Error::NotFound { .. } | Error::Ambiguous { .. }) {
                    findings.push(self.failed("quota", error));
                }
                &none
            }
        };
        if let Ok(None) = self.answers.ports {
            findings.push(Finding::skipped(
                "quota",
                "the quota of ports is unknown: Nova rejects creates that exceed it",
            ));
        }
        let (limits, servers, flavors) = match (
            &self.answers.quota,
            &self.answers.servers,
            &self.answers.flavors,
        ) {
            (Ok(limits), Ok(servers), Ok(flavors)) => (limits, servers, flavors),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                findings.push(self.failed("quota", error));
                return;
            }
        };
        // Every cloud has a policy.
        let policy = &self.config.policy;
        let Some(cloud) = policy.cloud(&self.settings.name) else {
            return;
        };
        // Neither the central manager nor what becomes an image.
        let ours = servers.records.iter().filter(|record| {
            OwnedServer::recognise((*record).clone(), &policy.cluster)
                .is_some_and(|server| server.role() == Role::Execute)
        });
        let nodes = u64::try_from(ours.count()).unwrap_or(u64::MAX);
        let flavors = boot::found(&flavors.read, &self.settings.flavors);
        let quotas = (limits, parts);
        findings.extend(quota::quota(
            quotas,
            cloud,
            policy.nodes_max,
            &flavors,
            nodes,
        ));
        findings.extend(quota::cores_max(policy.cores_max, cloud, &flavors));
    }
}

/// Where nodes are put.
fn placement(session: &Session, deadline: Deadline) -> Vec<Finding> {
    let settings = session.settings();
    let mut findings = Vec::new();
    if !settings.availability_zones.is_empty() {
        match zone::zones(session, deadline) {
            Ok(there) => findings.extend(placement::zones(&there, &settings.availability_zones)),
            Err(error) => findings.push(Finding::by_error("zones", error.advice())),
        }
    }
    if let Some(wanted) = &settings.server_group {
        findings.push(match server_group::find(session, wanted, deadline) {
            Ok(group) => placement::server_group(&group, &settings.server_group_policy),
            Err(error) => {
                let is_missing = matches!(error, Error::NotFound { .. });
                let fix = is_missing && !openstack::looks_like_id(wanted);
                Finding::by_error("server-group", error.advice())
                    .fixed_by(fix.then_some(Fix::Prerequisite(Part::ServerGroup)))
            }
        });
    }
    findings
}

/// In the place of a token.
const ADVICE: &str = "create an application credential (openstack application credential create ehos), and put it into the configuration";

/// When what ehos logs in with ends.
fn credentials(session: &Session, token: &Token, deadline: Deadline) -> Finding {
    let now = Timestamp::now();
    let settings = session.settings();
    match &settings.auth.method {
        AuthMethod::Password { .. } => access::end(
            "the user's password",
            token.password_expires_at,
            now,
            "set a new password by `openstack user password set`, and write it to the configuration",
        ),
        AuthMethod::Token { .. } => access::end("the token", Some(token.good_until), now, ADVICE),
        AuthMethod::ApplicationCredential { .. } => {
            let shown = identity::application_credential(session, deadline);
            access::application_credential(&shown, now)
        }
    }
}

/// The region, where all services have an endpoint.
fn region(token: &Token, settings: &CloudSettings) -> Result<String, Error> {
    for service in [Service::Compute, Service::Image, Service::Network] {
        token.catalog.url(service, settings)?;
    }
    token.catalog.region(settings)
}
