//! Answers that a proxy in front of the cloud has compressed.

use serde_json::{Value, json};

use super::double::{Double, Reply, always, once};
use super::{login, quota_after, session, settings, soon};
use std::time::Duration;

use openstack::auth::Session;
use openstack::compute;
use system::deadline::Deadline;

/// The largest body that is read.
const LARGEST: usize = 16 * 1024 * 1024;

fn limits() -> String {
    match Reply::fixture("nova-limits") {
        Reply::Answer { body, .. } => body,
        _ => unreachable!(),
    }
}

/// Limits with white space to this length.
fn padded(length: usize) -> String {
    let limits = limits();
    let padding = " ".repeat(length - limits.len());
    limits + &padding
}

#[test]
fn an_answer_in_gzip_is_read() {
    let double = Double::start(vec![
        login(),
        always("GET", "/v2.1/limits", Reply::gzip(&limits(), |_| {})),
    ]);
    let settings = settings(double.url());
    let quota = compute::quota(&session(&settings), soon()).unwrap();
    let limits: Value = serde_json::from_str(&limits()).unwrap();
    let instances = &limits["limits"]["absolute"]["maxTotalInstances"];
    assert_eq!(json!(quota.instances.limit), *instances);
    let request = double.wait_for("GET", "/v2.1/limits");
    assert_eq!(request.header("Accept-Encoding"), Some("gzip"));
}

#[test]
fn gzip_that_is_cut_off_is_asked_for_again() {
    for length in [0, 5, 30] {
        let (double, result) = quota_after(Reply::gzip(&limits(), |bytes| bytes.truncate(length)));
        result.unwrap();
        assert_eq!(double.count("GET", "/v2.1/limits"), 2, "{length}");
    }
}

#[test]
fn damaged_gzip_is_named_and_is_no_answer() {
    let plain: fn(&mut Vec<u8>) = |bytes| *bytes = limits().into_bytes();
    let checksum = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 8;
        bytes[at] ^= 1;
    };
    let inside = |bytes: &mut Vec<u8>| bytes[12..40].fill(0xff);
    for spoil in [plain, checksum, inside] {
        let double = Double::start(vec![
            login(),
            always("GET", "/v2.1/limits", Reply::gzip(&limits(), spoil)),
        ]);
        let settings = settings(double.url());
        let error = compute::quota(&session(&settings), soon()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("GET /v2.1/limits: cannot read the answer: its gzip is damaged"),
            "{error}"
        );
        assert_eq!(double.count("GET", "/v2.1/limits"), 1);
    }
}

#[test]
fn gzip_is_bounded_by_what_it_unpacks_to() {
    let bomb = Reply::gzip(&padded(LARGEST + 1), |bytes| {
        assert!(bytes.len() < LARGEST / 8, "{}", bytes.len());
    });
    let double = Double::start(vec![login(), always("GET", "/v2.1/limits", bomb)]);
    let settings = settings(double.url());
    // Unoptimized, to unpack takes long.
    let long = Duration::from_secs(120);
    let session = Session::new(&settings, long, None).unwrap();
    let error = compute::quota(&session, Deadline::within(long)).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("it is larger than 16777216 bytes"),
        "{error}"
    );
    assert_eq!(double.count("GET", "/v2.1/limits"), 1);
}

#[test]
fn an_answer_without_a_body_may_say_that_it_is_in_gzip() {
    let gone = Reply::status(204, "").with("Content-Encoding", "gzip");
    let double = Double::start(vec![login(), once("DELETE", "/v2.1/servers/", gone)]);
    let settings = settings(double.url());
    compute::delete(&session(&settings), super::SERVER_ID, soon()).unwrap();
}
