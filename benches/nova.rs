//! What Nova answers, read through the adapter from a server that has it ready. The row with no server is what the requests alone cost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use divan::Bencher;
use openstack::OpenStackCloud;
use openstack::{Auth, AuthMethod, CloudSettings, NameOrId};
use scaling::observation::{NodeId, execute_metadata};
use serde_json::{Value, json};
use system::deadline::Deadline;
use tick::cloud::{Cloud, LeftoverQuery};

const CLUSTER: &str = "pool-bench";
/// `osapi_max_limit` of Nova.
const PAGE: usize = 1000;
const LONG: Duration = Duration::from_secs(60);

fn settings(url: &str) -> CloudSettings {
    CloudSettings {
        name: "bench".to_owned(),
        auth: Auth {
            url: url.to_owned(),
            method: AuthMethod::ApplicationCredential {
                credential: NameOrId::Id("id".to_owned()),
                user: None,
                user_domain: None,
                secret: "secret".into(),
            },
        },
        image: "execute".to_owned(),
        flavors: vec!["m1.small".to_owned()],
        user_data_file: PathBuf::from("execute.yaml"),
        ..CloudSettings::default()
    }
}

/// A captured answer's body.
fn captured(text: &str) -> Value {
    let exchange: Value = serde_json::from_str(text).unwrap();
    exchange["response"]["body"].clone()
}

/// Pages of a thousand servers by their path and query, each server as it was captured but for its id and metadata.
fn pages(servers: usize) -> BTreeMap<String, String> {
    let one = &captured(include_str!(
        "../tests/fixtures/openstack/servers-page-1.json"
    ))["servers"][0];
    let server = |number: usize| {
        let mut server = one.clone();
        let node = NodeId(format!("20261122t{number:06}-01").into());
        server["id"] = json!(format!("e65812cd-231b-4971-b2f6-{number:012}"));
        server["name"] = json!(format!("ehos-v1-execute-{node}"));
        server["metadata"] = json!(execute_metadata(CLUSTER, &node, "m1.small", "execute"));
        server
    };
    let path = |page: usize| match page {
        0 => "/v2.1/servers/detail".to_owned(),
        page => format!("/v2.1/servers/detail?marker={page}"),
    };
    let count = servers.div_ceil(PAGE).max(1);
    let page = |page: usize| {
        let range = page * PAGE..servers.min((page + 1) * PAGE);
        let mut body = json!({ "servers": range.map(server).collect::<Vec<_>>() });
        if page + 1 < count {
            let next = format!("http://nova{}", path(page + 1));
            body["servers_links"] = json!([{ "rel": "next", "href": next }]);
        }
        (path(page), body.to_string())
    };
    (0..count).map(page).collect()
}

/// A cloud with this many servers on a free port, for as long as the process lives; its address.
fn serve(servers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let catalog = |body: Value| {
        // Captured from services with a port each; here one stands for all.
        let body = body.to_string().replace("http://127.0.0.1:8774", &url);
        body.replace("http://127.0.0.1:9696", &url)
    };
    let mut answers = pages(servers);
    for (path, captured_answer) in [
        (
            "/v3/auth/tokens",
            include_str!("../tests/fixtures/openstack/token-appcred.json"),
        ),
        (
            "/v2.1/limits",
            include_str!("../tests/fixtures/openstack/nova-limits.json"),
        ),
        (
            "/v2.1/flavors/detail",
            include_str!("../tests/fixtures/openstack/nova-flavors.json"),
        ),
    ] {
        answers.insert(path.to_owned(), catalog(captured(captured_answer)));
    }
    let token = captured(include_str!(
        "../tests/fixtures/openstack/token-appcred.json"
    ));
    let project = token["token"]["project"]["id"].as_str().unwrap();
    answers.insert(
        format!("/v2.0/floatingips?project_id={project}"),
        json!({ "floatingips": [] }).to_string(),
    );
    let ports = include_str!("../tests/fixtures/openstack/neutron-quota-details.json");
    answers.insert(
        format!("/v2.0/quotas/{project}/details"),
        catalog(captured(ports)),
    );
    thread::spawn(move || {
        thread::scope(|scope| {
            for stream in listener.incoming() {
                let answers = &answers;
                scope.spawn(move || {
                    let mut stream = stream.unwrap();
                    let target = target(&mut BufReader::new(&stream));
                    let body = &answers[&target];
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Subject-Token: t\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    stream.write_all(head.as_bytes()).unwrap();
                    stream.write_all(body.as_bytes()).unwrap();
                });
            }
        });
    });
    url
}

/// Reads a request and returns its path and query.
fn target(reader: &mut impl BufRead) -> String {
    let mut target = String::new();
    let mut length = 0;
    for line in reader.by_ref().lines() {
        let line = line.unwrap();
        if line.is_empty() {
            break;
        }
        if target.is_empty() {
            target = line.split(' ').nth(1).unwrap().to_owned();
        } else if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    target
}

#[divan::bench(args = [0, 100, 1000, 10_000], max_time = 3)]
fn servers(bencher: Bencher, servers: usize) {
    let settings = settings(&serve(servers));
    let user_data = Box::new(|_: &_, _: &_, _| Ok("".into()));
    let cloud = OpenStackCloud::new(&settings, CLUSTER, LONG, None, user_data).unwrap();
    let observe = || {
        cloud
            .observe(&LeftoverQuery::default(), Deadline::within(LONG))
            .unwrap()
    };
    assert_eq!(observe().servers.len(), servers);
    bencher.bench(observe);
}
