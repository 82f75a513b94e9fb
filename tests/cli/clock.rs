//! The machine's clock jumps, by years and back: no timer runs out, nothing is made twice, nothing is deleted.

use std::path::Path;

use serde_json::json;

use crate::double::Double;
use crate::harness::Site;
use crate::harness::cloud::{self, CREATE, LOGIN};

/// A site with one server that boots, asked for by its first tick.
fn booting() -> (Double, Site) {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url())
        .over("daemon: {boot_timeout: 15m, intent_grace: 10m}\n")
        .waiting(1);
    site.tick(&[]).exits(0).says("plan     create 1");
    let mut server = cloud::asked_for(&double.wait_for("POST", CREATE));
    server["status"] = json!("ACTIVE");
    double.play(cloud::script(vec![cloud::list(&[server])]));
    (double, site)
}

fn nothing_happened(double: &Double) {
    assert_eq!(double.count("POST", CREATE), 1);
    assert_eq!(double.count("DELETE", ""), 0);
}

#[test]
fn a_state_of_another_time() {
    for other in ["1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z"] {
        let (double, site) = booting();
        site.tick(&[]).exits(0).says("1 booting");
        let path = site.state().join("state.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
        let watched = state["state"]["now"].as_u64().unwrap();
        // As after a jump of the clock: every time in it is of then.
        state["state"]["last_tick"] = json!(other);
        for node in state["state"]["nodes"]
            .as_object_mut()
            .unwrap()
            .values_mut()
        {
            node["since"] = json!(other);
        }
        std::fs::write(&path, state.to_string()).unwrap();
        for _ in 0..3 {
            site.tick(&[])
                .exits(0)
                .warns_nothing()
                .says("1 booting")
                .says("nothing to do");
        }
        let grown = site.saved()["now"].as_u64().unwrap() - watched;
        assert!(grown < 302_000, "{grown} ms of watched time with {other}");
        nothing_happened(&double);
    }
}

#[test]
fn real_ticks_on_a_clock_that_jumps() {
    let places = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib64/faketime/libfaketime.so.1",
    ];
    let Some(library) = places.iter().find(|place| Path::new(place).exists()) else {
        println!("skipped: libfaketime (Debian package faketime) is not installed");
        return;
    };
    let (double, site) = booting();
    let site = site.set("LD_PRELOAD", library);
    // A tick five years on moves the watched time by five minutes; any more would end the 15 minutes of the boot.
    for (clock, logins) in [("+5y", 2), ("-5y", 2), ("-50y", 2), ("+0d", 2)] {
        let site_then = site.finish(site.command(&[]).env("FAKETIME", clock));
        site_then
            .exits(0)
            .warns_nothing()
            .says("1 booting")
            .says("nothing to do");
        let year: i32 = site.saved()["last_tick"].as_str().unwrap()[..4]
            .parse()
            .unwrap();
        println!("{clock}: the tick was in {year}");
        assert!(double.count("POST", LOGIN) <= logins, "{clock}");
    }
    nothing_happened(&double);
    let seen = site.saved()["now"].as_u64().unwrap();
    assert!(seen < 2 * 302_000, "{seen} ms of watched time");
}
