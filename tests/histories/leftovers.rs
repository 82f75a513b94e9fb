//! What servers leave behind: ports, volumes and floating IPs of ours go, others stay.

use scaling::action::FailureKind;
use scaling::leftover::{LeftoverKind, MAX_SERVERS, master_floating_ip_mark};
use scaling::observation::{
    METADATA_CONDOR_HOST, METADATA_ROLE, NodeId, builder_metadata, execute_metadata,
    master_metadata,
};
use scaling::plan::{LeftoverEntry, NodeDecision};
use scaling::reason::Reason;
use scaling::seconds::Seconds;
use scaling::state::State;
use simulation::{JobState, SimulatedThing, World, locked};

use crate::site::{Site, minutes, running};

fn put(site: &Site, id: &str, kind: LeftoverKind, server: Option<&str>, mark: &str) {
    let thing = SimulatedThing {
        kind,
        cloud: "blue".to_owned(),
        server: server.map(str::to_owned),
        mark: mark.to_owned(),
        stays: true,
    };
    locked(&site.world).things.insert(id.to_owned(), thing);
}

/// A node that ran a job and has gone; deletes leave port and volume behind.
fn leaking() -> (Site, String) {
    let mut site = Site::simple();
    locked(&site.world).broken.leaks = true;
    running(&mut site, 1, 60);
    let id = site.names().remove(0);
    site.until(30, "the node is gone", |world| world.servers.is_empty());
    (site, id)
}

fn lines(site: &Site) -> Vec<(&str, NodeDecision, Reason)> {
    let line = |line: &LeftoverEntry| (line.kind.name(), line.decision, line.why.clone());
    let lines = site.plan().leftovers.iter();
    lines.map(line).collect()
}

fn things(world: &World) -> Vec<String> {
    world.things.keys().cloned().collect()
}

#[test]
fn what_a_server_leaves_behind_goes_when_two_looks_have_found_it() {
    let (mut site, id) = leaking();
    assert_eq!(things(&site.world()).len(), 2, "port and volume");
    // This pool's, but of a server that is somebody else's; and somebody's who named a volume alike.
    put(&site, "x-port", LeftoverKind::Port, Some("somebody-1"), "");
    put(
        &site,
        "x-volume",
        LeftoverKind::Volume,
        Some("somebody-2"),
        "somebody-2-blank-vol",
    );
    put(
        &site,
        "x-named",
        LeftoverKind::Port,
        Some(&id),
        "somebody's",
    );
    site.until(8, "they are seen", |world| world.things.len() == 3);
    let deletes = |line: &LeftoverEntry| {
        line.decision == NodeDecision::Delete
            && line.why
                == Reason::LeftBehind {
                    seconds: Seconds(60),
                }
            && line.server.as_deref() == Some(&*id)
            && line.cloud == "blue"
    };
    assert!(
        site.plan().leftovers.len() == 2 && site.plan().leftovers.iter().all(deletes),
        "{:?}",
        site.plan().leftovers
    );
    site.ticks(3);
    assert!(site.plan().leftovers.is_empty() && site.state.leftovers.is_empty());
    assert_eq!(things(&site.world()), ["x-named", "x-port", "x-volume"]);
}

#[test]
fn one_look_is_not_enough_and_what_comes_and_goes_is_seen_anew() {
    let (mut site, _) = leaking();
    let once = |site: &Site| {
        let once = |(_, decision, why): &(_, _, _)| {
            *decision == NodeDecision::Keep && *why == Reason::LeftoverSeenOnce
        };
        lines(site).len() == 2 && lines(site).iter().all(once)
    };
    let mut ticks = 0;
    while lines(&site).is_empty() {
        ticks += 1;
        assert!(ticks < 8, "{}", site.describe());
        site.tick();
    }
    assert!(once(&site), "{:?}", lines(&site));
    // Gone for one look: a server's own clean-up that is under way, say.
    let things = std::mem::take(&mut locked(&site.world).things);
    site.tick();
    assert!(lines(&site).is_empty() && site.state.leftovers.is_empty());
    locked(&site.world).things = things;
    site.tick();
    assert!(once(&site), "{:?}", lines(&site));
    site.tick();
    assert_eq!(site.world().things.len(), 0);
}

#[test]
fn what_is_not_seen_is_unknown_and_nothing_else_is() {
    let (mut site, _) = leaking();
    locked(&site.world).broken.things = true;
    site.submit(1, 1, 1024, 60);
    site.until(5, "a node is made", |world| !world.servers.is_empty());
    let unseen = &site.plan().unknown_sources;
    assert_eq!(unseen.len(), 1, "{unseen:?}");
    assert_eq!(unseen[0].source.to_string(), "leftovers of cloud blue");
    site.until(30, "nodes come and go", |world| world.servers.is_empty());
    // Longer than ads are remembered to mean nothing.
    site.ticks(180);
    assert!(lines(&site).is_empty());
    assert_eq!(
        site.state.departed.len(),
        2,
        "they are to be asked about yet"
    );
    locked(&site.world).broken.things = false;
    site.ticks(2);
    assert_eq!(site.world().things.len(), 0, "{}", site.describe());
    site.ticks(2);
    assert_eq!(site.state.departed.len(), 0);
}

#[test]
fn what_cannot_be_removed_is_remembered_and_asked_for_again_after_delete_timeout() {
    let (mut site, _) = leaking();
    site.policy.delete_timeout = minutes(5);
    // They come back as often as they are removed.
    let things = site.world().things.clone();
    let mut asked = Vec::new();
    for minute in 0..180 {
        site.tick();
        locked(&site.world).things.extend(things.clone());
        if lines(&site)
            .iter()
            .any(|(_, decision, _)| *decision == NodeDecision::Delete)
        {
            asked.push(minute);
        }
    }
    let between: Vec<i32> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(
        between.len() > 20 && between.iter().all(|minutes| *minutes == 5),
        "{asked:?}"
    );
    site.ticks(5);
    site.until(6, "gone", |world| world.things.is_empty());
    site.ticks(2);
    assert!(site.state.leftovers.is_empty() && site.state.departed.is_empty());
}

#[test]
fn removals_take_what_max_actions_leaves() {
    let mut site = Site::simple();
    locked(&site.world).broken.leaks = true;
    site.policy.nodes_max = 4;
    locked(&site.world).broken.things = true;
    running(&mut site, 16, 600);
    site.until(40, "the nodes are gone", |world| world.servers.is_empty());
    assert_eq!(site.world().things.len(), 8);
    locked(&site.world).broken.things = false;
    site.policy.max_actions = 3;
    let mut removed = Vec::new();
    for _ in 0..8 {
        let before = site.world().things.len();
        site.tick();
        removed.push(before - site.world().things.len());
    }
    assert_eq!(removed.iter().sum::<usize>(), 8);
    assert_eq!(removed.iter().max(), Some(&3));
}

#[test]
fn the_servers_that_are_asked_about_are_bounded_and_the_unasked_go_first() {
    let (site, id) = leaking();
    let mut state = site.state.clone();
    let (_, departed) = state.departed.pop_first().unwrap();
    assert_eq!(departed.server_id.as_deref(), Some(&*id));
    for number in 0..500 {
        let mut departed = departed.clone();
        departed.server_id = Some(format!("s-{number}"));
        departed.searched = number % 10 != 0;
        let node = scaling::observation::NodeId(format!("n-{number}").into());
        state.departed.insert(node, departed);
    }
    let traces = state.traces("blue");
    assert_eq!(traces.servers.len(), MAX_SERVERS);
    let unasked = (0..50).map(|tens| format!("s-{}", tens * 10));
    assert!(unasked.into_iter().all(|id| traces.servers.contains(&id)));
    assert!(state.traces("green").servers.is_empty(), "another cloud's");
}

#[test]
fn a_server_that_is_there_after_all_keeps_what_is_its_own() {
    let mut site = Site::simple();
    running(&mut site, 1, 3600);
    let id = site.names().remove(0);
    // As if it had been missing from the list for long, and its startd unheard.
    let node = site.state.nodes.keys().next().unwrap().clone();
    let mut state = site.state.clone();
    state.bury(&node);
    assert!(state.traces("blue").servers.contains(&id));
    let plan = {
        let world = &site.world;
        let real = simulation::backends(world, &site.policy);
        let deadline = system::deadline::Deadline::within(minutes(1));
        let at = locked(world).at();
        let (observation, _) = tick::observe::observe(&real, &site.policy, &state, at, deadline);
        let view = observation.clouds["blue"].known().unwrap();
        assert_eq!(view.leftovers.known().unwrap().ours.len(), 1, "its port");
        scaling::plan::plan(&observation, &site.policy, &state)
    };
    assert!(plan.leftovers.is_empty(), "{:?}", plan.leftovers);
    site.state = state;
    site.ticks(5);
    assert_eq!(site.world().things.len(), 2);
    let runs = |world: &World| matches!(world.jobs[0].state, JobState::Running { .. });
    assert!(runs(&site.world()));
}

#[test]
fn without_a_memory_nothing_is_known_to_be_ours() {
    let (mut site, _) = leaking();
    site.state = State::default();
    site.ticks(20);
    assert!(lines(&site).is_empty());
    assert_eq!(site.world().things.len(), 2);
}

#[test]
fn a_builder_leaves_things_behind_too() {
    let mut site = Site::simple();
    locked(&site.world).broken.leaks = true;
    let node = scaling::observation::NodeId("b-1".into());
    let metadata = scaling::observation::builder_metadata("pool-1", &node, minutes(5));
    locked(&site.world).create_signed("blue", "ehos-v1-builder-b-1", "medium", metadata);
    site.until(12, "it is gone", |world| world.servers.is_empty());
    site.until(4, "they are gone", |world| world.things.is_empty());
}

#[test]
fn a_floating_ip_of_a_master_that_is_gone_is_given_back_after_an_hour() {
    let mut site = Site::simple();
    let mark = master_floating_ip_mark("pool-1");
    put(&site, "ours", LeftoverKind::FloatingIp, None, &mark);
    let others = master_floating_ip_mark("somebody");
    put(&site, "x-other", LeftoverKind::FloatingIp, None, &others);
    put(
        &site,
        "y-led",
        LeftoverKind::FloatingIp,
        Some("a-port"),
        &mark,
    );
    site.ticks(60);
    let unused = Reason::FloatingIpUnused {
        seconds: Seconds(59 * 60),
        unused_after_seconds: Seconds(3600),
    };
    assert_eq!(lines(&site), [("floating IP", NodeDecision::Keep, unused)]);
    site.tick();
    assert_eq!(things(&site.world()), ["x-other", "y-led"]);
}

#[test]
fn a_master_that_has_none_yet_may_need_it() {
    let mut site = Site::simple();
    let mark = master_floating_ip_mark("pool-1");
    put(&site, "ours", LeftoverKind::FloatingIp, None, &mark);
    let master = locked(&site.world).create("blue", "cm", "medium", master_metadata("pool-1"));
    site.ticks(90);
    let kept = Reason::FloatingIpForMaster;
    assert_eq!(lines(&site), [("floating IP", NodeDecision::Keep, kept)]);
    locked(&site.world).servers.remove(&master);
    site.tick();
    assert_eq!(site.world().things.len(), 0, "{}", site.describe());
}

/// Where each floating IP leads.
fn led(site: &Site) -> Vec<(String, Option<String>)> {
    let world = site.world();
    let ips = world.things.iter();
    let ips = ips.filter(|(_, thing)| thing.kind == LeftoverKind::FloatingIp);
    ips.map(|(id, thing)| (id.clone(), thing.server.clone()))
        .collect()
}

fn execute_servers(site: &Site) -> Vec<String> {
    let world = site.world();
    let nodes = world.servers.values().filter(|server| {
        let role = server.metadata.get(METADATA_ROLE);
        role.is_some_and(|role| role == "execute")
    });
    nodes.map(|server| server.id.clone()).collect()
}

#[test]
fn a_floating_ip_that_a_cloud_gave_to_a_node_is_taken_off_it_with_the_key_alone() {
    let mut site = Site::simple();
    locked(&site.world).broken.floating_ips = true;
    let builder = builder_metadata("pool-1", &NodeId("b-1".into()), minutes(600));
    for (name, metadata) in [
        ("cm", master_metadata("pool-1")),
        ("builder", builder),
        ("somebody-s", Default::default()),
        (
            "another-pool-s",
            execute_metadata("pool-2", &NodeId("n-1".into()), "medium", "image"),
        ),
    ] {
        locked(&site.world).create("blue", name, "medium", metadata);
    }
    let before = led(&site);
    running(&mut site, 1, 36_000);
    site.ticks(3);
    assert!(site.plan().floating_ips.is_empty() && site.plan().actions.is_empty());
    assert!(led(&site).iter().all(|(_, server)| server.is_some()));

    site.policy.purge_floating_ips = true;
    site.tick();
    let [line] = site.plan().floating_ips.as_slice() else {
        panic!("{:?}", site.plan().floating_ips);
    };
    assert_eq!(
        (line.decision, &line.why),
        (NodeDecision::Disassociate, &Reason::FloatingIpOfNode)
    );
    let ip = format!("floating-ip-of-{}", line.server);
    assert_eq!((&line.id, &*line.cloud), (&ip, "blue"));
    assert_eq!(site.plan().actions.len(), 1);
    assert_eq!(site.plan().actions[0].verb(), "disassociate");
    assert_eq!(site.plan().actions[0].node(), &line.node);
    let mut after = led(&site);
    assert!(
        after.contains(&(ip.clone(), None)),
        "there, and leads nowhere"
    );
    after.retain(|(id, _)| *id != ip);
    assert_eq!(after, before, "all others lead where they did");
    site.ticks(12);
    assert!(site.plan().floating_ips.is_empty() && site.plan().actions.is_empty());
    // It bears no mark: whether it is ours nobody knows.
    let unmarked = |(_, decision, why): &(_, _, _)| {
        *decision == NodeDecision::Keep && matches!(why, Reason::LeftoverUnmarked { .. })
    };
    assert!(lines(&site).len() == 1 && lines(&site).iter().all(unmarked));
    assert!(led(&site).contains(&(ip, None)));
    let runs = |world: &World| matches!(world.jobs[0].state, JobState::Running { .. });
    assert!(runs(&site.world()));
}

#[test]
fn floating_ips_are_taken_off_within_what_max_actions_leaves() {
    let mut site = Site::simple();
    locked(&site.world).broken.floating_ips = true;
    running(&mut site, 16, 36_000);
    assert_eq!(execute_servers(&site).len(), 4);
    site.policy.purge_floating_ips = true;
    site.policy.max_actions = 3;
    site.tick();
    let fates: Vec<NodeDecision> = site
        .plan()
        .floating_ips
        .iter()
        .map(|ip| ip.decision)
        .collect();
    assert_eq!(
        fates,
        [
            NodeDecision::Disassociate,
            NodeDecision::Disassociate,
            NodeDecision::Disassociate,
            NodeDecision::Keep
        ]
    );
    let why = &site.plan().floating_ips[3].why;
    assert_eq!(*why, Reason::MaxActions { max_actions: 3 });
    site.tick();
    assert_eq!(site.plan().floating_ips.len(), 1);
    assert!(led(&site).iter().all(|(_, server)| server.is_none()));
}

#[test]
fn a_node_of_another_central_manager_keeps_its_floating_ip() {
    let mut site = Site::simple();
    locked(&site.world).broken.floating_ips = true;
    running(&mut site, 1, 36_000);
    let id = execute_servers(&site).remove(0);
    site.policy.purge_floating_ips = true;
    site.policy.condor_host = Some("192.0.2.9".to_owned());
    let joins = |site: &Site, host: &str| {
        let mut world = locked(&site.world);
        let metadata = &mut world.servers.get_mut(&id).unwrap().metadata;
        metadata.insert(METADATA_CONDOR_HOST.to_owned(), host.to_owned());
    };
    joins(&site, "192.0.2.8");
    site.ticks(3);
    assert!(site.plan().floating_ips.is_empty());
    assert!(led(&site).iter().all(|(_, server)| server.is_some()));
    joins(&site, "192.0.2.9");
    site.tick();
    assert!(led(&site).iter().all(|(_, server)| server.is_none()));
}

#[test]
fn what_has_changed_since_the_plan_keeps_its_floating_ip() {
    let mut site = Site::simple();
    locked(&site.world).broken.floating_ips = true;
    running(&mut site, 1, 36_000);
    let id = execute_servers(&site).remove(0);
    let ip = format!("floating-ip-of-{id}");
    let other = locked(&site.world).create("blue", "cm", "medium", master_metadata("pool-1"));
    site.policy.purge_floating_ips = true;
    let changed = |site: &Site| {
        let (plan, outcomes) = site.last.as_ref().unwrap();
        let failures = outcomes
            .iter()
            .filter_map(|outcome| outcome.result.as_ref().err());
        let kinds: Vec<_> = failures.map(|failure| failure.kind).collect();
        plan.floating_ips.len() == 1 && kinds == [FailureKind::Changed]
    };
    // Its server is no node any more.
    site.tick_while(&mut |world| {
        let mut world = locked(world);
        let metadata = &mut world.servers.get_mut(&id).unwrap().metadata;
        metadata.insert(METADATA_ROLE.to_owned(), "master".to_owned());
    });
    assert!(changed(&site), "{}", site.describe());
    let mut world = locked(&site.world);
    let metadata = &mut world.servers.get_mut(&id).unwrap().metadata;
    metadata.insert(METADATA_ROLE.to_owned(), "execute".to_owned());
    drop(world);
    // Somebody has led it to the central manager.
    site.tick_while(&mut |world| {
        locked(world).things.get_mut(&ip).unwrap().server = Some(other.clone());
    });
    assert!(changed(&site), "{}", site.describe());
    site.ticks(2);
    assert!(site.plan().floating_ips.is_empty());
    assert!(led(&site).iter().all(|(_, server)| server.is_some()));
}
