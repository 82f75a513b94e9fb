//! The floating IP of a central manager: found, taken, and released after a failure.
//!
//! Must not: touch one that is not marked as this pool's, or that leads to another server.

use super::spec::MasterSpec;
use crate::boot::soon;
use openstack::auth::Session;
use openstack::network::Port;
use openstack::{Error, network};
use scaling::leftover::master_floating_ip_mark;
use system::progress::Line;

/// The address of a floating IP that leads to the server.
pub(super) fn find(session: &Session, server_id: &str) -> Result<Option<String>, Error> {
    let ports = network::ports(session, server_id, soon())?;
    let all = network::floating_ips(session, soon())?;
    Ok(all
        .into_iter()
        .find(|ip| leads_to(&ports, ip.port_id.as_ref()))
        .map(|ip| ip.floating_ip_address))
}

fn leads_to(ports: &[Port], port: Option<&String>) -> bool {
    port.is_some_and(|port| ports.iter().any(|known| known.id == *port))
}

/// Takes a floating IP, or one that an earlier run has taken, and lets it lead to the server. Returns false while the
/// server has no port for it.
pub(super) fn lead(
    session: &Session,
    spec: &MasterSpec,
    server_id: &str,
    line: &Line,
) -> Result<bool, Error> {
    let Some(external) = &spec.external_network else {
        return Ok(true);
    };
    let ports = network::ports(session, server_id, soon())?;
    // Floating IPs lead to IPv4 addresses.
    let is_v4 = |port: &&Port| port.fixed_ips.iter().any(|ip| !ip.ip_address.contains(':'));
    let Some(port) = ports.iter().find(is_v4) else {
        line.doing("waits for its port in the network");
        return Ok(false);
    };
    let mark = master_floating_ip_mark(&spec.cluster);
    let mut all = network::floating_ips(session, soon())?.into_iter();
    let free = all.find(|ip| {
        ip.description.as_deref() == Some(&mark)
            && ip.port_id.is_none()
            && ip.floating_network_id == *external
    });
    match free {
        Some(ip) => {
            let address = &ip.floating_ip_address;
            line.doing(&format!("gives it the address {address}"));
            network::associate_floating_ip(session, &ip.id, &port.id, soon())?;
        }
        None => {
            line.doing("takes a floating IP");
            network::create_floating_ip(session, external, &port.id, &mark, soon())?;
        }
    }
    Ok(true)
}

/// Gives back what was taken for the server that had these `ports`.
pub(super) fn release(session: &Session, spec: &MasterSpec, ports: &[Port]) -> Result<(), Error> {
    let mark = master_floating_ip_mark(&spec.cluster);
    for ip in network::floating_ips(session, soon())? {
        // Somebody may have let it lead to another server since.
        let is_free = ip.port_id.is_none() || leads_to(ports, ip.port_id.as_ref());
        if is_free && ip.description.as_deref() == Some(&mark) {
            network::delete_floating_ip(session, &ip.id, soon())?;
        }
    }
    Ok(())
}
