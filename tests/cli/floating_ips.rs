//! A floating IP that the cloud has given to a node by itself.

use serde_json::{Value, json};

use crate::double::{Double, Reply, always};
use crate::harness::Site;
use crate::harness::cloud;

const SERVER: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const PATH: &str = "/v2.0/floatingips/f-1";

/// A site with one node, to which a floating IP leads.
pub fn site() -> (Double, Site) {
    let server = cloud::server(SERVER, "n-1", "ACTIVE");
    let ip = json!({"id": "f-1", "floating_ip_address": "192.0.2.1", "port_id": "p-1", "floating_network_id": "n",
        "description": "", "port_details": {"device_id": SERVER, "device_owner": "compute:nova"}});
    let all = json!({ "floatingips": [&ip] }).to_string();
    let one = json!({ "floatingip": &ip }).to_string();
    let double = Double::start(cloud::script(vec![
        cloud::list(std::slice::from_ref(&server)),
        cloud::shown(&server),
        always("GET", "/v2.0/floatingips?", Reply::status(200, &all)),
        always("GET", PATH, Reply::status(200, &one)),
        always("PUT", PATH, Reply::status(200, &one)),
    ]));
    let site = Site::with_cloud(double.url());
    (double, site)
}

/// A report with one that is taken off.
pub fn report() -> Value {
    let (_double, site) = site();
    let site = site.over("daemon: {purge_floating_ips: true}\n");
    site.tick(&["-o", "json"]).exits(0).json()
}

#[test]
fn it_is_taken_off_when_that_is_configured() {
    let (double, site) = site();
    let said = site.tick(&[]);
    assert!(!said.exits(0).stdout.contains("192.0.2.1"), "{said}");
    assert_eq!(double.count("PUT", ""), 0);
    // As the original program's files may have it.
    let site = site.over("daemon: {purge_floating_ips: 1}\n");
    site.tick(&["-n"]).exits(0).says(&format!(
        "address  disassociate 192.0.2.1 (f-1)  lab  of server {SERVER}: \
         associated with a node; daemon.purge_floating_ips disassociates it"
    ));
    assert_eq!(double.count("PUT", ""), 0);
    let report = site.tick(&["-o", "json"]).exits(0).json();
    let ip = &report["floating_ips"][0];
    assert_eq!(ip["decision"], "disassociate");
    assert_eq!(ip["reason"], "floating_ip_of_node");
    assert_eq!(
        (&ip["node"], &ip["server"]),
        (&json!("n-1"), &json!(SERVER))
    );
    let action = &report["actions"][0];
    assert_eq!(action["action"], "disassociate");
    assert_eq!(
        (&action["node"], &action["result"]),
        (&json!("n-1"), &json!("done"))
    );
    assert_eq!(double.count("PUT", PATH), 1);
    assert_eq!(double.count("DELETE", ""), 0);
    site.tick(&[]).exits(0).says("disassociate 1 floating IP");
}
