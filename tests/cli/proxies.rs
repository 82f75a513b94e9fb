//! Proxies of the environment, by curl's rules.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::double::Double;
use crate::harness::Site;
use crate::harness::cloud;

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

fn site() -> (Double, Site) {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    (double, site)
}

fn with(variables: &[(&str, &str)]) -> (Double, Site) {
    let (double, site) = site();
    let set = |site: Site, (name, value): &(&str, &str)| site.set(name, value);
    (double, variables.iter().fold(site, set))
}

#[test]
fn a_request_goes_directly_where_no_proxy_is_for_it() {
    for variables in [
        // A cloud of http:// has nothing to do with the proxy of https://, nor with a variable that clients of a CGI can set.
        &[("https_proxy", NOWHERE), ("HTTP_PROXY", NOWHERE)][..],
        &[
            ("http_proxy", NOWHERE),
            ("no_proxy", "localhost, 127.0.0.1"),
        ],
        &[
            ("http_proxy", NOWHERE),
            ("NO_PROXY", "localhost,127.0.0.0/8"),
        ],
        &[("ALL_PROXY", NOWHERE), ("no_proxy", "*")],
        &[("http_proxy", "")],
    ] {
        let (_double, site) = with(variables);
        site.tick(&["--dry-run"])
            .exits(0)
            .says("plan     create 1 node (dry run)");
    }
}

#[test]
fn a_proxy_that_does_not_answer_is_named_without_its_password() {
    for (name, exceptions) in [("http_proxy", "example.org"), ("all_proxy", "128.0.0.0/8")] {
        let (double, site) = with(&[
            (name, "http://me:hush@127.0.0.1:9"),
            ("no_proxy", exceptions),
        ]);
        site.tick(&["--dry-run", "-vv"])
            .exits(75)
            .says("through the proxy http://127.0.0.1:9 of $")
            .says(&format!(
                "${name} (exceptions: $no_proxy): Connection refused"
            ))
            .never_says("hush");
        assert_eq!(double.received().len(), 0);
    }
}

#[test]
fn what_is_no_proxy_is_named_and_harms_the_clouds_behind_it_alone() {
    let (_double, site) = with(&[("http_proxy", "ftp://me:hush@127.0.0.1:9")]);
    site.tick(&["--dry-run"])
        .exits(75)
        .says("unknown  cloud lab: ")
        .says("$http_proxy is not the address of a proxy: write http://HOST:PORT, or unset it")
        .never_says("hush");
}

/// A proxy that connects whoever asks, or says no.
fn proxy(refuses: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || relay(client, refuses));
        }
    });
    (address, count)
}

fn relay(mut client: TcpStream, refuses: bool) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    if refuses {
        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n");
        return;
    }
    let mut server = TcpStream::connect(target).unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _ = std::io::copy(&mut server, &mut client);
}

#[test]
fn requests_go_through_the_proxy_that_is_for_them() {
    let (address, count) = proxy(false);
    let (double, site) = with(&[("http_proxy", &address), ("no_proxy", "10.0.0.0/8")]);
    site.tick(&[]).exits(0).says("plan     create 1");
    assert_eq!(double.count("POST", cloud::CREATE), 1);
    assert!(count.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_proxy_that_says_no_is_named() {
    let (address, _) = proxy(true);
    let (double, site) = with(&[("http_proxy", &address)]);
    site.tick(&[])
        .exits(75)
        .says(&format!(
            "through the proxy http://{address} of $http_proxy"
        ))
        .says("proxy server responded 403");
    assert_eq!(double.received().len(), 0);
}
