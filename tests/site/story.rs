//! The end-to-end story on machines: jobs of an ordinary user make servers, servers become nodes by their own user
//! data and token, jobs run to the end, nodes drain and vanish. And the same with ehos killed at any moment, and with
//! the collector away.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::machines::{By, Site, TickInstant, step};
use crate::watched::Watched;

/// All jobs have left the queue.
fn done(site: &Site) -> bool {
    site.queue().is_empty()
}

fn nothing_left(site: &Site) -> bool {
    site.nodes().is_empty()
}

/// Whether all variants are told.
pub fn long() -> bool {
    std::env::var("EHOS_STORY").is_ok_and(|variants| variants == "long")
}

/// Every job of `count` ran once, to the end, on a node.
#[track_caller]
fn assert_each_ran_once(site: &Site, count: usize) {
    let history = site.history();
    let jobs: BTreeSet<&str> = history.iter().map(|job| job.id.as_str()).collect();
    assert_eq!((jobs.len(), history.len()), (count, count), "{history:#?}");
    for job in &history {
        assert_eq!(
            (job.status, job.starts, job.exit_code),
            (4, 1, 0),
            "{job:?}"
        );
    }
}

/// The slots in the pool are those of the servers in Nova, by UUID.
#[track_caller]
fn assert_slots_are_servers(site: &Site) {
    let servers: BTreeSet<String> = site.nodes().into_iter().map(|server| server.id).collect();
    let slots: BTreeSet<String> = site.slots().into_values().collect();
    assert_eq!(slots, servers);
}

#[test]
fn jobs_bring_nodes_and_idle_nodes_go() {
    let Some(mut site) = Site::up("grow", "nodes_max: 3") else {
        return;
    };
    let page = RefCell::new(Watched::open());
    let look = |site: &Site| page.borrow_mut().look(site);
    step("an empty pool is left alone");
    let code = site.tick(By::Unit).code;
    assert_eq!(code, 0, "{}", site.story());
    assert!(nothing_left(&site));
    look(&site);
    page.borrow().waits_for("#cluster", "story-grow");

    // Two cores a node: two nodes.
    site.submit(4, 15, "");
    site.tick_until("two servers are there", 60, By::Unit, &[0], |site| {
        look(site);
        site.nodes().len() == 2
    });
    site.tick_until("both have joined", 90, By::Unit, &[0], |site| {
        look(site);
        site.slots().len() == 2
    });
    assert_slots_are_servers(&site);
    let node = site.nodes().remove(0);
    // A tile has the part of its name that is its own.
    let id = node.metadata["ehos_node"].clone();
    page.borrow().waits_for("#tiles", &id);
    site.tick_until("the jobs are done", 120, By::Unit, &[0], |site| {
        look(site);
        done(site)
    });
    assert_each_ran_once(&site, 4);
    assert_eq!(
        site.history()
            .iter()
            .map(|job| &job.machine)
            .collect::<BTreeSet<_>>()
            .len(),
        2
    );
    site.tick_until("the nodes are gone", 120, By::Unit, &[0], |site| {
        look(site);
        nothing_left(site)
    });
    // Their ads went with them, not after a quarter of an hour.
    site.tick_until("their ads are gone", 15, By::Unit, &[0], |site| {
        site.slots().is_empty()
    });
    what_is_seen_of_it(&mut site, page.into_inner(), &id);
    step("done");
}

/// The page has shown it all without being loaded again, and the commands on the master tell it afterwards.
fn what_is_seen_of_it(site: &mut Site, mut page: Watched, node: &str) {
    step("what is seen of it");
    // The first one forgets them, and shows them for the last time.
    for _ in 0..2 {
        let code = site.tick(By::Unit).code;
        assert_eq!(code, 0, "{}", site.story());
    }
    page.look(site);
    page.waits_for("#decision-rows", node);
    page.waits_for("#no-nodes", "There is no node");
    println!("phases that the page has shown: {:?}", page.phases);
    let picture = page.close("story");
    println!("the page at the end: {picture:?}");

    let ehos = |args: &[&str]| {
        let as_ehos = [
            "setpriv",
            "--reuid=ehos",
            "--regid=ehos",
            "--clear-groups",
            "ehos",
        ];
        let answer = site.run(&[&as_ehos, args].concat(), b"");
        println!("{args:?}\n{}{}", answer.stdout, answer.stderr);
        answer
    };
    let status = ehos(&["status"]).ok();
    assert!(status.contains("0 idle"), "{status}");
    let life = ehos(&["explain", node]).ok();
    assert!(life.contains("drained"), "{life}");
    // By its unit, as a user of its own who sees nothing else of the state.
    let script = "systemctl start ehos-frontend && for i in 1 2 3 4 5 6 7 8 9 10; do
        exec 3<>/dev/tcp/127.0.0.1/5000 && break; sleep 1; done 2>/dev/null
        printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3; systemctl stop ehos-frontend";
    let answer = site.run(&["bash", "-c", script], b"");
    println!("{}{}", answer.stdout, answer.stderr);
    assert!(
        answer.stdout.contains("ok, the last tick was "),
        "{answer:#?}"
    );
}

#[test]
fn ehos_killed_between_any_two_steps_leaks_nothing() {
    let Some(mut site) = Site::up("kill", "nodes_max: 3") else {
        return;
    };
    let began = Instant::now();
    site.tick(By::Hand);
    let whole = began.elapsed();
    step(&format!("a tick takes {whole:.2?}"));
    site.submit(4, 15, "");
    let steps = if long() { 24 } else { 8 };
    // Twice at a certain moment: a node drains and ehos does not know; a server is deleted and its ads are still there.
    site.kill_ehos_at("condor_drain", TickInstant::After);
    site.kill_ehos_at("condor_advertise", TickInstant::Before);
    // Every tick is killed, but for the last of a round. The moments go round by the golden section, so that they fall
    // everywhere and never into step with intents that lapse: those are forgotten after a whole number of rounds.
    let mut moment = 0;
    let mut longest = whole;
    let mut most = 0;
    while !(site.history().len() == 4 && nothing_left(&site) && site.slots().is_empty()) {
        moment += 1;
        assert!(
            began.elapsed() < Duration::from_secs(if long() { 900 } else { 300 }),
            "it does not come to an end\n{}",
            site.story()
        );
        let by = match moment % (steps + 1) {
            0 => By::Hand,
            _ => By::KilledAfter(longest.mul_f64(2.0 * (f64::from(moment) * 0.618_034).fract())),
        };
        let started = Instant::now();
        let code = site.tick(by).code;
        if code == 0 {
            longest = longest.max(started.elapsed());
        }
        assert!(
            [0, 1, 137].contains(&code),
            "exit code {code}\n{}",
            site.story()
        );
        most = most.max(site.nodes().len());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_each_ran_once(&site, 4);
    assert!(most <= 3, "{most} servers");
    for tool in ["condor_drain", "condor_advertise"] {
        assert!(site.was_killed_at(tool), "{tool} was never called");
    }
    site.tick_until("all is quiet", 30, By::Hand, &[0], |site| {
        site.slots().is_empty() && nothing_left(site)
    });
    step("done");
}

#[test]
fn without_a_collector_nothing_is_made_or_unmade() {
    let Some(mut site) = Site::up("blind", "nodes_max: 2") else {
        return;
    };
    blind_for_a_while(&mut site, Site::stop_collector, Site::start_collector);
}

#[test]
fn with_a_frozen_collector_nothing_is_made_or_unmade() {
    if !long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let Some(mut site) = Site::up("frozen", "nodes_max: 2\ncommand_timeout: 3 s") else {
        return;
    };
    blind_for_a_while(&mut site, Site::freeze_collector, Site::thaw_collector);
}

/// One node works when the collector goes; jobs are waiting that would need another.
fn blind_for_a_while(site: &mut Site, away: fn(&Site), back: fn(&Site)) {
    site.submit(2, 40, "");
    site.tick_until("a node runs the jobs", 120, By::Hand, &[0], |site| {
        site.queue().get(&2) == Some(&2)
    });
    let before: BTreeSet<String> = site.nodes().into_iter().map(|server| server.id).collect();

    step("the collector is away");
    site.submit(4, 1, "");
    away(site);
    for _ in 0..4 {
        let code = site.tick(By::Hand).code;
        assert!([1, 75].contains(&code), "{}", site.story());
        std::thread::sleep(Duration::from_secs(3));
    }
    let after: BTreeSet<String> = site.nodes().into_iter().map(|server| server.id).collect();
    assert_eq!(after, before, "{}", site.story());

    step("the collector is back");
    back(site);
    // At first it knows nothing, and then not yet all.
    let codes = [0, 1, 75];
    site.tick_until("the jobs are done", 240, By::Hand, &codes, done);
    assert_each_ran_once(site, 6);
    site.tick_until("the nodes are gone", 120, By::Hand, &codes, nothing_left);
    step("done");
}

#[test]
fn where_ehos_may_not_drain_a_node_that_nobody_claims_ends_by_itself() {
    if !long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let Some(mut site) = Site::up("ends", "nodes_max: 1") else {
        return;
    };
    let node = "daemon:\n  idle_timeout: 20 s\ncondor:\n  scale_down: self-shutdown\n";
    site.configure("60-node.yaml", node);
    // Whoever called it would be killed.
    site.kill_ehos_at("condor_drain", TickInstant::Before);
    site.submit(2, 15, "");
    site.tick_until("the jobs are done", 120, By::Hand, &[0], done);
    assert_each_ran_once(&site, 2);
    let ended = Instant::now();
    let off = |site: &Site| site.nodes().iter().all(|node| node.status == "SHUTOFF");
    site.tick_until("the node is off", 90, By::Hand, &[0], off);
    let idle = ended.elapsed();
    step(&format!("{idle:.1?} after its last job"));
    assert!(idle >= Duration::from_secs(15), "{idle:?}");
    site.tick_until("the node is gone", 60, By::Hand, &[0], nothing_left);
    assert!(site.said("shuts itself down after"), "{}", site.story());
    assert!(
        site.said("server is SHUTOFF, no job on it"),
        "{}",
        site.story()
    );
    assert!(!site.said("failed"), "{}", site.story());
    assert!(!site.was_killed_at("condor_drain"), "ehos has drained");
    step("done");
}

/// A node that has outlived `max_lifetime` takes no new jobs by itself, lets the one that it has end, goes, and another
/// one takes its place for the job that waits.
#[test]
fn a_node_of_its_age_lets_its_job_end_and_another_takes_its_place() {
    if !long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let Some(mut site) = Site::up("age", "nodes_max: 1") else {
        return;
    };
    site.configure(
        "60-age.yaml",
        "daemon:\n  boot_timeout: 80 s\n  max_lifetime: 100 s\n",
    );
    // Longer than the node may take jobs: it ends after that, and the other one never starts on this node.
    site.submit(2, 150, "request_cpus = 2\n");
    site.tick_until("a node runs one", 120, By::Hand, &[0], |site| {
        site.queue().get(&2) == Some(&1)
    });
    let first: BTreeSet<String> = site.nodes().into_iter().map(|node| node.id).collect();
    assert_eq!(first.len(), 1);
    site.tick_until("one is done", 240, By::Hand, &[0], |site| {
        site.history().len() == 1
    });
    assert_each_ran_once(&site, 1);
    site.tick_until("another node runs the other", 240, By::Hand, &[0], |site| {
        let now: BTreeSet<String> = site.nodes().into_iter().map(|node| node.id).collect();
        site.queue().get(&2) == Some(&1) && now.is_disjoint(&first) && now.len() == 1
    });
    assert!(site.said("max_lifetime"), "{}", site.story());
    site.tick_until("both are done", 300, By::Hand, &[0], done);
    assert_each_ran_once(&site, 2);
    step("done");
}
