//! Two central managers of one pool, each with an ehos and a state of its own: one acts, and the other takes over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use scaling::high_availability::Standby;
use scaling::observation::{CentralManagers, NegotiatorAd, Observed};
use scaling::reason::Reason;
use scaling::state::State;

use crate::site::{Site, cloud, scenario};
use crate::suspicions::see_pool;

/// The two take turns; each looks every minute.
const TURN: u64 = 30;
const UPDATES: Duration = Duration::from_secs(60);
/// Three missed updates, `tick_timeout` and `intent_grace`.
const TAKEOVER: u64 = 180 + 100 + 300;

/// The negotiator of one host: since when it runs, and when it was last heard of if it crashed.
#[derive(Clone, Copy)]
struct Negotiator {
    host: usize,
    since: u64,
    crashed: Option<u64>,
}

struct Pair {
    site: Site,
    states: [State; 2],
    negotiators: Vec<Negotiator>,
    view: Arc<Mutex<CentralManagers>>,
    turn: usize,
    /// The hosts that acted, in order.
    acted: Vec<usize>,
}

impl Pair {
    fn new() -> Pair {
        let mut site = Site::new(scenario(&[("blue", cloud(&[("medium", 4, 8192)]))]));
        site.policy.max_unproven = 20;
        let view = Arc::new(Mutex::new(CentralManagers {
            update_interval: UPDATES,
            negotiators: Vec::new(),
        }));
        let shown = Arc::clone(&view);
        see_pool(&mut site, move |pool| {
            pool.central_managers = Some(Observed::Known(shown.lock().unwrap().clone()));
        });
        Pair {
            site,
            states: [State::default(), State::default()],
            negotiators: vec![Negotiator {
                host: 0,
                since: 0,
                crashed: None,
            }],
            view,
            turn: 0,
            acted: Vec::new(),
        }
    }

    fn now(&self) -> u64 {
        self.site.world().now
    }

    /// HAD starts the negotiator on the other host. After a crash the ad of the former one stays; else it is gone.
    fn hand_over(&mut self, is_crash: bool) {
        let now = self.now();
        let active = self.negotiators.last().unwrap().host;
        match is_crash {
            true => self.negotiators.last_mut().unwrap().crashed = Some(now),
            false => self.negotiators.clear(),
        }
        self.negotiators.retain(|one| one.host == active);
        self.negotiators.push(Negotiator {
            host: 1 - active,
            since: now,
            crashed: None,
        });
    }

    fn tick(&mut self) {
        let host = self.turn % 2;
        self.turn += 1;
        let now = self.now() + TURN;
        let ad = |one: &Negotiator| NegotiatorAd {
            machine: format!("cm{}", one.host + 1),
            is_here: one.host == host,
            heard_ago: Duration::from_secs(one.crashed.map_or(5, |at| now - at)),
            up_for: Duration::from_secs(now - one.since),
        };
        self.view.lock().unwrap().negotiators = self.negotiators.iter().map(ad).collect();
        std::mem::swap(&mut self.site.state, &mut self.states[host]);
        let standby = self.site.tick_after(TURN).standby.clone();
        std::mem::swap(&mut self.site.state, &mut self.states[host]);
        let (plan, outcomes) = self.site.last.as_ref().unwrap();
        match standby {
            None => self.acted.push(host),
            Some(_) => {
                assert!(
                    outcomes.is_empty() && plan.actions.is_empty(),
                    "{outcomes:?}"
                );
                assert!(plan.count(scaling::plan::NodeDecision::Create) == 0);
            }
        }
    }

    fn ticks(&mut self, count: usize) {
        (0..count).for_each(|_| self.tick());
    }

    fn ran(&self) -> usize {
        let world = self.site.world();
        let done =
            |job: &&simulation::SimulatedJob| matches!(job.state, simulation::JobState::Done(_));
        world.jobs.iter().filter(done).count()
    }
}

/// A take-over at every moment of a ramp, graceful and by a crash: no node too many, no job lost, all nodes go.
#[test]
fn a_take_over_at_any_moment_creates_nothing_twice_and_ends_no_job() {
    for is_crash in [false, true] {
        for before in 10..26 {
            let mut pair = Pair::new();
            pair.ticks(14);
            pair.site.submit(6, 4, 4096, 2400);
            pair.ticks(before - 9);
            pair.hand_over(is_crash);
            pair.ticks(160);
            let text = format!("crash {is_crash}, {before}: {}", pair.site.describe());
            assert_eq!(pair.site.most_servers, 6, "{text}");
            assert_eq!((pair.ran(), pair.site.servers()), (6, 0), "{text}");
            // Each in one piece: the first, then the second.
            assert!(pair.acted.is_sorted(), "{:?}", pair.acted);
            assert!(pair.acted.contains(&0) && pair.acted.contains(&1));
        }
    }
}

#[test]
fn the_other_says_who_acts_and_why_it_waits() {
    let mut pair = Pair::new();
    pair.ticks(12);
    assert!(pair.acted.contains(&0), "{:?}", pair.site.plan().standby);
    pair.site.submit(1, 4, 4096, 6000);
    pair.ticks(10);
    // The last tick is the second host's.
    let plan = pair.site.plan();
    assert!(
        matches!(&plan.standby, Some(Standby::ActiveElsewhere { central_manager, .. }) if central_manager == "cm1"),
        "{:?}",
        plan.standby
    );
    assert_eq!((plan.nodes.len(), plan.brakes.len()), (1, 0));
    assert!(plan.notices.is_empty(), "{:?}", plan.notices);
    pair.site.submit(2, 4, 4096, 6000);
    let [since, acted] = [pair.now(), pair.acted.len() as u64];
    pair.hand_over(true);
    pair.ticks(2);
    let why = &pair.site.plan().groups[0].why;
    assert!(
        why.iter()
            .any(|why| matches!(why, Reason::Standby { jobs: 2 })),
        "{why:?}"
    );
    assert!(matches!(
        pair.site.plan().standby,
        Some(Standby::TakingOver { .. })
    ));
    while pair.acted.len() as u64 == acted {
        pair.tick();
    }
    let took = pair.now() - since;
    assert!(
        (TAKEOVER..TAKEOVER + 2 * TURN + 1).contains(&took),
        "{took}"
    );
}

/// What the passive one has observed is its own knowledge when it takes over: costs, and nodes that have joined.
#[test]
fn a_take_over_begins_with_the_costs_and_joins_that_it_has_seen() {
    let mut pair = Pair::new();
    pair.site.policy.clouds[0]
        .prices
        .insert("medium".to_owned(), 1.0);
    pair.ticks(14);
    pair.site.submit(3, 4, 4096, 20_000);
    pair.ticks(60);
    let [first, second] = &pair.states;
    assert_eq!(second.nodes.len(), 3);
    assert!(second.nodes.values().all(|node| node.join.joined.is_some()));
    let spent = |state: &State| serde_json::to_value(&state.spending).unwrap();
    assert_ne!(spent(second), spent(&State::default()));
    assert_eq!(
        first.nodes.keys().collect::<Vec<_>>(),
        second.nodes.keys().collect::<Vec<_>>()
    );
}

/// A partition: HAD starts a negotiator on each side. Where both are seen, nobody acts.
#[test]
fn with_two_negotiators_nobody_acts() {
    let mut pair = Pair::new();
    pair.negotiators.push(Negotiator {
        host: 1,
        since: 0,
        crashed: None,
    });
    pair.site.submit(3, 4, 4096, 600);
    pair.ticks(40);
    assert_eq!((pair.acted.len(), pair.site.servers()), (0, 0));
    assert!(matches!(
        pair.site.plan().standby,
        Some(Standby::TwoNegotiators { .. })
    ));
    pair.negotiators.clear();
    pair.ticks(10);
    assert!(matches!(
        pair.site.plan().standby,
        Some(Standby::NoNegotiator { .. })
    ));
    assert_eq!(pair.site.servers(), 0);
}
