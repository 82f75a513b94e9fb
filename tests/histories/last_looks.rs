//! What happens between the observation and the act: a last look saves the node, and no job is lost.

use std::sync::Mutex;
use std::time::Duration;

use report::{TickReport, TickResult};
use scaling::action::{CloudAction, Done, Failure, FailureKind, PoolAction};
use scaling::observation::{METADATA_CLUSTER, METADATA_NODE, Observed, ServerStatus};
use scaling::plan::Action;
use scaling::reason::Reason;
use simulation::{JobState, World, locked, machine};

use crate::site::{Site, running};
use crate::suspicions::see_pool;

/// What came of the delete of the last tick.
fn deleted(site: &Site) -> Option<Result<Done, Failure>> {
    let delete = |action: &Action| {
        matches!(
            action,
            Action::Cloud {
                action: CloudAction::Delete { .. },
                ..
            }
        )
    };
    outcome(site, delete)
}

/// What came of the drain of the last tick.
fn drained(site: &Site) -> Option<Result<Done, Failure>> {
    outcome(site, |action| {
        matches!(action, Action::Pool(PoolAction::Drain { .. }))
    })
}

fn outcome(site: &Site, which: impl Fn(&Action) -> bool) -> Option<Result<Done, Failure>> {
    let (_, outcomes) = site.last.as_ref().unwrap();
    let found = outcomes.iter().find(|outcome| which(&outcome.action));
    found.map(|outcome| outcome.result.clone())
}

#[track_caller]
fn changed(result: Option<Result<Done, Failure>>, words: &str) {
    let failure = result.expect("it was planned").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Changed, "{failure:?}");
    assert!(failure.message.contains(words), "{failure:?}");
}

/// One node, drained: the next tick plans its delete.
fn with_a_drained_node() -> (Site, String) {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    site.until(12, "a drain", |world| {
        world.servers.values().any(|server| {
            let startd = server.startd.as_ref();
            startd.is_some_and(|startd| startd.drain.is_some())
        })
    });
    let id = site.names()[0].clone();
    (site, id)
}

/// One node, silent: the next tick finds it lost and plans its delete.
fn with_a_lost_node() -> (Site, String) {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    // Observed silent three update intervals later, lost 15 minutes after that.
    site.ticks(18);
    assert_eq!(
        site.plan().nodes[0].phase.as_str(),
        "silent",
        "{}",
        site.describe()
    );
    (site, id)
}

fn machine_of(world: &World, id: &str) -> String {
    machine(&world.servers[id].name)
}

fn take_back(world: &mut World, id: &str) {
    let name = machine_of(world, id);
    let drain = world.servers[id].startd.as_ref().unwrap().drain.clone();
    world.cancel_drain(&name, &drain.unwrap().1).unwrap();
}

/// Jobs come, and the negotiator matches them.
fn jobs_come(world: &mut World) {
    world.submit(2, 1, 1024, 600, false);
    world.advance(120);
    let running = |state: &JobState| matches!(state, JobState::Running { .. });
    let count = world.jobs.iter().filter(|job| running(&job.state)).count();
    assert_eq!(count, 2, "they run there");
}

/// The node lives on, its jobs end, and it goes the usual way.
fn goes_on(mut site: Site, id: &str) {
    assert!(site.names().iter().any(|name| name == id));
    let intended = |site: &Site| {
        let mut nodes = site.state.nodes.values();
        nodes.any(|node| node.delete.intended.is_some())
    };
    assert!(!intended(&site), "nothing was asked for");
    site.until(20, "the jobs end", |world| world.unfinished() == 0);
    site.until(20, "it goes the usual way", |world| {
        world.servers.is_empty()
    });
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}

#[test]
fn the_world_notices_when_a_job_is_killed() {
    let mut site = Site::simple();
    running(&mut site, 4, 600);
    let id = site.names()[0].clone();
    let mut world = site.world();
    assert!(world.violations.is_empty());
    world.delete(&id);
    assert_eq!(world.violations.len(), 1, "{:?}", world.violations);
}

#[test]
fn a_drain_that_an_operator_takes_back_saves_the_node_and_its_new_jobs() {
    let (mut site, id) = with_a_drained_node();
    site.tick_while(&mut |world| {
        let mut world = locked(world);
        take_back(&mut world, &id);
        jobs_come(&mut world);
    });
    changed(deleted(&site), "claimed");
    goes_on(site, &id);
    // Before any job came.
    let (mut site, id) = with_a_drained_node();
    site.tick_while(&mut |world| take_back(&mut locked(world), &id));
    changed(deleted(&site), "drain was cancelled");
    goes_on(site, &id);
}

#[test]
fn a_drain_that_an_operator_puts_in_place_of_ours_is_theirs() {
    let (mut site, id) = with_a_drained_node();
    site.tick_while(&mut |world| {
        let mut world = locked(world);
        take_back(&mut world, &id);
        let name = machine_of(&world, &id);
        world.drain(&name, "a new disk").unwrap();
    });
    changed(deleted(&site), "requested outside ehos");
    // Neither deleted nor taken back, though jobs wait.
    site.submit(4, 1, 1024, 60);
    for _ in 0..20 {
        site.tick();
        let ours = |action: &Action| match action {
            Action::Pool(PoolAction::CancelDrain { .. }) => true,
            Action::Cloud {
                action: CloudAction::Delete { server, .. },
                ..
            } => server.id() == id,
            _ => false,
        };
        assert!(!site.plan().actions.iter().any(ours), "{}", site.describe());
    }
    assert!(site.names().contains(&id));
}

#[test]
fn a_lost_node_that_comes_back_with_jobs_is_saved() {
    let (mut site, id) = with_a_lost_node();
    site.tick_while(&mut |world| {
        let mut world = locked(world);
        world.cut_off(&id, false);
        jobs_come(&mut world);
    });
    assert!(
        matches!(site.plan().nodes[0].why, Reason::Lost { .. }),
        "{}",
        site.describe()
    );
    changed(deleted(&site), "no longer silent");
    goes_on(site, &id);
}

#[test]
fn a_failed_boot_that_joins_late_is_saved() {
    let mut site = Site::simple();
    locked(&site.world).broken.image = true;
    site.policy.nodes_min = 1;
    site.ticks(16);
    let id = site.names()[0].clone();
    assert_eq!(
        site.plan().nodes[0].phase.as_str(),
        "booting",
        "{}",
        site.describe()
    );
    site.policy.nodes_min = 0;
    site.tick_while(&mut |world| {
        let mut world = locked(world);
        let now = world.now;
        world.servers.get_mut(&id).unwrap().joins_at = Some(now);
        world.advance(5);
        jobs_come(&mut world);
    });
    assert_eq!(
        site.plan().nodes[0].phase.as_str(),
        "failed",
        "{}",
        site.describe()
    );
    changed(deleted(&site), "joined");
    goes_on(site, &id);
}

#[test]
fn a_node_that_is_switched_on_again_is_saved() {
    let (mut site, id) = with_a_lost_node();
    locked(&site.world).servers.get_mut(&id).unwrap().status = ServerStatus::Shutoff;
    site.tick_while(&mut |world| {
        locked(world).servers.get_mut(&id).unwrap().status = ServerStatus::Active;
    });
    changed(deleted(&site), "the Nova status");
    assert_eq!(site.servers(), 1);
}

#[test]
fn metadata_that_somebody_changes_saves_the_server() {
    for (key, value) in [(METADATA_CLUSTER, "pool-2"), (METADATA_NODE, "another")] {
        let (mut site, id) = with_a_drained_node();
        site.tick_while(&mut |world| {
            let mut world = locked(world);
            let metadata = &mut world.servers.get_mut(&id).unwrap().metadata;
            metadata.insert(key.to_owned(), value.to_owned());
        });
        changed(deleted(&site), "metadata");
        if key == METADATA_CLUSTER {
            site.ticks(30);
        }
        assert!(site.names().contains(&id), "{key}");
    }
}

#[test]
fn a_server_that_is_gone_already_is_no_failure() {
    let (mut site, id) = with_a_drained_node();
    site.tick_while(&mut |world| {
        locked(world).servers.remove(&id);
    });
    assert_eq!(deleted(&site), Some(Ok(Done::AlreadyGone)));
    assert!(site.state.nodes.is_empty());
    assert!(site.state.departed.len() == 1, "its ads are taken out next");
}

type Fault = fn(&mut World);

#[test]
fn a_last_look_that_fails_is_no_leave_to_delete() {
    let faults: [(Fault, &str); 2] = [
        (|world| world.broken.collector = true, "collector"),
        (
            |world| world.broken.clouds.push("blue".to_owned()),
            "cloud blue",
        ),
    ];
    for (fault, word) in faults {
        let (mut site, id) = with_a_drained_node();
        site.tick_while(&mut |world: &Mutex<World>| fault(&mut locked(world)));
        let failure = deleted(&site).unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotDone, "{failure:?}");
        assert!(failure.message.contains("recheck"), "{failure:?}");
        assert!(failure.message.contains(word), "{failure:?}");
        assert_eq!(exit(&site), 1, "that is a failure");
        assert!(site.names().contains(&id));
        {
            let mut world = site.world();
            world.broken = simulation::Broken::default();
        }
        site.until(8, "then it goes", |world| world.servers.is_empty());
    }
}

fn exit(site: &Site) -> u8 {
    let (plan, outcomes) = site.last.as_ref().unwrap();
    let report = TickResult {
        plan,
        outcomes: Some(outcomes),
        unsaved: false,
        notices: Vec::new(),
        simulated: true,
        jobs: None,
        durations: &Default::default(),
        took: Default::default(),
        totals: Default::default(),
    };
    report.exit() as u8
}

#[test]
fn what_has_changed_is_said_and_is_no_failure() {
    let (mut site, id) = with_a_drained_node();
    site.tick_while(&mut |world| take_back(&mut locked(world), &id));
    assert_eq!(exit(&site), 0);
    let (plan, outcomes) = site.last.as_ref().unwrap();
    let report = TickResult {
        plan,
        outcomes: Some(outcomes),
        unsaved: false,
        notices: Vec::new(),
        simulated: true,
        jobs: None,
        durations: &Default::default(),
        took: Default::default(),
        totals: Default::default(),
    };
    let tick = TickReport::of(&report);
    assert!(!tick.actions.iter().any(|action| action.has_failed()));
    let text = report::text(&tick, report::TextOptions::default());
    assert!(text.contains("skipped  delete "), "{text}");
    let mut json = Vec::new();
    report::write_json(&mut json, &tick, None).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["actions"][0]["result"], "changed", "{json}");
    assert_eq!(json["exit"], 0);
}

#[test]
fn a_drain_is_not_asked_for_when_somebody_was_quicker() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    let id = site.names()[0].clone();
    let mut said = None;
    for _ in 0..12 {
        site.tick_while(&mut |world| {
            let mut world = locked(world);
            let name = machine_of(&world, &id);
            let idle_for = world.now - world.servers[&id].startd.as_ref().unwrap().unchanged_since;
            if idle_for >= 300 {
                let _ = world.drain(&name, "defrag");
            }
        });
        said = said.or(drained(&site));
    }
    changed(said, "draining already");
    let world = site.world();
    let drain = world.servers[&id].startd.as_ref().unwrap().drain.clone();
    assert_eq!(drain.unwrap().0, "defrag");
}

// ---- drains ----------------------------------------------------------------------------------------------------

#[test]
fn a_drain_that_was_taken_back_does_not_flap() {
    let (mut site, id) = with_a_drained_node();
    // Two jobs have waited for a negotiation cycle.
    {
        let mut world = locked(&site.world);
        world.broken.negotiator = true;
        world.submit(2, 1, 1024, 300, false);
        for job in world.jobs.iter_mut().filter(|job| job.starts == 0) {
            job.state = JobState::Idle(job.submitted - 100);
        }
    }
    // No earlier tick was there to see that they did not.
    site.state.clusters.clear();
    let plan = site.tick();
    assert!(matches!(
        plan.nodes[0].why,
        Reason::DrainTakenBack { jobs: 2 }
    ));
    // Their user takes them away.
    {
        let mut world = locked(&site.world);
        world.broken.negotiator = false;
        world.jobs.retain(|job| job.starts > 0);
    }
    let idle_timeout = site.policy.idle_timeout.as_secs() / 60;
    for minute in 1..idle_timeout {
        site.tick();
        assert_eq!(drained(&site), None, "minute {minute}\n{}", site.describe());
    }
    site.ticks(2);
    assert!(drained(&site).is_some() || deleted(&site).is_some());
    site.until(4, "gone", |world| !world.servers.contains_key(&id));
}

#[test]
fn a_drain_is_taken_back_before_any_server_is_made() {
    let (mut site, _) = with_a_drained_node();
    {
        let mut world = locked(&site.world);
        world.broken.negotiator = true;
        // For two nodes.
        world.submit(8, 1, 1024, 300, false);
        for job in world.jobs.iter_mut().filter(|job| job.starts == 0) {
            job.state = JobState::Idle(job.submitted - 100);
        }
    }
    // No earlier tick was there to see that they did not.
    site.state.clusters.clear();
    let plan = site.tick();
    let verbs: Vec<_> = plan.actions.iter().map(Action::verb).collect();
    assert_eq!(verbs, ["cancel_drain", "create"], "{}", site.describe());
}

#[test]
fn a_claim_that_has_just_gone_is_not_idle_for_as_long_as_it_ran() {
    let mut scenario =
        crate::site::scenario(&[("blue", crate::site::cloud(&[("medium", 4, 8192)]))]);
    // Until its next update a startd says that it has had no claim since the last one came.
    scenario.update_seconds = 240;
    let mut site = Site::new(scenario);
    running(&mut site, 4, 3600);
    site.until(70, "done", |world| world.unfinished() == 0);
    let done = site.world().now;
    while drained(&site).is_none() {
        site.tick();
    }
    let idle = site.world().now - done;
    assert!(idle >= 300, "drained after {idle} s");
}

/// The collector hears of everything so many seconds late from now on, and takes it for new.
fn late(site: &Site, seconds: u64) {
    site.world().broken.late_ads = seconds;
}

/// The startd of a drained node starts anew and takes jobs, of which no ad tells for an hour.
fn restarted_behind_a_late_ad(site: &Site, id: &str) {
    late(site, 3600);
    let mut world = site.world();
    world.restart_startd(id, false);
    jobs_come(&mut world);
    // The last ad from before looks new.
    let now = world.now;
    world.ads.get_mut(id).unwrap().heard = now;
}

/// The jobs are of a schedd that is not asked.
fn of_another_schedd(site: &mut Site) {
    see_pool(site, |view| {
        for schedd in view.schedds.values_mut() {
            if let Observed::Known(schedd) = schedd {
                schedd.running_on.clear();
            }
        }
    });
}

#[test]
fn a_drained_node_on_which_a_schedd_lists_a_job_is_left() {
    let (mut site, id) = with_a_drained_node();
    restarted_behind_a_late_ad(&site, &id);
    site.tick();
    assert_eq!(deleted(&site), None);
    let why = &site.plan().nodes[0].why;
    assert!(matches!(why, Reason::DrainedWithJob { .. }), "{why}");
}

#[test]
fn a_late_ad_that_looks_new_ends_no_job() {
    for mute in [false, true] {
        let (mut site, id) = with_a_drained_node();
        restarted_behind_a_late_ad(&site, &id);
        of_another_schedd(&mut site);
        site.world().broken.mute = mute;
        site.tick();
        changed(
            deleted(&site),
            if mute {
                "its drain has ended"
            } else {
                "claimed"
            },
        );
        {
            let mut world = site.world();
            world.broken.mute = false;
            for (due, _) in &mut world.under_way {
                *due = 0;
            }
        }
        late(&site, 0);
        goes_on(site, &id);
    }
}

#[test]
fn a_delete_that_was_not_done_is_not_asked_again_under_a_job_of_which_a_late_ad_does_not_tell() {
    let (mut site, id) = with_a_drained_node();
    site.world().broken.deletes = true;
    site.ticks(5);
    assert_eq!(
        site.plan().nodes[0].phase.as_str(),
        "deleting",
        "{}",
        site.describe()
    );
    restarted_behind_a_late_ad(&site, &id);
    of_another_schedd(&mut site);
    for minute in 0..4 {
        site.tick();
        let now = site.world().now;
        site.world().ads.get_mut(&id).unwrap().heard = now;
        if let Some(result) = deleted(&site) {
            changed(Some(result), "claimed");
            return;
        }
        assert!(minute < 3, "it is asked again: {}", site.describe());
    }
}

#[test]
fn a_drain_of_which_the_startd_says_nothing_is_renewed_before_the_delete() {
    let (mut site, id) = with_a_drained_node();
    site.world().broken.mute = true;
    let drains = |site: &Site| {
        let startd = site.world().servers[&id].startd.clone();
        startd.map(|startd| startd.drains)
    };
    assert_eq!(drains(&site), Some(1));
    site.world().broken.deletes = true;
    site.tick();
    assert_eq!(deleted(&site), Some(Ok(Done::Accepted)));
    assert_eq!(drains(&site), Some(2));
    // Nothing reaches it at all: no leave to delete.
    let (mut site, id) = with_a_drained_node();
    site.tick_while(&mut |world| locked(world).cut_off(&id, true));
    assert!(deleted(&site).unwrap().is_err());
    assert!(site.names().contains(&id));
    site.until(40, "lost, then", |world| world.servers.is_empty());
}

#[test]
fn a_lost_node_that_answers_itself_keeps_its_job() {
    let mut site = Site::simple();
    running(&mut site, 4, 4 * 3600);
    let id = site.names()[0].clone();
    // No ad of it comes for hours: its last one is gone by then.
    late(&site, 3 * 3600);
    let mut planned = 0;
    for _ in 0..150 {
        site.tick();
        if let Some(result) = deleted(&site) {
            changed(Some(result), "answers a direct query");
            planned += 1;
        }
    }
    assert!(planned > 10, "{planned}: {}", site.describe());
    assert!(site.names().contains(&id));
    site.until(200, "the jobs end", |world| world.unfinished() == 0);
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}

#[test]
fn a_drain_is_not_asked_of_a_startd_that_has_taken_a_job_behind_a_late_ad() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    site.ticks(4);
    late(&site, 3600);
    let mut found = false;
    for _ in 0..4 {
        site.tick_while(&mut |world| {
            let mut world = locked(world);
            if world.jobs.len() == 4 {
                jobs_come(&mut world);
            }
        });
        if let Some(result) = drained(&site) {
            changed(Some(result), "claimed");
            found = true;
            break;
        }
    }
    assert!(found, "{}", site.describe());
}

/// A schedd that still has its claim starts the next job without the collector, and a firewall lets nobody ask the startd.
#[test]
fn a_job_that_starts_on_a_silent_node_right_before_its_delete_is_not_ended() {
    let silent = || {
        let mut site = Site::simple();
        running(&mut site, 4, 120);
        site.until(12, "done", |world| world.unfinished() == 0);
        site.policy.idle_timeout = Duration::from_secs(86_400);
        let id = site.names()[0].clone();
        let mut world = site.world();
        world.cut_off(&id, true);
        world.broken.mute = true;
        drop(world);
        (site, id)
    };
    let is_lost = |site: &Site| {
        let mut nodes = site.plan().nodes.iter();
        nodes.any(|node| matches!(node.why, Reason::Lost { .. }))
    };
    let (mut site, _) = silent();
    let before = (0..60).find(|_| {
        site.tick();
        is_lost(&site)
    });
    let (mut site, id) = silent();
    site.ticks(before.expect("it is lost"));
    site.tick_while(&mut |world| {
        let mut world = locked(world);
        world.submit(1, 1, 512, 600, false);
        let since = world.now;
        let job = world.jobs.last_mut().unwrap();
        job.starts += 1;
        job.state = JobState::Running {
            server: id.clone(),
            since,
        };
    });
    assert!(is_lost(&site), "{}", site.describe());
    changed(deleted(&site), "a schedd lists a running job on ");
    assert!(site.names().contains(&id));
}
