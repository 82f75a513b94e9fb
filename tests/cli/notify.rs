//! Who is told of what is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::double::{Double, Line, Reply, always};
use crate::harness::Site;
use crate::harness::cloud::{self, CREATE};

const HOOK: &str = "/hook/s3cret-of-the-chat";

/// A cloud that refuses every server.
pub fn refusing() -> Vec<Line> {
    cloud::script(vec![always(
        "POST",
        CREATE,
        Reply::status(
            400,
            r#"{"badRequest": {"code": 400, "message": "Image 7 is damaged."}}"#,
        ),
    )])
}

/// A site that is in protected mode after its second tick, and tells that so.
fn broken(double: &Double, notify: &str) -> Site {
    Site::with_cloud(double.url()).waiting(1).over(&format!(
        "daemon: {{protect_after: 2, backoff_initial: 1ms, backoff_max: 2ms}}\nnotify: {notify}\n"
    ))
}

/// A hook that writes down what it is told, before it does this.
pub fn hook(folder: &std::path::Path, then: &str) -> String {
    let path = folder.join("hook");
    let log = folder.join("told");
    let script = format!(
        "#!/bin/sh\nset -e\nread -r line\nprintf '%s\\n' \"$line\" >>'{}'\n{then}\n",
        log.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn told(folder: &std::path::Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("told")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn a_hook_and_a_webhook_are_told_when_it_begins_and_when_it_is_over() {
    let (double, chat) = (Double::start(refusing()), Double::start(vec![]));
    chat.play(vec![always("POST", HOOK, Reply::status(200, "ok"))]);
    let folder = tempfile::tempdir().unwrap();
    let program = hook(folder.path(), "");
    let site = broken(
        &double,
        &format!(
            "{{command: [{program}, --team, hpc], webhook: '{}{HOOK}', after_ticks: 3}}",
            chat.url()
        ),
    );
    for _ in 0..2 {
        site.tick(&[]).exits(1);
    }
    assert!(told(folder.path()).is_empty(), "not yet protected");
    for _ in 0..3 {
        site.tick(&[]).exits(1).never_says("notify.");
    }
    let all = told(folder.path());
    assert_eq!(all.len(), 1, "once: {all:?}");
    let notice = &all[0]["notices"][0];
    assert_eq!(notice["state"], "begins");
    assert_eq!(notice["kind"], "protected");
    let text = all[0]["text"].as_str().unwrap();
    assert!(
        text.starts_with("ehos of pool pool-1: protected mode: cloud lab: creates of m1.small")
    );
    assert!(text.contains("Image 7 is damaged"), "{text}");
    let posts: Vec<_> = chat.received().iter().map(|post| post.json()).collect();
    assert_eq!(posts, all, "the same to both");

    // A dry run tells nobody.
    site.tick(&["-n"]).exits(1);
    // Mended: three ticks without it, and it is over.
    double.play(cloud::script(vec![]));
    let (config, state) = (site.config(), site.state());
    let resume = [
        "resume",
        "lab",
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
    ];
    site.run(&[&resume[..], &[state.to_str().unwrap()]].concat())
        .exits(0);
    for _ in 0..4 {
        site.tick(&[]);
        a_minute_later(&site);
    }
    let all = told(folder.path());
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[1]["notices"][0]["state"], "over");
    assert_eq!(chat.count("POST", HOOK), 2);
}

/// Lets the next tick count, though it follows at once.
pub fn a_minute_later(site: &Site) {
    let path = site.state().join("notices.json");
    let mut memory: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(memory["counted"].is_string(), "{memory}");
    memory["counted"] = serde_json::Value::Null;
    fs::write(path, memory.to_string()).unwrap();
}

#[test]
fn whoever_cannot_be_told_costs_nothing_and_is_tried_again() {
    let double = Double::start(refusing());
    let folder = tempfile::tempdir().unwrap();
    let program = hook(folder.path(), "echo 'no such team: hpc' >&2; exit 3");
    let chat = Double::start(vec![]);
    for (reply, said) in [
        (Reply::status(500, "oops"), "answer 500"),
        (Reply::Stall, "timeout"),
        (Reply::Reset, "notify.webhook: "),
    ] {
        chat.play(vec![always("POST", HOOK, reply)]);
        let site = broken(
            &double,
            &format!(
                "{{command: [{program}], webhook: '{}{HOOK}', timeout: 1s}}",
                chat.url()
            ),
        );
        for _ in 0..2 {
            site.tick(&[]).exits(1);
        }
        let begun = Instant::now();
        // The exit code is that of protected mode, as without any of it.
        for _ in 0..2 {
            site.tick(&[])
                .exits(1)
                .says("PROTECTED MODE")
                .warns("notify.command: 1 notice not sent, the next tick retries: ")
                .warns("exit status: 3: no such team: hpc")
                .warns("notify.webhook: 1 notice not sent")
                .warns(said)
                .never_says("s3cret-of-the-chat");
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        // When it can be told, it is, by the one and not by the other again.
        chat.play(vec![always("POST", HOOK, Reply::status(204, ""))]);
        site.tick(&[]).exits(1).never_says("notify.webhook");
        let posts = chat.count("POST", HOOK);
        site.tick(&[]).exits(1);
        assert_eq!(chat.count("POST", HOOK), posts);
    }
}

#[test]
fn the_address_of_a_webhook_is_a_secret() {
    let double = Double::start(refusing());
    let site = broken(
        &double,
        "{webhook: 'http://127.0.0.1:9/hook/s3cret-of-the-chat', timeout: 1s}",
    );
    for arguments in [&[][..], &["-vvv"]] {
        let run = site.tick(arguments);
        run.never_says("s3cret-of").never_says("s3cret-of");
    }
    let config = site.config();
    let shown = ["config", "show", "--config", config.to_str().unwrap()];
    site.run(&shown)
        .exits(0)
        .says("webhook")
        .never_says("s3cret-of");
    let wrong = Site::with_cloud(double.url())
        .over("notify: {webhook: 's3cret-of-nothing', command: [page]}");
    wrong
        .tick(&[])
        .exits(78)
        .warns("notify.webhook: is not an address like https://HOST/PATH")
        .warns("must be a list: the absolute path of a program")
        .never_says("s3cret-of");
}
