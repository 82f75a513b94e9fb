//! Tokens end: nodes are replaced before, and one that is still there afterwards keeps its jobs.

use scaling::node::JobLeft;
use scaling::plan::{NodeDecision, NodeEntry};
use scaling::reason::Reason;
use scaling::schedule::Spare;
use scaling::seconds::Seconds;
use scaling::state::State;
use simulation::{JobState, World, locked};

use crate::site::{Site, cloud, minutes, running, scenario};

const HOUR: u64 = 3600;

/// Nodes of 4 cores whose tokens are good for two hours, and are drained half an hour before.
fn two_hours() -> Site {
    let mut scenario = scenario(&[("blue", cloud(&[("medium", 4, 8192)]))]);
    scenario.token_lifetime_seconds = Some(2 * HOUR);
    let mut site = Site::new(scenario);
    site.policy.token_renew_before = minutes(30);
    site
}

fn age(world: &World) -> u64 {
    let servers = world.servers.values();
    servers
        .map(|server| world.now - server.created)
        .max()
        .unwrap_or(0)
}

fn line(site: &Site) -> &NodeEntry {
    &site.plan().nodes[0]
}

#[test]
fn idle_nodes_are_replaced_before_their_tokens_end() {
    let mut site = two_hours();
    site.policy.nodes_min = 2;
    site.policy.nodes_spare = Spare::Count(1);
    site.ticks(10);
    let first = site.names();
    assert_eq!(first.len(), 2);
    while site.plan().count(NodeDecision::Drain) == 0 {
        assert!(age(&site.world()) < 2 * HOUR, "{}", site.describe());
        site.tick();
    }
    let ends = |line: &&NodeEntry| matches!(line.why, Reason::DrainTokenEnds { token_left_seconds, .. } if token_left_seconds <= Seconds(1800));
    let drained = site.plan().nodes.iter().filter(ends).count();
    // In one tick they go and others are made: they count neither for nodes_min nor for nodes_spare.
    assert_eq!((drained, site.created()), (2, 2), "{}", site.describe());
    let told = &site.plan().notices;
    assert!(
        told.iter().any(|told| told.contains("whose token expires")),
        "{told:?}"
    );
    for _ in 0..20 {
        site.tick();
        assert_eq!(
            site.plan().count(NodeDecision::CancelDrain),
            0,
            "{}",
            site.describe()
        );
    }
    let now = site.names();
    assert_eq!(now.len(), 2, "{}", site.describe());
    assert!(!now.iter().any(|name| first.contains(name)));
}

#[test]
fn drains_for_tokens_keep_to_max_actions_and_brakes() {
    let mut site = two_hours();
    site.policy.nodes_min = 5;
    site.policy.max_actions = 2;
    site.ticks(20);
    assert_eq!(site.servers(), 5);
    while age(&site.world()) < HOUR + HOUR / 2 {
        site.tick();
    }
    locked(&site.world).broken.schedd = true;
    site.ticks(5);
    assert_eq!(
        site.plan().count(NodeDecision::Drain),
        0,
        "{}",
        site.describe()
    );
    let braked = |line: &NodeEntry| matches!(line.why, Reason::Braked { .. });
    assert!(site.plan().nodes.iter().any(braked), "{}", site.describe());
    locked(&site.world).broken.schedd = false;
    site.ticks(4);
    let most = (0..20)
        .map(|_| site.tick().count(NodeDecision::Drain))
        .max();
    assert!(most <= Some(2), "{most:?}");
}

#[test]
fn a_busy_node_whose_token_ends_gets_no_new_demand() {
    let mut site = two_hours();
    running(&mut site, 1, 3 * HOUR);
    while age(&site.world()) < HOUR + HOUR / 2 {
        site.tick();
    }
    assert_eq!(site.servers(), 1);
    {
        let mut world = locked(&site.world);
        world.broken.negotiator = true;
        world.submit(1, 1, 1024, 60, false);
    }
    site.ticks(5);
    assert_eq!(site.servers(), 2, "{}", site.describe());
    let new = |why: &Reason| matches!(why, Reason::NewNodes { .. } | Reason::FitsComing { .. });
    let whys = &site.plan().groups[0].why;
    assert!(whys.iter().all(new), "{whys:?}");
}

/// One job of four hours on a node; half an hour after its token has ended the collector restarts.
fn cut_by_its_token(site: &mut Site) {
    running(site, 1, 4 * HOUR);
    while age(&site.world()) < 2 * HOUR + HOUR / 2 {
        site.tick();
    }
    assert_eq!(
        line(site).phase.as_str(),
        "busy",
        "it stays until the collector restarts"
    );
    locked(&site.world).restart_collector();
    site.ticks(10);
    assert!(site.world().ads.is_empty(), "it cannot come back");
}

fn job_is_done(world: &World) -> bool {
    matches!(world.jobs[0].state, JobState::Done(_)) && world.jobs[0].starts == 1
}

#[test]
fn a_node_that_cannot_come_back_keeps_its_job_and_goes_afterwards() {
    let mut site = two_hours();
    cut_by_its_token(&mut site);
    let listed = |line: &NodeEntry| {
        matches!(
            line.why,
            Reason::Unreachable {
                job_left: JobLeft::Listed,
                ..
            }
        )
    };
    while !job_is_done(&site.world()) {
        site.tick();
        assert_eq!(site.servers(), 1, "{}", site.describe());
        assert_eq!(
            line(&site).phase.as_str(),
            "unreachable",
            "{}",
            site.describe()
        );
        assert!(
            listed(line(&site)) || job_is_done(&site.world()),
            "{}",
            site.describe()
        );
    }
    let took = site.until(80, "it goes", |world| world.servers.is_empty());
    assert!(
        (58..=66).contains(&took),
        "lost_job_timeout after the job: {took} min"
    );
}

#[test]
fn while_a_schedd_does_not_answer_an_unreachable_node_stays() {
    let mut site = two_hours();
    site.policy.schedd_grace = minutes(1);
    cut_by_its_token(&mut site);
    locked(&site.world).broken.schedd = true;
    site.ticks(400);
    assert_eq!(site.servers(), 1, "{}", site.describe());
    let unknown = |why: &Reason| {
        matches!(
            why,
            Reason::Unreachable {
                job_left: JobLeft::Unknown,
                ..
            }
        )
    };
    assert!(unknown(&line(&site).why), "{}", site.describe());
    locked(&site.world).broken.schedd = false;
    // What was not said while it was away does not count.
    site.ticks(55);
    assert_eq!(site.servers(), 1, "{}", site.describe());
    site.until(15, "it goes", |world| world.servers.is_empty());
}

#[test]
fn a_claim_that_may_be_another_schedds_is_left_until_an_operator_knows() {
    let mut site = two_hours();
    crate::suspicions::see_pool(&mut site, |view| {
        for schedd in view.schedds.values_mut() {
            if let scaling::observation::Observed::Known(schedd) = schedd {
                schedd.running_on.clear();
            }
        }
    });
    cut_by_its_token(&mut site);
    site.ticks(600);
    assert!(job_is_done(&site.world()));
    assert_eq!(site.servers(), 1, "{}", site.describe());
    let not_asked = |why: &Reason| {
        matches!(
            why,
            Reason::Unreachable {
                job_left: JobLeft::NotAsked,
                ..
            }
        )
    };
    assert!(not_asked(&line(&site).why), "{}", site.describe());
    site.policy.trust_silence = true;
    site.ticks(2);
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn a_lost_state_does_not_cost_the_job_of_an_unreachable_node() {
    let mut site = two_hours();
    cut_by_its_token(&mut site);
    site.state = State::default();
    site.tick();
    site.state.trust_adopted();
    site.ticks(600);
    assert!(job_is_done(&site.world()));
    assert_eq!(
        line(&site).phase.as_str(),
        "unreachable",
        "{}",
        site.describe()
    );
    site.policy.trust_silence = true;
    site.ticks(2);
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn unreachable_nodes_do_not_stop_the_deletes_of_others() {
    let mut site = two_hours();
    site.policy.nodes_max = 20;
    running(&mut site, 20, 6 * HOUR);
    while age(&site.world()) < 2 * HOUR + 600 {
        site.tick();
    }
    locked(&site.world).restart_collector();
    site.submit(1, 1, 1024, 60);
    site.until(30, "the short job is done", |world| {
        matches!(world.jobs[20].state, JobState::Done(_))
    });
    let nodes = site.servers();
    site.until(30, "its node goes", |world| world.servers.len() < nodes);
    assert_eq!(site.plan().brakes, [], "{}", site.describe());
}
