//! A builder of an image that its build has forgotten.

use serde_json::json;

use crate::double::{Double, Reply, always};
use crate::harness::Site;
use crate::harness::cloud::{self, SERVERS};

const ID: &str = "bbbbbbbb-0000-4000-8000-000000000001";

/// It, when Nova's clock says this.
fn builder(time: &str) -> serde_json::Value {
    let time: jiff::civil::Time = time.parse().unwrap();
    let age = jiff::civil::time(10, 31, 13, 0).duration_until(time);
    let created = jiff::Timestamp::now() - age;
    let builder = json!({
        "id": ID, "name": "ehos-v1-builder-b1", "status": "ACTIVE", "created": "2026-11-22T10:31:13Z",
        "metadata": {"ehos_cluster": "pool-1", "ehos_role": "builder", "ehos_node": "b1", "ehos_lifetime": "7200"},
    });
    cloud::signed(builder, created)
}

/// One builder, made at 10:31:13 with two hours to live, as Nova lists it at this time of its clock.
pub fn listed_at(time: &str) -> crate::double::Line {
    let list = json!({ "servers": [builder(time)] }).to_string();
    let date = format!("Sun, 22 Nov 2026 {time} GMT");
    always(
        "GET",
        SERVERS,
        Reply::status(200, &list).with("Date", &date),
    )
}

#[test]
fn two_ticks_that_find_it_too_old_delete_it_with_its_console_kept() {
    let console = || {
        always(
            "POST",
            &format!("/v2.1/servers/{ID}/action"),
            Reply::fixture("console-done"),
        )
    };
    let double = Double::start(cloud::script(vec![listed_at("12:31:13"), console()]));
    let site = Site::with_cloud(double.url());
    site.tick(&[])
        .exits(0)
        .says("builder  keep     ehos-v1-builder-b1  lab  created 2 h ago, lifetime 2 h");
    double.play(cloud::script(vec![listed_at("12:32:13"), console()]));
    site.tick(&[])
        .exits(0)
        .says("lifetime 2 h exceeded; deleted when the next tick confirms this");
    site.a_minute_later();
    assert_eq!(double.count("DELETE", ""), 0);
    double.play(cloud::script(vec![
        listed_at("12:33:13"),
        console(),
        cloud::shown(&builder("12:33:13")),
    ]));
    let report = site.tick(&["-n", "-o", "json"]).exits(0).json();
    let builder = &report["builders"][0];
    assert_eq!(builder["decision"], "delete");
    assert_eq!(builder["reason"], "builder_expired");
    assert_eq!(builder["age_seconds"], 2 * 3600 + 120);
    assert_eq!(builder["lifetime_seconds"], 7200);
    assert_eq!(report["actions"][0]["node"], "b1");
    site.tick(&[]).exits(0).says("delete 1 builder").warns(
        "server ehos-v1-builder-b1 (bbbbbbbb-0000-4000-8000-000000000001) before it is deleted",
    );
    assert_eq!(double.count("DELETE", &format!("/v2.1/servers/{ID}")), 1);
    site.tick(&[]).exits(0).says("deleting for");
    assert_eq!(double.count("DELETE", ""), 1);
}
