//! The whole life of a node, with ehos killed at every point where it sends something.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::crashes::{Ended, KILLED, Points, Proxy, Watch};
use crate::double::Double;
use crate::harness::cloud::{self, CREATE, SERVER_ID};
use crate::harness::{Site, condor};

const DELETE: &str = "/v2.1/servers/1fdb8980";

/// A cloud and a pool in which what was done has its effect at once: a server that was asked for is a node, one job
/// has run on it long ago, and it is gone when it was deleted.
struct World {
    double: Double,
    proxy: Proxy,
    points: Points,
    site: Site,
}

impl World {
    fn new() -> World {
        let double = Double::start(cloud::script(vec![]));
        let points = Points::new();
        let proxy = Proxy::start(&points);
        let site = Site::with_cloud(&proxy.before(double.url()));
        let tools = points.before(&site.tools());
        let site = site
            .over(&format!("condor: {{bin: {}}}\n", tools.display()))
            .over("daemon: {intent_grace: 1s, idle_timeout: 0s}\n");
        World {
            double,
            proxy,
            points,
            site,
        }
    }

    fn tick(&self) -> Ended {
        self.become_what_was_done();
        self.points.run(&mut self.site.command(&[]))
    }

    fn gone(&self) -> bool {
        self.double.count("DELETE", DELETE) > 0
    }

    fn drains(&self) -> usize {
        self.site.calls().matches("condor_drain ").count()
    }

    fn ads_gone(&self) -> bool {
        self.site.calls().contains("INVALIDATE_MASTER_ADS")
    }

    fn become_what_was_done(&self) {
        let creates = self.double.received();
        let create = creates
            .iter()
            .find(|request| request.method == "POST" && request.target == CREATE);
        let (tools, calls) = (self.site.tools(), self.site.calls());
        let jobs = u64::from(create.is_none());
        condor::answer(&tools, "condor_q", "-totals", &condor::totals(jobs, 0));
        let group = match jobs {
            0 => "exit=0\n".to_owned(),
            jobs => condor::group(jobs, 1, 512),
        };
        condor::answer(&tools, "condor_q", "-group-by", &group);
        let Some(create) = create else {
            return;
        };
        let mut server = cloud::asked_for(create);
        server["status"] = json!("ACTIVE");
        let node = server["metadata"]["ehos_node"].as_str().unwrap().to_owned();
        let lines = if self.gone() {
            vec![cloud::list(&[])]
        } else {
            vec![cloud::shown(&server), cloud::list(&[server])]
        };
        self.double.play(cloud::script(lines));
        let drain = calls
            .split_once(" -reason ")
            .and_then(|(_, rest)| rest.split_once(" slot1@"));
        let slot = match drain {
            _ if self.ads_gone() => String::new(),
            Some((reason, _)) => condor::drained_slot("n1", SERVER_ID, &node, reason),
            None => condor::slot("n1", SERVER_ID, &node, 900),
        };
        condor::answer(&tools, "condor_status", "any", &(slot + "exit=0\n"));
    }

    /// Ticks until nothing is left to do; how many it took.
    #[track_caller]
    fn to_the_end(&self) -> usize {
        let end = Instant::now() + Duration::from_secs(90);
        let mut ticks = 0;
        loop {
            let ended = self.tick();
            ticks += 1;
            assert!(Instant::now() < end, "no end: {ended:#?}");
            let made = self.double.count("POST", CREATE);
            assert!(made <= 1, "{made} servers: {ended:#?}");
            match ended.code {
                KILLED => {}
                0 if self.ads_gone() && ended.stdout.contains("nothing to do") => return ticks,
                0 | 1 => std::thread::sleep(Duration::from_millis(20)),
                _ => panic!("{ended:#?}"),
            }
        }
    }

    fn assert_each_thing_was_done_once(&self) {
        assert_eq!(self.double.count("POST", CREATE), 1);
        assert_eq!(self.double.count("DELETE", DELETE), 1);
        assert_eq!(self.drains(), 1);
        assert_eq!(self.proxy.done("POST", "/servers").len(), 1);
        let state = self.site.saved();
        assert_eq!(state["nodes"], json!({}), "none is on its way");
        assert_eq!(self.site.state_names(), crate::harness::STATE_NAMES);
    }
}

#[test]
fn killed_at_every_point_at_which_it_sends_it_does_each_thing_once() {
    let plain = World::new();
    let ticks = plain.to_the_end();
    plain.assert_each_thing_was_done_once();
    let points = plain.points.seen();
    println!("{ticks} ticks, {} points: {points:#?}", points.len());
    for what in [
        "POST v3:auth:tokens 1 before",
        "GET v2.1:servers:detail 1 after",
        "POST v2.1:servers 1 before",
        "POST v2.1:servers 1 after",
        "DELETE v2.1:servers:ID 1 before",
        "DELETE v2.1:servers:ID 1 after",
        "condor_token_create 1 after",
        "condor_drain 1 before",
        "condor_drain 1 after",
        "condor_advertise INVALIDATE_STARTD_ADS 1 before",
        "condor_advertise INVALIDATE_MASTER_ADS 1 after",
    ] {
        assert!(points.contains(what), "{what} is none of {points:#?}");
    }

    let killed = World::new();
    killed.points.arm();
    let watch = Watch::over(killed.site.state().join("state.json"));
    let ticks = killed.to_the_end();
    let looks = watch.end();
    killed.assert_each_thing_was_done_once();
    let hit = killed.points.hit();
    println!(
        "{ticks} ticks, {} of them killed; {looks} looks at the state",
        hit.len()
    );
    assert_eq!(hit, killed.points.seen());
    // A startd that has accepted a drain before its tick was killed needs no second pass.
    let of_second_pass = |point: &&String| {
        let second = [" 2 ", "status 4 ", "status 5 "];
        second.iter().any(|number| point.contains(number))
    };
    let missed = points.difference(&hit);
    let missed: Vec<_> = missed.filter(|point| !of_second_pass(point)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn killed_in_its_second_pass_a_tick_does_each_thing_once() {
    let plain = World::new();
    plain.to_the_end();
    let points = plain.points.seen();
    for point in [
        "GET v2.1:servers:detail 2 after",
        "condor_status 4 before",
        "DELETE v2.1:servers:ID 1 before",
        "DELETE v2.1:servers:ID 1 after",
    ] {
        assert!(points.contains(point), "{point} is none of {points:#?}");
        let killed = World::new();
        killed.points.arm_only(point, &points);
        killed.to_the_end();
        killed.assert_each_thing_was_done_once();
        assert!(killed.points.seen().contains(point), "{point}");
    }
}
