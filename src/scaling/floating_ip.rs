//! A floating IP that is associated with a node: some clouds give one to every server.

use super::leftover::FloatingIpRecord;
use super::observation::{OwnedServer, Role};

/// A floating IP that is associated with the server of a node. [`NodeFloatingIp::new`] is the only constructor, and ehos
/// disassociates no other floating IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFloatingIp {
    id: String,
    address: String,
    server: Box<OwnedServer>,
}

impl NodeFloatingIp {
    /// The floating IP, if its port is that of `server`, which must be an execute server: never a central manager, which
    /// needs its own, nor a builder.
    pub fn new(ip: &FloatingIpRecord, server: &OwnedServer) -> Option<NodeFloatingIp> {
        let leads_there = ip.port.is_some() && ip.server.as_deref() == Some(server.id());
        (leads_there && server.role() == Role::Execute).then(|| NodeFloatingIp {
            id: ip.id.clone(),
            address: ip.address.clone(),
            server: Box::new(server.clone()),
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The server that it leads to.
    pub fn server(&self) -> &OwnedServer {
        &self.server
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::observation::{
        NodeId, ServerRecord, ServerStatus, builder_metadata, execute_metadata, master_metadata,
    };

    fn server(metadata: BTreeMap<String, String>) -> OwnedServer {
        let record = ServerRecord {
            id: "s-1".to_owned(),
            name: "ehos-v1-1".to_owned(),
            status: ServerStatus::Active,
            nova_status: None,
            deleting: false,
            metadata,
            age: Duration::from_secs(60),
            fault: None,
            volumes: Vec::new(),
            zone: None,
            addresses: Vec::new(),
        };
        OwnedServer::recognise(record, "pool-1").unwrap()
    }

    #[test]
    fn only_what_leads_to_an_execute_server_is_a_nodes() {
        let id = NodeId("n-1".into());
        let node = server(execute_metadata("pool-1", &id, "medium", "image"));
        let ip = FloatingIpRecord {
            id: "f".to_owned(),
            address: "192.0.2.1".to_owned(),
            port: Some("p".to_owned()),
            server: Some("s-1".to_owned()),
            description: String::new(),
        };
        let found = NodeFloatingIp::new(&ip, &node).unwrap();
        assert_eq!((found.id(), found.address()), ("f", "192.0.2.1"));
        assert_eq!(found.server(), &node);
        let nowhere = FloatingIpRecord {
            port: None,
            ..ip.clone()
        };
        let unknown = FloatingIpRecord {
            server: None,
            ..ip.clone()
        };
        let another = FloatingIpRecord {
            server: Some("s-2".to_owned()),
            ..ip.clone()
        };
        for other in [nowhere, unknown, another] {
            assert!(NodeFloatingIp::new(&other, &node).is_none(), "{other:?}");
        }
        let lifetime = Duration::from_secs(3600);
        for metadata in [
            master_metadata("pool-1"),
            builder_metadata("pool-1", &id, lifetime),
        ] {
            assert!(NodeFloatingIp::new(&ip, &server(metadata)).is_none());
        }
    }
}
