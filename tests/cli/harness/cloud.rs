//! What a cloud answers: recorded, or with the servers that a test puts there.

use jiff::Timestamp;
use scaling::signing::SigningKeys;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{PASSWORD, PROOF_KEY, TOKEN};
use crate::double::{Line, Received, Reply, always};

pub const SERVERS: &str = "/v2.1/servers/detail";
pub const CREATE: &str = "/v2.1/servers";
pub const LOGIN: &str = "/v3/auth/tokens";
/// The id in the recorded answer to a create.
pub const SERVER_ID: &str = "1fdb8980-b119-4068-9441-dc9d9e014e00";

/// An entry of `clouds:`.
pub fn access(name: &str, url: &str) -> String {
    format!(
        "  {name}:\n    auth_url: {url}\n    username: ehos\n    password: {PASSWORD}\n    project_name: ehos\n    \
         user_domain_name: Default\n    project_domain_name: Default\n"
    )
}

/// A cloud without a server, where everything goes well. `first` goes before: a line of it wins.
pub fn script(first: Vec<Line>) -> Vec<Line> {
    let keypair = r#"{"keypairs": [{"keypair": {"name": "ehos", "fingerprint": "x"}}]}"#;
    let well = [
        ("POST", LOGIN, login()),
        ("GET", SERVERS, Reply::fixture("servers-empty")),
        ("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        (
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
        (
            "GET",
            "/v2/images?name=",
            Reply::fixture("glance-images-by-name"),
        ),
        (
            "GET",
            "/v2.0/networks?name=",
            Reply::fixture("neutron-networks-by-name"),
        ),
        (
            "GET",
            "/v2.0/security-groups?name=",
            Reply::fixture("neutron-security-groups-by-name"),
        ),
        ("GET", "/v2.1/os-keypairs", Reply::status(200, keypair)),
        (
            "GET",
            "/v2.0/ports?device_id=",
            Reply::status(200, r#"{"ports": []}"#),
        ),
        (
            "GET",
            "/v2.0/floatingips?project_id=",
            Reply::fixture("neutron-floatingips-no-router"),
        ),
        (
            "GET",
            "/v2.0/quotas/",
            Reply::fixture("neutron-quota-details"),
        ),
        ("POST", CREATE, Reply::fixture("server-create")),
        ("DELETE", "/v2.1/servers/", Reply::fixture("server-delete")),
    ];
    let well = well
        .into_iter()
        .map(|(method, target, reply)| always(method, target, reply));
    first.into_iter().chain(well).collect()
}

/// Keystone's answer.
pub fn login() -> Reply {
    Reply::fixture("token-password").with("X-Subject-Token", TOKEN)
}

/// A server of the pool `pool-1`, with a signature of when it was created.
pub fn server(id: &str, node: &str, status: &str) -> Value {
    let created = "2026-11-22T10:31:13Z";
    let server = json!({
        "id": id, "name": format!("ehos-v1-execute-{node}"), "status": status, "created": created,
        "metadata": {"ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_node": node,
                     "ehos_flavor": "m1.small", "ehos_image": "GOLD CentOS 7"},
    });
    signed(server, created.parse().unwrap())
}

/// The same server with the signature that it would have got at this time.
pub fn signed(mut server: Value, at: Timestamp) -> Value {
    let keys = SigningKeys::new(vec![SecretString::from(PROOF_KEY.to_owned())]);
    let mut metadata = serde_json::from_value(server["metadata"].take()).unwrap();
    keys.sign(&mut metadata, server["name"].as_str().unwrap(), at);
    server["metadata"] = json!(metadata);
    server
}

/// The server that was asked for by this request.
pub fn asked_for(create: &Received) -> Value {
    let asked = &create.json()["server"];
    json!({
        "id": SERVER_ID, "name": asked["name"], "status": "BUILD", "created": Timestamp::now().to_string(),
        "metadata": asked["metadata"],
    })
}

/// What a look at this server alone shows.
pub fn shown(server: &Value) -> Line {
    let path = format!("/v2.1/servers/{}", server["id"].as_str().unwrap());
    let body = json!({ "server": server }).to_string();
    always("GET", &path, Reply::status(200, &body))
}

/// The list of these servers.
pub fn list(servers: &[Value]) -> Line {
    always(
        "GET",
        SERVERS,
        Reply::status(200, &json!({"servers": servers}).to_string()),
    )
}
