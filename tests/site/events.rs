//! On machines: a tick follows a submit, and the end of a job, within seconds of the event and not with the timer's minute.

use std::time::Duration;

use crate::machines::{Site, step, wait};

/// When the last tick of the unit began, in seconds since the master booted; 0 before the first.
fn last_tick(site: &Site) -> f64 {
    let show = ["systemctl", "show", "ehos.service", "--value"];
    let answer = site.run(
        &[&show[..], &["-p", "ExecMainStartTimestampMonotonic"]].concat(),
        b"",
    );
    answer.ok().trim().parse::<f64>().unwrap() / 1e6
}

fn uptime(site: &Site) -> f64 {
    let text = site.run(&["cat", "/proc/uptime"], b"").ok();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn active(site: &Site, unit: &str) -> bool {
    site.run(&["systemctl", "is-active", "--quiet", unit], b"")
        .code
        == 0
}

/// Waits until the last tick is `seconds` old, and the next of the timer is still some seconds ahead.
fn between_ticks(site: &Site, seconds: f64) {
    wait("a pause between two ticks", 90, || {
        let age = uptime(site) - last_tick(site);
        (seconds..seconds + 15.0).contains(&age)
    });
}

/// A tick begins within `seconds` from now.
#[track_caller]
fn follows(site: &Site, what: &str, seconds: f64) {
    let event = uptime(site);
    wait(&format!("a tick after {what}"), 30, || {
        last_tick(site) > event
    });
    let after = last_tick(site) - event;
    step(&format!("a tick {after:.1} s after {what}"));
    assert!(after <= seconds, "{after} s after {what}\n{}", site.story());
}

#[test]
fn a_tick_follows_what_happens_to_jobs() {
    let Some(site) = Site::up("events", "nodes_max: 1") else {
        return;
    };
    assert!(!active(&site, "ehos.path"), "the timer starts it");
    site.run(&["systemctl", "start", "ehos.timer"], b"").ok();
    assert!(active(&site, "ehos.path"));
    wait("the timer's first tick", 100, || last_tick(&site) > 0.0);

    // No idle job was seen, and none that ended: only the timer's ticks.
    between_ticks(&site, 12.0);
    site.submit(1, 3600, "requirements = false");
    follows(&site, "a submit", 10.0);

    step("jobs of a burst, a second apart, make ticks no closer than event_interval");
    let mut ticks = vec![last_tick(&site)];
    for _ in 0..25 {
        site.submit(1, 3600, "requirements = false");
        std::thread::sleep(Duration::from_secs(1));
        let last = last_tick(&site);
        if ticks.last() != Some(&last) {
            ticks.push(last);
        }
    }
    let apart: Vec<f64> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.len() >= 2, "{ticks:?}");
    // The timer's own may fall between two.
    let close = apart.iter().filter(|apart| **apart < 9.0).count();
    assert!(close <= 1, "{apart:?}");

    for unit in ["ehos.path", "ehos-soon.service", "ehos.timer"] {
        let failed = site.run(&["systemctl", "is-failed", "--quiet", unit], b"");
        assert_ne!(failed.code, 0, "{unit} has failed\n{}", site.story());
    }
    site.run(&["systemctl", "stop", "ehos.timer"], b"").ok();
    assert!(!active(&site, "ehos.path"), "it is stopped with the timer");
}
