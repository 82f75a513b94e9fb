//! A node whose root forges ads: no other node ends by them, and honest demand is served.

use std::sync::Arc;

use scaling::observation::Observed;
use scaling::plan::{NodeDecision, plan};
use scaling::reason::Reason;
use simulation::JobState;
use simulation::engine::tick;

use crate::attacker::{ADDRESS, Attack, HostilePool, Lie};
use crate::site::{Site, running};

fn attack(site: &mut Site, attack: Option<Attack>) {
    let cluster = site.policy.cluster.clone();
    let drained = Arc::default();
    site.between = Box::new(move |mut site| {
        if let Some(attack) = attack {
            site.pool = Box::new(HostilePool::new(site.pool, attack, &cluster, &drained));
        }
        site
    });
}

const LIES: [Lie; 8] = [
    Lie::Drained,
    Lie::DrainedAlone,
    Lie::IdleAlone,
    Lie::Silenced,
    Lie::AllSilenced,
    Lie::OtherNode,
    Lie::Odd,
    Lie::Room,
];

#[test]
fn a_forged_ad_ends_no_node_that_runs_a_job() {
    for own_identities in [false, true] {
        for lie in LIES {
            let mut site = Site::simple();
            running(&mut site, 16, 3 * 3600);
            let lies = Attack {
                lie,
                victim: 0,
                own_identities,
            };
            attack(&mut site, Some(lies));
            for _ in 0..150 {
                site.tick();
                let plan = site.plan();
                assert_eq!(
                    plan.count(NodeDecision::Forget),
                    0,
                    "{lies:?}\n{}",
                    site.describe()
                );
            }
            let started_once = |site: &Site| site.world().jobs.iter().all(|job| job.starts == 1);
            assert!(started_once(&site), "{lies:?}\n{}", site.describe());
            // It ends, and nobody has to do anything.
            attack(&mut site, None);
            site.ticks(5);
            site.submit(4, 1, 1024, 600);
            site.until(90, "all is done", |world| {
                let done = |job: &_| matches!(job, JobState::Done(_));
                world.jobs.iter().all(|job| done(&job.state))
            });
            assert!(started_once(&site), "{lies:?}");
            site.until(60, "all servers gone", |world| world.servers.is_empty());
        }
    }
}

#[test]
fn a_forged_ad_is_told_with_both_addresses() {
    for (lie, words) in [
        (Lie::Drained, "two startds advertise this node"),
        (Lie::OtherNode, "ehos ignores this startd"),
    ] {
        let mut site = Site::simple();
        running(&mut site, 8, 3600);
        let lies = Attack {
            lie,
            victim: 1,
            own_identities: false,
        };
        attack(&mut site, Some(lies));
        site.tick();
        let told = site.plan().unknown_sources.iter().any(|one| {
            one.why.contains(words)
                && format!("{} {}", one.source, one.why).contains("aaa")
                && one.why.contains(ADDRESS)
                && one.why.matches(" at ").count() >= 2
        });
        assert!(told, "{lie:?}: {:?}", site.plan().unknown_sources);
        attack(&mut site, None);
        site.tick();
        assert_eq!(site.plan().unknown_sources, []);
    }
}

#[test]
fn room_that_one_node_makes_up_is_not_counted() {
    let mut site = Site::simple();
    running(&mut site, 4, 3 * 3600);
    let lies = Attack {
        lie: Lie::Room,
        victim: 0,
        own_identities: true,
    };
    attack(&mut site, Some(lies));
    site.submit(8, 1, 1024, 3 * 3600);
    site.until(15, "the jobs run", |world| {
        let waits = |job: &JobState| matches!(job, JobState::Idle(_));
        !world.jobs.iter().any(|job| waits(&job.state))
    });
}

#[test]
fn a_node_whose_ads_are_hidden_from_the_first_on_keeps_its_job() {
    for lie in [
        Lie::Silenced,
        Lie::AllSilenced,
        Lie::DrainedAlone,
        Lie::IdleAlone,
    ] {
        for own_identities in [false, true] {
            let mut site = Site::simple();
            let lies = Attack {
                lie,
                victim: 0,
                own_identities,
            };
            attack(&mut site, Some(lies));
            site.submit(8, 1, 1024, 2 * 3600);
            site.ticks(100);
            let world = site.world();
            let kept = world.jobs.iter().all(|job| job.starts == 1);
            drop(world);
            assert!(kept, "{lies:?}\n{}", site.describe());
        }
    }
}

#[test]
fn a_node_whose_ads_are_hidden_keeps_its_job_while_its_schedd_does_not_answer() {
    for lie in [
        Lie::Silenced,
        Lie::AllSilenced,
        Lie::DrainedAlone,
        Lie::IdleAlone,
    ] {
        for own_identities in [false, true] {
            let mut site = Site::simple();
            let lies = Attack {
                lie,
                victim: 0,
                own_identities,
            };
            attack(&mut site, Some(lies));
            site.submit(8, 1, 1024, 2 * 3600);
            site.ticks(14);
            site.world().broken.schedd = true;
            site.ticks(55);
            let kept = site.world().jobs.iter().all(|job| job.starts == 1);
            assert!(kept, "{lies:?}\n{}", site.describe());
            assert_eq!(
                site.plan().count(NodeDecision::Delete),
                0,
                "{}",
                site.describe()
            );
        }
    }
}

#[test]
fn a_failed_boot_is_counted_at_once_and_waits_for_a_schedd_no_longer_than_unknown_grace() {
    for comes_back in [false, true] {
        let mut site = Site::simple();
        site.world().broken.image = true;
        site.submit(1, 1, 1024, 3600);
        site.until(5, "a server is made", |world| !world.servers.is_empty());
        let name = site.names()[0].clone();
        let there = |site: &Site| site.names().contains(&name);
        site.world().broken.schedd = true;
        site.ticks(20);
        assert!(there(&site), "{}", site.describe());
        let failed = site.state.node_types.iter().any(|kind| kind.failures == 1);
        assert!(failed, "{:?}", site.state.node_types);
        assert!(matches!(site.plan().nodes[0].why, Reason::Braked { .. }));
        site.world().broken.schedd = !comes_back;
        site.ticks(if comes_back { 3 } else { 45 });
        assert!(!there(&site), "{comes_back}: {}", site.describe());
    }
}

#[test]
fn the_order_of_ads_makes_no_difference_to_what_is_told_of_them() {
    for lie in LIES {
        let mut site = Site::simple();
        let lies = |lie, own_identities| Attack {
            lie,
            victim: 0,
            own_identities,
        };
        // The collector shows the identity of its node, and then that of all nodes.
        attack(&mut site, Some(lies(Lie::Drained, true)));
        running(&mut site, 8, 3600);
        attack(&mut site, Some(lies(lie, false)));
        let before = site.state.clone();
        let ticked = tick(
            &site.world,
            &site.policy,
            &before,
            60,
            &*site.between,
            &mut |_| {},
        );
        let mut observation = ticked.observation;
        if let Observed::Known(collector) = &mut observation.pool.collector {
            collector.startds.reverse();
        }
        let again = plan(&observation, &site.policy, &before);
        assert_eq!(
            again.unknown_sources, ticked.plan.unknown_sources,
            "{lie:?}"
        );
        assert_eq!(again, ticked.plan, "{lie:?}");
    }
}

#[test]
fn ads_that_are_taken_away_buy_no_nodes_without_end() {
    let mut site = Site::simple();
    site.policy.nodes_max = 60;
    running(&mut site, 32, 4 * 3600);
    let before = site.servers();
    let lies = Attack {
        lie: Lie::AllSilenced,
        victim: 0,
        own_identities: true,
    };
    attack(&mut site, Some(lies));
    site.submit(400, 1, 1024, 600);
    site.ticks(30);
    let made = site.servers() - before;
    site.ticks(120);
    assert!(site.servers() - before <= made, "{}", site.describe());
    assert!(made <= 20, "{made}: {}", site.describe());
    let stops = site.plan().brakes.iter().any(|brake| brake.stops_creates());
    assert!(stops, "{}", site.describe());
    // No person is needed for it to go on.
    attack(&mut site, None);
    site.until(180, "all is done", |world| world.unfinished() == 0);
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}
