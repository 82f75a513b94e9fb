//! What servers of the pool leave over in Neutron and Cinder: looked for, and removed after a last look.

use std::collections::BTreeSet;

use super::auth::Session;
use super::error::Error;
use super::floating_ips::{find_servers, record};
use super::{compute, network, volume};
use scaling::action::{Done, Failure, FailureKind};
use scaling::floating_ip::NodeFloatingIp;
use scaling::leftover::{
    FloatingIpRecord, Leftover, LeftoverKind, LeftoverQuery, Leftovers, PortRecord, Unmarked,
    VolumeRecord, is_masters,
};
use scaling::observation::OwnedServer;
use scaling::sorting::IntoSet;
use system::deadline::Deadline;

/// So many servers are asked about in one request: each takes 47 characters of its line, and 4096 is what some servers take.
const SERVERS_IN_A_REQUEST: usize = 50;

/// What Neutron and Cinder show, not yet judged.
pub struct LeftoverScan {
    ports: Vec<PortRecord>,
    volumes: Vec<VolumeRecord>,
    floating_ips: Vec<FloatingIpRecord>,
}

/// Asks for all that may have been left over, and which servers floating IPs lead to, if `of_nodes`. A cloud without one
/// of the services has nothing of it.
pub fn look(
    session: &Session,
    traces: &LeftoverQuery,
    of_nodes: bool,
    deadline: Deadline,
) -> Result<LeftoverScan, Error> {
    let scratch = session.settings().scratch_size_gb.is_some();
    let servers: Vec<&str> = traces.servers.iter().map(String::as_str).collect();
    let mut ports = Vec::new();
    for servers in servers.chunks(SERVERS_IN_A_REQUEST) {
        ports.extend(where_there(network::ports_of(session, servers, deadline))?);
    }
    let mut volumes = Vec::new();
    if scratch || !traces.volumes.is_empty() {
        for status in ["available", "error"] {
            volumes.extend(where_there(volume::volumes(session, status, deadline))?);
        }
    }
    let floating_ips = match network::floating_ips(session, deadline) {
        // No routers, or not for us: no floating IP of the pool, either.
        Err(error) if matches!(error.status(), Some(403 | 404)) => Vec::new(),
        answer => where_there(answer)?,
    };
    let mut floating_ips: Vec<FloatingIpRecord> = floating_ips.iter().map(record).collect();
    if of_nodes {
        find_servers(session, &mut floating_ips, deadline)?;
    }
    Ok(LeftoverScan {
        ports,
        volumes,
        floating_ips,
    })
}

/// The answer of a service; nothing, where the cloud does not have it.
fn where_there<T>(answer: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    match answer {
        Err(Error::NotInCatalog { .. }) => Ok(Vec::new()),
        answer => answer,
    }
}

impl LeftoverScan {
    /// What of it is ours, and what may be: `servers` are all of the project, whoever made them, `owned` those that are
    /// ours, and blank volumes of the pool have `scratch_size_gb`.
    pub fn judged(
        &self,
        traces: &LeftoverQuery,
        cluster: &str,
        servers: &BTreeSet<String>,
        owned: &[OwnedServer],
        scratch_size_gb: Option<u64>,
    ) -> Leftovers {
        let another_leads = self
            .floating_ips
            .iter()
            .any(|ip| ip.port.is_some() && is_masters(ip, cluster));
        let mut found = Leftovers::default();
        let ports = self.ports.iter();
        found
            .ours
            .extend(ports.filter_map(|port| Leftover::port(port, traces)));
        for volume in &self.volumes {
            if let Some(leftover) = Leftover::volume(volume, traces) {
                found.ours.push(leftover);
            } else if Some(volume.size_gb) == scratch_size_gb
                && volume.is_free()
                && !traces.volumes.contains_key(&volume.id)
                && volume.server().is_some_and(|id| !servers.contains(id))
            {
                found.unmarked.push(Unmarked {
                    kind: LeftoverKind::Volume,
                    id: volume.id.clone(),
                    name: volume.name.clone(),
                });
            }
        }
        for ip in &self.floating_ips {
            if let Some(leftover) = Leftover::floating_ip(ip, cluster, another_leads) {
                found.ours.push(leftover);
            } else if ip.port.is_none() && ip.description.is_empty() {
                found.unmarked.push(Unmarked {
                    kind: LeftoverKind::FloatingIp,
                    id: ip.id.clone(),
                    name: ip.address.clone(),
                });
            }
            let of_nodes = owned.iter();
            let of_nodes = of_nodes.filter_map(|server| NodeFloatingIp::new(ip, server));
            found.of_nodes.extend(of_nodes);
        }
        found
    }
}

/// Removes what is left over, if it is still what it was, and Nova knows nothing of its server.
pub fn remove(
    session: &Session,
    leftover: &Leftover,
    cluster: &str,
    deadline: Deadline,
) -> Result<Done, Failure> {
    let id = leftover.id();
    if let Some(server) = leftover.server()
        && compute::exists(session, server, deadline)?
    {
        let what = format!("its server {server} is there after all");
        return Err(in_use(session, leftover, &what));
    }
    let traces = LeftoverQuery {
        servers: leftover.server().map(str::to_owned).into_iter().into_set(),
        ..LeftoverQuery::default()
    };
    let still = match leftover.kind() {
        LeftoverKind::Port => network::port(session, id, deadline)?
            .map(|port| Leftover::port(&port, &traces).is_some()),
        LeftoverKind::Volume => volume::volume(session, id, deadline)?
            .map(|volume| Leftover::volume(&volume, &traces).is_some()),
        LeftoverKind::FloatingIp => network::floating_ip(session, id, deadline)?
            .map(|ip| Leftover::floating_ip(&record(&ip), cluster, true).is_some()),
    };
    match still {
        None => return Ok(Done::AlreadyGone),
        Some(false) => {
            return Err(in_use(
                session,
                leftover,
                "it is in use, or has another mark now",
            ));
        }
        Some(true) => {}
    }
    Ok(match leftover.kind() {
        LeftoverKind::Port => network::delete_port(session, id, deadline)?,
        LeftoverKind::Volume => volume::delete(session, id, deadline)?,
        LeftoverKind::FloatingIp => {
            network::delete_floating_ip(session, id, deadline)?;
            Done::Accepted
        }
    })
}

fn in_use(session: &Session, leftover: &Leftover, why: &str) -> Failure {
    Failure {
        kind: FailureKind::NotIdle,
        message: format!(
            "cloud {}: {} {} is left alone: {why}",
            session.settings().name,
            leftover.kind().name(),
            leftover.id()
        ),
    }
}
