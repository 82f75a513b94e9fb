//! Back-off, protected mode, and `ehos resume`.

use std::fs::File;

use fs2::FileExt;

use crate::double::{Double, Reply, always};
use crate::harness::Site;
use crate::harness::cloud::{self, CREATE};

/// A cloud that refuses every server.
fn refusing() -> Vec<crate::double::Line> {
    cloud::script(vec![always(
        "POST",
        CREATE,
        Reply::status(
            400,
            r#"{"badRequest": {"code": 400, "message": "Image 7 is damaged."}}"#,
        ),
    )])
}

/// A site whose cloud has refused its servers twice, which is enough here.
fn protected() -> (Double, Site) {
    let double = Double::start(refusing());
    let site = Site::with_cloud(double.url())
        .waiting(1)
        .over("daemon: {protect_after: 2, backoff_initial: 1ms, backoff_max: 2ms}\n");
    for _ in 0..2 {
        site.tick(&[]).exits(1).never_says("PROTECTED");
    }
    (double, site)
}

fn resume(site: &Site, more: &[&str]) -> crate::harness::Run {
    let (config, state) = (site.config(), site.state());
    let mut args = vec![
        "resume",
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    args.extend(more);
    site.run(&args)
}

pub fn report() -> (serde_json::Value, serde_json::Value) {
    let (_double, site) = protected();
    let tick = site.tick(&["-o", "json"]).exits(1).json();
    (tick, resume(&site, &["lab", "-o", "json"]).exits(0).json())
}

#[test]
fn protected_mode_is_said_loudly_and_ends_by_an_operators_word() {
    let (double, site) = protected();
    double.play(cloud::script(vec![]));
    for dry in [&["--dry-run"][..], &[]] {
        site.tick(dry)
            .exits(1)
            .says("PROTECTED MODE  cloud lab: creates of m1.small from image GOLD CentOS 7 blocked since ")
            .says("2 consecutive failures, the last: ")
            .says("Image 7 is damaged.")
            .says("; correct the cause, then run `ehos resume lab`\n")
            .says("1 waiting for 1 more node, limited by protected mode of m1.small in lab after 2 consecutive failures");
    }
    let report = site.tick(&["-o", "json"]).exits(1).json();
    assert_eq!(report["protected"][0]["failures"], 2);
    // Two creates were refused. The second one was sent again, because an earlier tick had looked up its names.
    assert_eq!(double.count("POST", CREATE), 3);

    resume(&site, &["lab"]).exits(0).warns_nothing().says(
        "cloud lab: m1.small from image GOLD CentOS 7: protected mode ended, 2 failures reset, the last: ",
    );
    site.tick(&[]).exits(0).says("plan     create 1");
    resume(&site, &["lab"])
        .exits(0)
        .says("cloud lab: no failures, backoff or protected mode\n");
}

#[test]
fn a_cloud_of_another_name_is_told() {
    let (_double, site) = protected();
    resume(&site, &["lob"]).exits(78).warns("lob").warns("lab");
    resume(&site, &[]).exits(0).says("no pause of all clouds\n");
    site.tick(&[]).exits(1).says("PROTECTED");
}

#[test]
fn resume_waits_for_a_tick_and_not_for_ever() {
    let (_double, site) = protected();
    let site = site.over("daemon: {tick_timeout: 1s, request_timeout: 1s, command_timeout: 1s}\n");
    let lock = File::create(site.state().join("tick.lock")).unwrap();
    lock.lock_exclusive().unwrap();
    let before = site.state_files();
    resume(&site, &["lab"])
        .exits(1)
        .warns(": a tick has held the lock for longer than daemon.tick_timeout ")
        .warns("daemon.tick_timeout 1 s");
    assert_eq!(site.state_files(), before);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_secs(1));
            FileExt::unlock(&lock).unwrap();
        });
        resume(&site, &["lab"])
            .exits(0)
            .says("protected mode ended");
    });
}
