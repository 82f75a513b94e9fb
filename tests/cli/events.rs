//! `ehos due`, and what a tick leaves for it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::double::Double;
use crate::harness::{Run, Site, cloud, condor};

const SUBMIT: &str = "000 (014.000.000) 11/29 12:36:06 Job submitted from host: <>\n...\n";
const END: &str = "005 (014.000.000) 11/29 12:36:10 Job terminated.\n...\n";

/// A site with an event log, in which a tick ran.
struct Events {
    site: Site,
    _cloud: Double,
}

impl Events {
    fn new(more: &str) -> Events {
        let cloud = Double::start(cloud::script(vec![]));
        let yaml = format!("daemon: {{{more}}}\ncondor: {{event_log: EventLog}}\n");
        let site = Site::with_cloud(cloud.url()).over(&yaml);
        site.write("EventLog", SUBMIT);
        let events = Events {
            site,
            _cloud: cloud,
        };
        events.tick();
        events
    }

    fn tick(&self) {
        self.site.tick(&["--look-again", "5s"]).exits(0);
    }

    fn log(&self, event: &str) {
        let text = fs::read_to_string(self.site.path().join("EventLog")).unwrap();
        self.site.write("EventLog", &(text + event));
    }

    /// As if the last tick had begun `seconds` earlier.
    fn later(&self, seconds: u64) {
        let path = self.site.state().join("wake.json");
        let mut record: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let began = record["began"]["secs"].as_u64().unwrap();
        record["began"]["secs"] = began.checked_sub(seconds).unwrap().into();
        fs::write(path, record.to_string()).unwrap();
    }

    fn wake(&self) -> PathBuf {
        self.site.state().join("wake")
    }

    /// Runs `ehos due`, which says nothing and asks nobody.
    fn due(&self, more: &[&str]) -> Run {
        let history = fs::read(self.site.state().join("history/last.json")).unwrap();
        let calls = self.site.calls();
        let state = self.site.state();
        let mut args = vec!["due", "--state-dir", state.to_str().unwrap()];
        args.extend(more);
        let run = self.site.run(&args);
        run.is_silent();
        assert_eq!(self.site.calls(), calls, "a service was asked");
        let after = fs::read(self.site.state().join("history/last.json")).unwrap();
        assert_eq!(after, history);
        run
    }
}

#[test]
fn a_tick_is_due_when_jobs_came_and_not_before_the_interval() {
    let site = Events::new("event_interval: 10s");
    assert!(!site.wake().exists());
    site.due(&[]).exits(1);
    site.log(SUBMIT);
    site.due(&[]).exits(1);
    assert!(site.wake().exists(), "it is due later");
    site.later(10);
    site.due(&[]).exits(0);
    assert!(site.wake().exists(), "until a tick has answered");
    site.tick();
    site.due(&[]).exits(1);
    assert!(!site.wake().exists(), "the tick has seen the job");
}

#[test]
fn an_end_of_jobs_is_due_only_where_none_waits() {
    let site = Events::new("event_interval: 10s, idle_timeout: 20s");
    site.log(END);
    site.later(10);
    site.due(&[]).exits(1);
    site.later(10);
    site.due(&[]).exits(0);

    condor::answer(
        &site.site.tools(),
        "condor_q",
        "-totals",
        &condor::totals(2, 1),
    );
    site.tick();
    site.log(END);
    site.later(20);
    site.due(&[]).exits(1);
    assert!(!site.wake().exists());
}

#[test]
fn events_can_be_turned_off() {
    let site = Events::new("event_interval: 0");
    site.log(SUBMIT);
    site.later(20);
    site.due(&[]).exits(1);
    assert!(!site.wake().exists());
}

#[test]
fn a_dry_run_and_a_simulated_site_leave_nothing_for_it() {
    let site = Events::new("event_interval: 10s");
    let record = || fs::read(site.site.state().join("wake.json")).unwrap();
    let before = record();
    site.log(SUBMIT);
    site.site.tick(&["--dry-run"]).exits(0);
    assert_eq!(record(), before);
    let simulated = Site::simulated();
    simulated.tick(&["--look-again", "5s"]).exits(0);
    assert!(!simulated.state().join("wake.json").exists());
    let config = simulated.config();
    let state = simulated.state();
    let words = ["due", "--config", config.to_str().unwrap(), "--state-dir"];
    simulated
        .run(&[&words[..], &[state.to_str().unwrap()]].concat())
        .exits(1)
        .is_silent();
}

#[test]
fn the_configuration_is_not_read_where_the_state_directory_is_known() {
    let site = Events::new("event_interval: 10s");
    site.site.write("ehos.yaml", "{");
    site.log(SUBMIT);
    site.later(20);
    site.due(&["--config", "ehos.yaml"]).exits(0);
    // Where it would have to be: the timer's ticks say that it is broken.
    fs::remove_file(site.site.state().join("wake.json")).unwrap();
    site.due(&["--config", "ehos.yaml"]).exits(1);
}

#[test]
fn it_waits_for_a_tick_that_is_due_later() {
    let site = Events::new("event_interval: 10s");
    site.log(SUBMIT);
    site.later(7);
    let run = site.due(&["--wait", "1s"]);
    run.exits(0);
}

#[test]
fn it_waits_first_for_what_belongs_together() {
    let site = Events::new("event_interval: 10s");
    let began = Instant::now();
    site.due(&["--wait", "1s"]).exits(1);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_log_that_cannot_be_read_or_is_none_costs_no_tick() {
    let site = Events::new("event_interval: 10s");
    let log = site.site.path().join("EventLog");
    fs::remove_file(&log).unwrap();
    site.tick();
    site.later(20);
    site.due(&[]).exits(1);
    // A pipe that nobody writes to is no log.
    let made = site.site.words(&["mkfifo", log.to_str().unwrap()]).status();
    assert!(made.unwrap().success());
    site.tick();
    site.later(20);
    site.due(&[]).exits(1);
}
