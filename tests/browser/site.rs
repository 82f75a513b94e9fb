//! A site whose history is shown: a simulated one, or files that a test has written; and `ehos frontend` at work on it.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A state directory.
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// With no tick yet.
    pub fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let site = Site { dir };
        fs::create_dir(site.history()).unwrap();
        site
    }

    /// The demo, after so many ticks.
    pub fn demo(ticks: usize) -> Site {
        let site = Site::new();
        for _ in 0..ticks {
            site.tick();
        }
        site
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn history(&self) -> PathBuf {
        self.path().join("history")
    }

    /// A tick of the demo.
    pub fn tick(&self) {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo.yaml");
        let done = Command::new(testkit::program!())
            .args(["tick", "--config"])
            .arg(demo)
            .arg("--state-dir")
            .arg(self.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// The last tick, as this says.
    pub fn last(&self, snapshot: &Value) {
        // As a tick does it: nobody sees half of it.
        let new = self.history().join("last.json.new-test");
        fs::write(&new, snapshot.to_string()).unwrap();
        fs::rename(new, self.history().join("last.json")).unwrap();
    }

    /// The lines of days, oldest first.
    pub fn lines(&self, lines: &[(Timestamp, Value)]) {
        let mut days: Vec<(String, String)> = Vec::new();
        for (at, line) in lines {
            let day = at.strftime("%Y-%m-%d").to_string();
            if days.last().is_none_or(|(last, _)| *last != day) {
                days.push((day, String::new()));
            }
            if let Some((_, text)) = days.last_mut() {
                writeln!(text, "{line}").unwrap();
            }
        }
        for (day, text) in days {
            fs::write(self.history().join(format!("{day}.jsonl")), text).unwrap();
        }
    }

    /// Writes the page into one file.
    pub fn once(&self) -> PathBuf {
        let file = self.path().join("page.html");
        let done = Command::new(testkit::program!())
            .args(["frontend", "--once"])
            .arg(&file)
            .arg("--state-dir")
            .arg(self.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        file
    }
}

/// `ehos frontend`, which ends with this.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub address: String,
}

impl Server {
    /// On a port that is free.
    pub fn start(site: &Site) -> Server {
        Server::on(site, "127.0.0.1:0")
    }

    /// On this port.
    pub fn on(site: &Site, listen: &str) -> Server {
        Server::with(site, &["--listen", listen, "--no-token"])
    }

    /// One that asks for a token.
    pub fn asking(site: &Site) -> Server {
        Server::with(site, &["--listen", "127.0.0.1:0"])
    }

    fn with(site: &Site, options: &[&str]) -> Server {
        let mut child = Command::new(testkit::program!())
            .arg("frontend")
            .args(options)
            .arg("--state-dir")
            .arg(site.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let begin = line.find("http://")?;
                let address = line.get(begin..)?.split_whitespace().next()?;
                Some(address.trim_end_matches('/').to_owned())
            })
            .expect("it says where it listens");
        thread::spawn(move || said.for_each(drop));
        Server { child, address }
    }

    /// What a part of the API says.
    pub fn api(&self, part: &str) -> Value {
        let answer = ureq::get(format!("{}/api/{part}", self.address)).call();
        answer.unwrap().body_mut().read_json().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PHASES: [&str; 10] = [
    "busy", "busy", "busy", "busy", "busy", "idle", "idle", "booting", "draining", "deleting",
];

/// A node of a site that is not a simulated one.
pub fn node(number: usize) -> Value {
    let phase = PHASES[number % PHASES.len()];
    let used = if phase == "busy" { 1 + number % 8 } else { 0 };
    let startd = ["busy", "idle", "draining"].contains(&phase).then(|| {
        json!({"machine": format!("host-{number}"), "claims": used, "cpus": 8, "claimed_cpus": used,
               "memory_mb": 16000, "claimed_memory_mb": 2000 * used, "gpus": 0, "claimed_gpus": 0})
    });
    json!({"node": format!("n-{number:04}"), "name": format!("ehos-v1-execute-n-{number:04}"),
           "cloud": (["blue", "green"][number % 2]), "flavor": "m1.large",
           "server": {"id": format!("6e789e6a-0000-4000-8000-{number:012}"), "image": "gold",
                      "age_seconds": 60 + 37 * number, "vcpus": 8, "per_hour": 0.2},
           "startd": startd, "phase": phase, "decision": "keep", "reason": phase, "text": format!("{phase} as it is")})
}

/// The last tick of a site with so many nodes, at this time.
pub fn snapshot(at: Timestamp, nodes: usize) -> Value {
    let nodes: Vec<Value> = (0..nodes).map(node).collect();
    let paid = 8 * nodes.len();
    let claimed: u64 = nodes
        .iter()
        .filter_map(|node| node["startd"]["claimed_cpus"].as_u64())
        .sum();
    json!({"version": 1, "program": "0.1.0", "at": at, "exit": 0, "milliseconds": 1234,
           "source_milliseconds": {"pool": 900, "cloud blue": 1100},
           "policy": {"cluster": "pool-1", "nodes_min": 0, "nodes_max": 2500, "nodes_spare": "0",
                      "budget": {"per_hour": null, "per_month": 500.0}},
           "queue": {"schedds": 1, "idle": 30, "running": claimed, "held": 4, "waiting": 20, "longest_seconds": 700},
           "demand": {"cpus": 40, "memory_mb": 81920, "disk_kb": 1024, "gpus": 0},
           "cores": {"paid": paid, "joined": paid, "claimed": claimed, "free": 5, "unmanaged": 0, "unmanaged_claimed": 0},
           "cost": {"month": "2026-11", "counted_since": null, "per_hour": 5.2, "spent_this_month": 123.456789,
                    "clouds": [{"cloud": "blue", "per_hour": 5.2, "spent_this_month": 123.456789, "committed": 5.2, "nodes_without_price": 0}]},
           "clouds": [{"cloud": "blue", "answers": true, "image": "gold", "nodes": 1, "nodes_max": null,
                       "quota": {"instances": {"used": 3, "limit": 10}, "cores": {"used": 24, "limit": 24}, "ram_mb": {"used": 1, "limit": null}},
                       "budget": {"per_hour": null, "per_month": 400.0}, "pause": null},
                      {"cloud": "green", "answers": true, "image": "gold", "nodes": 1}],
           "job_groups": [{"request": {"cpus": 2, "memory_mb": 4096, "disk_kb": 1024, "gpus": 0}, "jobs": 20, "waiting_seconds": 700,
                       "reasons": [{"reason": "new_nodes", "text": "create 5 × m1.large in blue for 20 jobs: cheapest"}]}],
           "nodes": nodes})
}

/// A line of the history for each `step` of the `days` before `until`, but for the sixth hour before it.
pub fn history(until: Timestamp, days: i64, step: i64) -> Vec<(Timestamp, Value)> {
    let seconds = (0..days * 86_400 / step).rev().map(|n| n * step);
    let known = seconds.filter(|ago| !(5 * 3600..6 * 3600).contains(ago));
    known
        .map(|ago| {
            let at = until - SignedDuration::from_secs(ago);
            let busy = 10 + (ago / 3600) % 7;
            let mut events = Vec::new();
            let mut actions = Vec::new();
            if ago % 600 < step {
                let number = ago / 600;
                events.push(json!({"node": format!("n-{:04}", number % 50), "name": format!("ehos-v1-execute-n-{:04}", number % 50),
                    "cloud": "blue", "flavor": "m1.large", "image": "gold", "previous_phase": "idle", "phase": "idle", "decision": "drain",
                    "reason": "surplus", "text": format!("decision {number} of the test")}));
                actions.push(json!({"action": "drain", "node": format!("n-{:04}", number % 50), "result": "done"}));
            }
            let line = json!({"version": 1, "at": at, "exit": 0, "milliseconds": 900,
                "queue": {"schedds": 1, "idle": ago / 3600, "running": busy * 6, "held": 2, "waiting": 1, "longest_seconds": 1, "unmatched": 0, "limited": 0},
                "demand": {"cpus": 3, "memory_mb": 1, "disk_kb": 1, "gpus": 0},
                "cores": {"paid": (busy + 3) * 8, "joined": (busy + 3) * 8, "claimed": busy * 6, "free": 2, "unmanaged": 0, "unmanaged_claimed": 0},
                "collector": true, "nodes": {"busy": busy, "idle": 2, "booting": 1},
                "clouds": {"blue": {"answers": true, "nodes": {"busy": busy, "idle": 2, "booting": 1}, "paid_cores": (busy + 3) * 8, "claimed_cores": busy * 6, "per_hour": 2.5}},
                "cost": {"per_hour": 2.5, "spent_this_month": 1.0}, "events": events, "actions": actions});
            (at, line)
        })
        .collect()
}
