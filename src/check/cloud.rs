//! One cloud: everything is asked at once, then judged.

use std::thread;

use jiff::Timestamp;

use super::{Area, Finding, access, boot, configuration, joined, placement, quota, reach, rights};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::deploy::local_keys::LocalKeys;
use crate::openstack::auth::{Session, Token};
use crate::openstack::{AuthMethod, CloudSettings};
use crate::openstack::{
    Error, Service, compute, identity, image, limits, network, server_group, volume, zone,
};
use crate::scaling::observation::{OwnedServer, PartsQuota, Role};

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
                .push(access::login(&settings.name, &settings.auth.url, &error));
            area.findings.push(Finding::skipped(
                "services",
                "nothing else can be asked without a login",
            ));
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
            findings.push(Finding::by_cloud("region", cloud, &error));
            findings.push(Finding::skipped(
                "services",
                "nothing else can be asked without a region",
            ));
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
    thread::scope(|scope| {
        let flavors = scope.spawn(|| compute::flavors(session, deadline));
        let image = scope.spawn(|| image::find(session, &settings.image, deadline));
        let limits = scope.spawn(|| compute::quota(session, deadline));
        let servers = scope.spawn(|| compute::servers(session, deadline));
        let keys = scope.spawn(|| compute::keypairs(session, deadline));
        let networks = scope.spawn(|| network::networks(session, deadline));
        let subnets = scope.spawn(|| network::subnets(session, deadline));
        let groups = scope.spawn(|| network::security_groups(session, deadline));
        let ports = scope.spawn(|| limits::ports(session, deadline));
        let parts = scope.spawn(|| limits::parts(session, deadline));
        let placed = scope.spawn(|| placement(session, deadline));
        let rights = scope.spawn(|| rights::rights(session, token, deadline));
        let version = scope.spawn(|| compute::newest_version(session, deadline));

        let image = joined(image);
        let flavors = joined(flavors);
        let or_failed = |check: &'static str, error: &Error| Finding::by_cloud(check, cloud, error);
        match &flavors {
            Ok(there) => {
                findings.extend(boot::flavors(
                    there,
                    &settings.flavors,
                    image.as_ref().ok(),
                    settings.boot_volume_size_gb.is_some(),
                ));
            }
            Err(error) => findings.push(or_failed("flavors", error)),
        }
        findings.push(match &image {
            Ok(image) => boot::image(
                image,
                &settings.image,
                settings.base_image.as_deref(),
                &config.policy.cluster,
                config.condor.host_ip.is_some(),
            ),
            Err(error) => or_failed("image", error),
        });
        findings.push(match joined(keys) {
            Ok(there) => boot::key(
                &there,
                settings.key.as_deref(),
                keys_here,
                config.condor.host_ip.is_some(),
            ),
            Err(error) => or_failed("key", &error),
        });
        findings.extend(joined(placed));
        findings.extend(joined(rights));
        // A Nova that does not tell its version is asked for what it has.
        let version = joined(version).ok().flatten();
        findings.extend(rights::versions(settings, version));
        if let Some(size_gb) = settings.boot_volume_size_gb {
            let volume_type = settings.boot_volume_type.as_deref();
            findings.push(match volume::volume_types(session, deadline) {
                Ok(types) => {
                    placement::boot_volume(size_gb, volume_type, &types, image.as_ref().ok())
                }
                Err(error) => or_failed("boot-volume", &error),
            });
        }
        let subnets = match (joined(networks), joined(subnets)) {
            (Ok(there), subnets) => {
                let (found, said) = reach::networks(&there, &settings.networks);
                findings.extend(said);
                match subnets {
                    Ok(subnets) => reach::prefixes(&subnets, &found),
                    Err(error) => {
                        findings.push(or_failed("networks", &error));
                        Vec::new()
                    }
                }
            }
            (Err(error), _) => {
                findings.push(or_failed("networks", &error));
                Vec::new()
            }
        };
        match joined(groups) {
            Ok(there) => findings.extend(reach::security_groups(
                &there,
                &settings.security_groups,
                &subnets,
                config.condor.host_ip.as_deref(),
            )),
            Err(error) => findings.push(or_failed("security-groups", &error)),
        }
        let parts = match joined(parts) {
            Ok(parts) => parts,
            Err(error) => {
                // A server group that is not there is told already.
                if !matches!(error, Error::NotFound { .. } | Error::Ambiguous { .. }) {
                    findings.push(or_failed("quota", &error));
                }
                PartsQuota::default()
            }
        };
        let asked = joined(limits).and_then(|limits| Ok((limits, joined(servers)?, flavors?)));
        if let Ok(None) = joined(ports) {
            findings.push(Finding::skipped(
                "quota",
                "the cloud does not tell its quota of ports: a create that is over it is refused",
            ));
        }
        match (asked, config.policy.cloud(cloud)) {
            (Ok((limits, servers, flavors)), Some(policy)) => {
                // Neither the central manager nor what becomes an image.
                let ours = servers.records.into_iter().filter(|record| {
                    OwnedServer::recognise(record.clone(), &config.policy.cluster)
                        .is_some_and(|server| server.role() == Role::Execute)
                });
                let nodes = u64::try_from(ours.count()).unwrap_or(u64::MAX);
                let flavors = boot::found(&flavors.read, &settings.flavors);
                let nodes_max = config.policy.nodes_max;
                findings.extend(quota::quota(
                    (&limits, &parts),
                    policy,
                    nodes_max,
                    &flavors,
                    nodes,
                ));
            }
            (Err(error), _) => findings.push(or_failed("quota", &error)),
            // Every cloud has a policy.
            (Ok(_), None) => {}
        }
    });
    findings.push(configuration::user_data(
        config, settings, &region, deadline,
    ));
    // Whoever they are of: the rest of each list was read.
    let unread = session.unread().into_iter();
    findings.extend(unread.map(|item| {
        Finding::warning(
            "answers",
            item.to_string(),
            "show this item to the operators of the cloud; ehos goes on without it",
        )
    }));
}

/// Where nodes are put.
fn placement(session: &Session, deadline: Deadline) -> Vec<Finding> {
    let settings = session.settings();
    let mut findings = Vec::new();
    if !settings.availability_zones.is_empty() {
        match zone::zones(session, deadline) {
            Ok(there) => findings.extend(placement::zones(&there, &settings.availability_zones)),
            Err(error) => findings.push(Finding::by_cloud("zones", &settings.name, &error)),
        }
    }
    if let Some(wanted) = &settings.server_group {
        findings.push(match server_group::find(session, wanted, deadline) {
            Ok(group) => placement::server_group(&group, &settings.server_group_policy),
            Err(error) => Finding::by_cloud("server-group", &settings.name, &error),
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
            "set a new password by `openstack user password set`, and put it into the configuration",
        ),
        AuthMethod::Token { .. } => access::end("the token", Some(token.good_until), now, ADVICE),
        AuthMethod::ApplicationCredential { .. } => {
            let shown = identity::application_credential(session, deadline);
            access::application_credential(&settings.name, &shown, now)
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
