//! Traps that an operator would meet, each a history.

use scaling::action::{CloudAction, Done, Failure, FailureKind};
use scaling::node::drain_mark;
use scaling::observation::{CloudView, ServerRecord};
use scaling::plan::NodeDecision;
use scaling::reason::Reason;
use scaling::source::SourceKind;
use scaling::state::{State, UnmanagedMachines};
use simulation::{JobState, locked};
use system::deadline::Deadline;
use tick::backends::Backends as Asked;
use tick::cloud::{Cloud, LeftoverQuery};

use crate::site::{Site, minutes, running};

#[test]
fn losing_the_state_file_costs_timers_never_servers() {
    let mut site = Site::simple();
    running(&mut site, 8, 1800);
    site.state = State::default();
    let plan = site.tick();
    assert_eq!(
        plan.nodes
            .iter()
            .filter(|node| node.phase.as_str() == "busy")
            .count(),
        2,
        "{}",
        site.describe()
    );
    assert!(!site.plan().notices.is_empty(), "adoption is said");
    site.until(60, "all servers gone", |world| world.servers.is_empty());
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}

#[test]
fn a_second_ehos_with_a_copied_configuration_does_not_touch_the_first_ones_nodes() {
    let mut first = Site::simple();
    running(&mut first, 8, 6 * 3600);
    // The second sees the same cloud, and an empty pool of its own.
    let mut second = Site::simple();
    second.world = std::sync::Mutex::new(locked(&first.world).clone());
    {
        let mut world = locked(&second.world);
        world.ads.clear();
        world.jobs.clear();
        for server in world.servers.values_mut() {
            server.cut_off_since = Some(0);
        }
    }
    second.ticks(120);
    assert_eq!(
        second.servers(),
        2,
        "nothing was deleted\n{}",
        second.describe()
    );
    let untrusted = |why: &Reason| matches!(why, Reason::AdoptedUntrusted { .. });
    assert!(
        second.plan().nodes.iter().all(|node| untrusted(&node.why)),
        "{}",
        second.describe()
    );
    second.state.trust_adopted();
    second.ticks(2);
    assert_eq!(
        second.servers(),
        0,
        "until an operator says that they are ours"
    );
}

#[test]
fn nothing_is_made_or_unmade_while_the_collector_is_unknown_or_young() {
    let mut site = Site::simple();
    running(&mut site, 4, 300);
    // There may be more of them than it has heard of.
    site.state.unmanaged = UnmanagedMachines::Seen;
    site.until(12, "done", |world| world.unfinished() == 0);
    locked(&site.world).broken.collector = true;
    site.submit(40, 1, 1024, 600);
    for _ in 0..30 {
        let plan = site.tick();
        assert!(plan.actions.is_empty(), "{:?}", plan.actions);
        assert!(
            plan.unknown_sources
                .iter()
                .any(|unseen| unseen.source.kind == SourceKind::Collector)
        );
    }
    locked(&site.world).restart_collector();
    for _ in 0..5 {
        let plan = site.tick();
        assert!(plan.actions.is_empty(), "{:?}", plan.actions);
    }
    site.ticks(3);
    assert!(site.servers() > 1, "then it goes on\n{}", site.describe());
}

#[test]
fn a_job_that_asks_all_the_memory_of_a_flavor_buys_no_nodes_for_ever() {
    let mut site = Site::simple();
    // The flavor says 8192, a node offers less: known before the first one is made.
    site.submit(1, 1, 8192, 600);
    site.ticks(30);
    assert_eq!(site.most_servers, 0);
    // Just what the estimate hopes for and a real node does not have.
    let mut site = Site::simple();
    site.submit(1, 4, 7400, 600);
    {
        let mut world = locked(&site.world);
        world.jobs[0].unmatchable = true;
    }
    let mut made = 0;
    for _ in 0..180 {
        site.tick();
        made += site.created();
    }
    assert!(
        made <= 4,
        "one try an hour, made {made}\n{}",
        site.describe()
    );
    assert!(made >= 1);
}

#[test]
fn a_group_that_the_negotiator_refuses_does_not_buy_nodes_for_ever() {
    let mut site = Site::simple();
    locked(&site.world).submit(100, 1, 1024, 600, true);
    let mut made = 0;
    for _ in 0..110 {
        site.tick();
        made += site.created();
    }
    assert!((1..=11).contains(&made), "made {made}\n{}", site.describe());
    // It is said, and jobs of another shape are served meanwhile.
    let refused = |why: &Reason| matches!(why, Reason::Refused { .. } | Reason::FitsComing { .. });
    assert!(
        site.plan()
            .groups
            .iter()
            .any(|group| group.why.iter().any(refused)),
        "{}",
        site.describe()
    );
    site.submit(4, 2, 2048, 300);
    let finished = |world: &simulation::World| {
        world
            .jobs
            .iter()
            .filter(|job| !job.unmatchable)
            .all(|job| matches!(job.state, JobState::Done(_)))
    };
    site.until(20, "the others are done", finished);
}

#[test]
fn a_lost_node_with_a_live_job_is_left_alone_until_its_lease_is_over() {
    let mut site = Site::simple();
    running(&mut site, 4, 50 * 60);
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    site.ticks(40);
    assert_eq!(
        site.servers(),
        1,
        "the schedd still lists jobs on it\n{}",
        site.describe()
    );
    let silent = |why: &Reason| {
        matches!(
            why,
            Reason::Silent {
                job_listed: true,
                ..
            }
        )
    };
    assert!(
        site.plan().nodes.iter().any(|node| silent(&node.why)),
        "{}",
        site.describe()
    );
    site.until(20, "the jobs end", |world| world.unfinished() == 0);
    site.until(5, "then it is lost at once", |world| {
        world.servers.is_empty()
    });
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}

#[test]
fn a_crashed_node_is_lost_and_its_jobs_run_elsewhere() {
    let mut site = Site::simple();
    running(&mut site, 4, 600);
    let id = site.names()[0].clone();
    locked(&site.world).crash(&id);
    site.until(90, "the jobs are done", |world| world.unfinished() == 0);
    assert!(!site.names().contains(&id), "the crashed one was deleted");
    site.until(20, "all gone", |world| world.servers.is_empty());
}

#[test]
fn many_nodes_that_fall_silent_together_are_not_deleted() {
    let mut site = Site::simple();
    site.policy.max_unproven = 10;
    running(&mut site, 32, 300);
    site.until(10, "done", |world| world.unfinished() == 0);
    for id in site.names() {
        locked(&site.world).cut_off(&id, true);
    }
    site.ticks(90);
    assert_eq!(site.servers(), 8, "{}", site.describe());
    for id in site.names() {
        locked(&site.world).cut_off(&id, false);
    }
    site.until(10, "they are back and go the usual way", |world| {
        world.servers.is_empty()
    });
}

#[test]
fn a_broken_image_boots_three_servers_and_then_waits() {
    let mut site = Site::simple();
    locked(&site.world).broken.image = true;
    site.submit(100, 1, 1024, 600);
    let mut made = 0;
    for _ in 0..180 {
        site.tick();
        made += site.created();
        assert!(site.servers() <= 3);
    }
    assert!((6..=15).contains(&made), "made {made} in three hours");
    let protected = &site.plan().protected;
    assert_eq!((protected.len(), protected[0].failures), (1, 5));
    // Nothing more is tried, however long it lasts, …
    for _ in 0..300 {
        site.tick();
        assert_eq!((site.created(), site.servers()), (0, 0));
    }
    // … before an operator has mended it, and said so.
    locked(&site.world).broken.image = false;
    let resumed = site.state.resume("blue");
    assert_eq!((resumed.len(), resumed[0].protected), (1, true));
    site.tick();
    assert_eq!(site.created(), 3);
    assert_eq!(site.plan().protected, []);
    site.until(150, "once it is mended the jobs run", |world| {
        world.unfinished() == 0
    });
}

#[test]
fn a_node_that_joins_late_ends_the_protected_mode() {
    let mut site = Site::simple();
    locked(&site.world).broken.image = true;
    site.submit(100, 1, 1024, 600);
    for _ in 0..400 {
        site.tick();
        if !site.plan().protected.is_empty() {
            break;
        }
    }
    assert_eq!(site.plan().protected.len(), 1);
    assert_eq!(site.servers(), 3, "the last three are being deleted");
    // One of them joins before its delete is done.
    let late = site.names()[0].clone();
    {
        let mut world = site.world();
        world.broken.image = false;
        let joins = world.now + 5;
        let server = world.servers.get_mut(&late).unwrap();
        server.gone_at = None;
        server.joins_at = Some(joins);
    }
    site.ticks(2);
    assert_eq!(site.plan().protected, []);
    site.until(150, "the jobs run", |world| world.unfinished() == 0);
}

#[test]
fn a_cloud_without_room_for_hours_is_tried_again_by_itself() {
    let mut site = Site::simple();
    locked(&site.world).broken.spawn = Some("No valid host was found. ".to_owned());
    site.submit(8, 1, 1024, 600);
    let mut made = 0;
    for _ in 0..600 {
        site.tick();
        made += site.created();
        assert_eq!(site.plan().protected, []);
    }
    assert!((20..=45).contains(&made), "{made} in ten hours");
    locked(&site.world).broken.spawn = None;
    site.until(90, "done", |world| world.unfinished() == 0);
}

#[test]
fn servers_in_error_are_deleted_and_back_off() {
    let mut site = Site::simple();
    locked(&site.world).broken.spawn = Some("No valid host was found. ".to_owned());
    site.submit(8, 1, 1024, 600);
    site.ticks(3);
    assert_eq!(site.servers(), 0, "{}", site.describe());
    site.ticks(2);
    let limit = |why: &Reason| matches!(why, Reason::Limited { .. });
    assert!(
        site.plan().groups[0].why.iter().any(limit),
        "{}",
        site.describe()
    );
    locked(&site.world).broken.spawn = None;
    site.until(40, "done", |world| world.unfinished() == 0);
}

#[test]
fn a_job_that_starts_between_look_and_drain_stops_the_drain() {
    let mut site = Site::simple();
    running(&mut site, 4, 300);
    site.until(12, "done", |world| world.unfinished() == 0);
    for _ in 0..12 {
        site.tick_while(&mut |world| {
            let mut world = locked(world);
            world.submit(1, 1, 1024, 70, false);
            world.advance(60);
        });
    }
    assert_eq!(site.servers(), 1);
    site.until(20, "gone in the end", |world| world.servers.is_empty());
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}

#[test]
fn a_schedd_that_does_not_answer_keeps_idle_nodes_up_for_its_grace() {
    let mut site = Site::simple();
    running(&mut site, 4, 300);
    site.until(12, "done", |world| world.unfinished() == 0);
    locked(&site.world).broken.schedd = true;
    site.ticks(55);
    assert_eq!(site.servers(), 1, "{}", site.describe());
    site.ticks(15);
    assert_eq!(
        site.servers(),
        0,
        "the startd's own check protects the jobs\n{}",
        site.describe()
    );
}

#[test]
fn a_cloud_that_does_not_answer_keeps_its_nodes_as_capacity() {
    let mut site = Site::simple();
    running(&mut site, 4, 1200);
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.submit(2, 1, 1024, 60);
    site.ticks(30);
    assert_eq!(site.servers(), 1);
    assert!(
        site.plan()
            .nodes
            .iter()
            .all(|node| node.why == Reason::CloudUnknown),
        "{}",
        site.describe()
    );
    locked(&site.world).broken.clouds.clear();
    site.until(12, "gone", |world| world.servers.is_empty());
}

#[test]
fn a_drain_of_somebody_else_is_not_ours_to_end() {
    let mut site = Site::simple();
    running(&mut site, 4, 300);
    site.until(12, "done", |world| world.unfinished() == 0);
    let machine = site.world().ads.values().next().unwrap().machine.clone();
    locked(&site.world).drain(&machine, "defrag").unwrap();
    site.ticks(30);
    assert_eq!(site.servers(), 1);
    assert_eq!(
        site.plan().nodes[0].why,
        Reason::DrainedByOther {
            drain_reason: "defrag".into()
        }
    );
    assert!(!"defrag".starts_with(&drain_mark(&site.policy.cluster)));
}

#[test]
fn a_server_that_ehos_did_not_make_is_never_touched() {
    let mut site = Site::simple();
    let foreign =
        locked(&site.world).create("blue", "ehos-v1-execute-old", "medium", Default::default());
    let other = [
        ("ehos_cluster", "pool-2"),
        ("ehos_role", "execute"),
        ("ehos_node", "x"),
    ];
    let other = other
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let other = locked(&site.world).create("blue", "ehos-v1-execute-other", "medium", other);
    running(&mut site, 12, 300);
    site.until(40, "ours are gone", |world| world.servers.len() == 2);
    site.ticks(60);
    assert_eq!(site.names().len(), 2);
    assert!(site.names().contains(&foreign) && site.names().contains(&other));
}

#[test]
fn a_node_that_was_switched_off_is_deleted_and_is_no_failure() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    let id = site.names()[0].clone();
    {
        let mut world = locked(&site.world);
        world.crash(&id);
        world.servers.get_mut(&id).unwrap().status = scaling::observation::ServerStatus::Shutoff;
    }
    site.until(8, "gone", |world| world.servers.is_empty());
    assert_eq!(site.state.node_types[0].failures, 0);
}

#[test]
fn a_server_deleted_behind_our_back_is_forgotten_when_seen_twice() {
    let mut site = Site::simple();
    running(&mut site, 4, 7200);
    let id = site.names()[0].clone();
    locked(&site.world).servers.remove(&id);
    site.tick();
    assert_eq!(site.plan().nodes[0].why, Reason::GoneFromCloud);
    assert_eq!(site.plan().nodes[0].decision, NodeDecision::Keep);
    // Its ad is as good as new for three of its update intervals: the list may be wrong.
    site.ticks(2);
    assert_eq!(site.plan().nodes[0].decision, NodeDecision::Keep);
    site.tick();
    assert_eq!(site.plan().nodes[0].decision, NodeDecision::Forget);
    site.tick();
    assert!(!site.world().ads.contains_key(&id), "its ad is taken out");
    assert!(
        !site
            .state
            .nodes
            .values()
            .any(|node| node.server_id.as_deref() == Some(&id))
    );
}

/// A cloud whose creates are answered with silence, whether they took effect or not.
struct NoAnswer<'a> {
    cloud: Box<dyn Cloud + 'a>,
    effect: bool,
}

impl Cloud for NoAnswer<'_> {
    fn name(&self) -> &str {
        self.cloud.name()
    }
    fn observe(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Failure> {
        self.cloud.observe(traces, deadline)
    }
    fn look(&self, server_id: &str, deadline: Deadline) -> Result<Option<ServerRecord>, Failure> {
        self.cloud.look(server_id, deadline)
    }
    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure> {
        if self.effect {
            self.cloud.perform(action, deadline)?;
        }
        Err(Failure {
            kind: FailureKind::Unknown,
            message: "no answer".to_owned(),
        })
    }
}

fn no_answer(mut site: Asked<'_>, effect: bool) -> Asked<'_> {
    let silent = |cloud| -> Box<dyn Cloud + '_> { Box::new(NoAnswer { cloud, effect }) };
    site.clouds = site.clouds.into_iter().map(silent).collect();
    site
}

#[test]
fn a_create_without_an_answer_is_found_by_its_intent_and_never_sent_again() {
    let mut site = Site::simple();
    site.between = Box::new(|site| no_answer(site, true));
    site.submit(12, 1, 1024, 300);
    site.tick();
    assert_eq!(site.servers(), 3);
    site.between = Box::new(|site| site);
    site.ticks(3);
    assert_eq!(site.servers(), 3, "{}", site.describe());
    assert!(
        site.state
            .nodes
            .values()
            .all(|node| !node.adopted && node.server_id.is_some())
    );
}

#[test]
fn an_intent_without_a_server_counts_for_a_while_and_then_lapses() {
    let mut site = Site::simple();
    site.between = Box::new(|site| no_answer(site, false));
    site.submit(4, 1, 1024, 300);
    site.tick();
    site.between = Box::new(|site| site);
    for _ in 0..4 {
        site.tick();
        assert_eq!(site.created(), 0, "it may still come\n{}", site.describe());
    }
    site.until(4, "a new one, with a new name", |world| {
        !world.servers.is_empty()
    });
    assert_eq!(site.servers(), 1);
    assert_eq!(site.policy.intent_grace, minutes(5));
}

#[test]
fn a_delete_that_does_not_finish_is_asked_again_and_is_no_capacity() {
    let mut site = Site::simple();
    running(&mut site, 4, 300);
    locked(&site.world).broken.deletes = true;
    site.until(12, "done", |world| world.unfinished() == 0);
    site.ticks(10);
    assert_eq!(
        site.plan().nodes[0].phase.as_str(),
        "deleting",
        "{}",
        site.describe()
    );
    site.submit(4, 1, 1024, 300);
    let mut again = 0;
    for _ in 0..8 {
        site.tick();
        let asked =
            |node: &&scaling::plan::NodeEntry| matches!(node.why, Reason::DeleteAgain { .. });
        again += site.plan().nodes.iter().filter(asked).count();
    }
    assert!(
        (1..=2).contains(&again),
        "asked again {again} times in 8 minutes"
    );
    locked(&site.world).broken.deletes = false;
    site.until(30, "done", |world| world.unfinished() == 0);
}

/// What one says who has never read this program.
const UNFORESEEN: [&str; 5] = [
    "Project 0123 is over a limit for [Resource class:PCPU is over limit of 8 due to current usage 8 and delta 2]",
    "Build of instance 9 aborted: Failed to allocate the network(s), not rescheduling.",
    "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance 9.",
    "Der Anbieter hat gerade keinen Platz.",
    "",
];

#[test]
fn no_fault_of_a_cloud_stops_a_kind_for_good() {
    for fault in UNFORESEEN {
        let mut site = Site::simple();
        locked(&site.world).broken.spawn = Some(fault.to_owned());
        site.submit(8, 1, 1024, 600);
        let mut made = 0;
        for _ in 0..600 {
            site.tick();
            made += site.created();
            assert_eq!(site.plan().protected, [], "{fault}");
        }
        assert!((20..=45).contains(&made), "{made} in ten hours: {fault}");
        locked(&site.world).broken.spawn = None;
        site.until(90, "done", |world| world.unfinished() == 0);
    }
}

#[test]
fn a_fault_that_speaks_of_the_image_protects_its_kind() {
    let mut site = Site::simple();
    let fault =
        "Build of instance 9 aborted: Image 77 is unacceptable: Unable to convert image to raw";
    locked(&site.world).broken.spawn = Some(fault.to_owned());
    site.submit(8, 1, 1024, 600);
    site.ticks(300);
    let protected = &site.plan().protected;
    assert_eq!((protected.len(), protected[0].failures), (1, 5));
}
