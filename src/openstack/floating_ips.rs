//! Floating IPs of nodes: which server each leads to, and how one is taken off.

use super::auth::Session;
use super::error::Error;
use super::network::{self, FloatingIp};
use scaling::action::{Done, Failure, FailureKind};
use scaling::floating_ip::NodeFloatingIp;
use scaling::leftover::FloatingIpRecord;
use system::deadline::Deadline;

/// So many ports are asked about in one request: each takes 40 characters of its line, and 4096 is what some servers take.
const PORTS_IN_A_REQUEST: usize = 50;

/// What Neutron says of a floating IP.
pub fn record(ip: &FloatingIp) -> FloatingIpRecord {
    let device = ip.port_details.as_ref();
    let device = device.and_then(|port| port.device_id.clone());
    FloatingIpRecord {
        id: ip.id.clone(),
        address: ip.floating_ip_address.clone(),
        port: ip.port_id.clone(),
        server: device.filter(|id| !id.is_empty()),
        description: ip.description.clone().unwrap_or_default(),
    }
}

/// Asks for the servers of those that lead somewhere and do not say where: without the extension `fip-port-details`, ports
/// alone know.
pub fn find_servers(
    session: &Session,
    ips: &mut [FloatingIpRecord],
    deadline: Deadline,
) -> Result<(), Error> {
    let silent = ips.iter().filter(|ip| ip.server.is_none());
    let silent: Vec<String> = silent.filter_map(|ip| ip.port.clone()).collect();
    for ids in silent.chunks(PORTS_IN_A_REQUEST) {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for port in network::ports_with(session, &ids, deadline)? {
            let leads = |ip: &&mut FloatingIpRecord| ip.port.as_deref() == Some(&*port.id);
            for ip in ips.iter_mut().filter(leads) {
                ip.server = Some(port.device_id.clone());
            }
        }
    }
    Ok(())
}

/// Takes it off its node, if it still leads there.
pub fn disassociate(
    session: &Session,
    floating_ip: &NodeFloatingIp,
    deadline: Deadline,
) -> Result<Done, Failure> {
    let id = floating_ip.id();
    let Some(now) = network::floating_ip(session, id, deadline)? else {
        return Ok(Done::AlreadyGone);
    };
    if now.port_id.is_none() {
        return Ok(Done::AlreadyGone);
    }
    let mut now = [record(&now)];
    find_servers(session, &mut now, deadline)?;
    let server = floating_ip.server();
    if !now
        .iter()
        .any(|ip| NodeFloatingIp::new(ip, server).is_some())
    {
        return Err(Failure {
            kind: FailureKind::Changed,
            message: format!(
                "cloud {}: nothing was done: floating IP {} ({id}) does not lead to server {} any more",
                session.settings().name,
                floating_ip.address(),
                server.id()
            ),
        });
    }
    Ok(network::disassociate_floating_ip(session, id, deadline)?)
}
