//! Names, metadata and error bodies of others: whatever they hold, each output is plain text, and no line is forged.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::double::{Double, Line, Reply, always};
use crate::harness::cloud::{self, CREATE, SERVERS};
use crate::harness::{Run, Site};

/// A line break with a line of ehos's own kind, ESC, C1, marks of direction, a line separator.
const HOSTILE: &str = "m1\n<3>PROTECTED MODE  cloud lab: forged\r\nerror: forged\u{1b}[2J\u{9b}5m\u{85}\u{202e}\u{2066}\u{2028}<3>x\u{0}end";

/// The same as the head of a line.
const HEAD: &str = "<3>PROTECTED MODE  forged\u{1b}[5m";

fn servers() -> Vec<Value> {
    let server = |id: u32, name: &str, status: &str, metadata: Value| {
        json!({
            "id": format!("aaaaaaaa-0000-4000-8000-{id:012}"), "name": name, "status": status,
            "created": "2026-11-22T10:31:13Z", "metadata": metadata,
            "OS-EXT-AZ:availability_zone": HOSTILE, "fault": {"message": HOSTILE, "code": 500, "created": "x"},
        })
    };
    let execute = |node: &str| {
        json!({"ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_node": node, "ehos_flavor": HOSTILE,
               "ehos_image": HOSTILE, "ehos_condor_host": HOSTILE})
    };
    let builder = json!({"ehos_cluster": "pool-1", "ehos_role": "builder", "ehos_node": HOSTILE});
    vec![
        server(1, HOSTILE, "ACTIVE", execute("n1")),
        server(2, HEAD, "ERROR", execute(HOSTILE)),
        server(3, HOSTILE, "ACTIVE", builder),
        server(4, HOSTILE, HOSTILE, execute("n4")),
        server(
            5,
            HOSTILE,
            "ACTIVE",
            json!({"ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_x": 1}),
        ),
    ]
}

fn refusal() -> Reply {
    let body = json!({"forbidden": {"code": 403, "message": HOSTILE}});
    Reply::status(403, &body.to_string())
}

fn script() -> Vec<Line> {
    let list = json!({"servers": servers()}).to_string();
    let image = json!({"images": [{
        "id": "cccccccc-0000-4000-8000-000000000001", "name": HOSTILE, "status": "active", "size": 5,
        "created_at": "2026-11-22T10:31:13Z", "min_disk": 0, "min_ram": 0, "visibility": "private",
        "ehos_cluster": "pool-1", "ehos_source": HOSTILE, "ehos_recipe": HOSTILE,
    }]});
    let groups =
        json!({"security_groups": [{"id": "g", "name": HOSTILE, "security_group_rules": []}]});
    cloud::script(vec![
        always(
            "GET",
            SERVERS,
            Reply::status(200, &list).with("Date", "Sun, 22 Nov 2026 18:00:00 GMT"),
        ),
        always("GET", "/v2/images", Reply::status(200, &image.to_string())),
        always(
            "GET",
            "/v2.0/security-groups",
            Reply::status(200, &groups.to_string()),
        ),
        always("GET", "/v2.0/quotas/", refusal()),
        always("POST", CREATE, refusal()),
        always("DELETE", "/v2.1/servers/", refusal()),
    ])
}

fn is_plain(run: &Run) {
    for text in [&run.stdout, &run.stderr] {
        let odd = text
            .chars()
            .find(|c| *c != '\n' && *c != '\t' && system::plain::is_hostile(*c));
        assert_eq!(odd, None, "{run}");
        for line in text.lines() {
            let forged = line.starts_with("PROTECTED MODE")
                || line.starts_with("error: forged")
                || line.starts_with("<3>x");
            assert!(!forged, "{line:?} in {run}");
        }
    }
}

#[test]
fn no_output_holds_what_others_have_put_into_their_names() {
    let double = Double::start(script());
    let site = Site::with_cloud(double.url()).waiting(3);
    for _ in 0..3 {
        is_plain(&site.tick(&["-vvv"]));
    }
    is_plain(&site.tick(&["-o", "json"]));
    is_plain(&site.tick(&["-n"]));
    for words in [
        &["check"][..],
        &["status"],
        &["status", "-o", "json"],
        &["status", "-o", "prometheus"],
        &["status", "-o", "influx"],
        &["explain", "n1"],
        &["explain", "n1", "-o", "json"],
        &["explain", HEAD],
        &["image", "list"],
        &["image", "list", "-o", "json"],
        &["image", "prune", "--dry-run"],
        &["cloud", "setup", "--dry-run"],
        &["image", "build", "--dry-run"],
        &["resume", "lab"],
    ] {
        let mut args: Vec<&str> = words.to_vec();
        let (config, state) = (site.config(), site.state());
        args.extend(["--config", config.to_str().unwrap()]);
        if !["image", "cloud"].contains(&words[0]) || words.contains(&"prune") {
            args.extend(["--state-dir", state.to_str().unwrap()]);
        }
        let run = site.run(&args);
        assert_ne!(run.code(), Some(64), "{run}");
        is_plain(&run);
    }
    for (path, (text, _)) in site.state_files().unwrap() {
        if path.starts_with(site.state().join("history")) {
            let text = String::from_utf8(text).unwrap();
            assert!(
                text.chars()
                    .all(|c| c == '\n' || !system::plain::is_hostile(c)),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn no_line_of_the_journal_is_forged() {
    let double = Double::start(script());
    let site = Site::with_cloud(double.url()).waiting(3);
    let journal = site.path().join("journal");
    for _ in 0..3 {
        let file = fs::File::create(&journal).unwrap();
        let metadata = file.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        let mut tick = site.command(&["-vv"]);
        tick.env("JOURNAL_STREAM", stream)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        tick.status().unwrap();
        let text = fs::read_to_string(&journal).unwrap();
        assert!(text.contains("forged"), "{text}");
        for line in text.lines() {
            let (level, words) = line.split_once('>').unwrap();
            assert!(["<3", "<4", "<6", "<7"].contains(&level), "{line:?}");
            assert!(
                !words.starts_with("PROTECTED") && !words.starts_with("error: forged"),
                "{line:?}"
            );
            assert!(!words.chars().any(system::plain::is_hostile), "{line:?}");
        }
    }
}
