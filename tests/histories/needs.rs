//! Jobs whose Requirements not every machine satisfies, and jobs that the negotiator holds back.

use std::collections::BTreeMap;

use scaling::observation::{Ceiling, NegotiatorView, Observed};
use scaling::plan::NodeDecision;
use scaling::reason::Reason;
use simulation::JobState;

use crate::site::{Site, cloud, minutes, scenario};
use crate::suspicions::see_pool;

/// A small flavor without anything, and a large one with docker.
fn site() -> Site {
    let mut blue = cloud(&[("a_small", 2, 4096), ("b_large", 8, 16_384)]);
    blue.flavors.get_mut("b_large").unwrap().has = vec!["docker".to_owned()];
    Site::new(scenario(&[("blue", blue)]))
}

fn submit(site: &Site, needs: &str, count: u64) {
    site.world().submit_needing(needs, count, 1, 1024, 900);
}

fn flavors(site: &Site) -> Vec<String> {
    let world = site.world();
    let servers = world.servers.values();
    let mut flavors: Vec<String> = servers.map(|server| server.flavor.clone()).collect();
    flavors.sort();
    flavors
}

fn why(site: &Site) -> Vec<Reason> {
    let groups = site.plan().groups.iter();
    groups.flat_map(|group| group.why.clone()).collect()
}

fn all_done(site: &mut Site, most: usize) {
    site.until(most, "all done", |world| {
        let mut jobs = world.jobs.iter();
        jobs.all(|job| matches!(job.state, JobState::Done(_)))
    });
}

#[test]
fn a_node_is_made_that_the_jobs_would_run_on() {
    let mut site = site();
    submit(&site, "docker", 3);
    site.ticks(3);
    assert_eq!(flavors(&site), ["b_large"], "{}", site.describe());
    all_done(&mut site, 30);
}

#[test]
fn a_job_that_no_node_could_match_makes_none_and_says_what_it_needs() {
    let mut site = site();
    submit(&site, "windows", 5);
    for _ in 0..90 {
        site.tick();
        assert_eq!(site.servers(), 0, "{}", site.describe());
    }
    let why = why(&site);
    let [Reason::NoMatch { refused }] = &why[..] else {
        panic!("{why:?}");
    };
    assert_eq!(refused.len(), 2);
    assert_eq!(refused[0].clause.as_deref(), Some("TARGET.windows"));
    assert_eq!(
        why[0].to_string(),
        "no match: TARGET.windows is false on a_small in blue, b_large in blue"
    );
}

/// A node that the waiting jobs would not run on serves nobody: it goes, and is not kept for them.
#[test]
fn an_idle_node_goes_beside_jobs_that_would_not_run_on_it() {
    let mut site = site();
    site.submit(1, 1, 1024, 120);
    all_done(&mut site, 20);
    assert_eq!(flavors(&site), ["a_small"]);
    submit(&site, "windows", 5);
    site.until(20, "none is left", |world| world.servers.is_empty());
}

/// The free cores of one node are not counted for jobs that only another would run.
#[test]
fn free_room_of_the_wrong_kind_holds_nobody_up() {
    let mut site = site();
    site.submit(1, 1, 1024, 7200);
    site.ticks(6);
    submit(&site, "docker", 1);
    // Sooner than the free room is known to be passed over.
    site.ticks(3);
    assert_eq!(
        flavors(&site),
        ["a_small", "b_large"],
        "{}",
        site.describe()
    );
}

#[test]
fn what_is_not_answered_makes_nothing_and_takes_nothing_away() {
    let mut site = site();
    submit(&site, "docker", 1);
    site.ticks(6);
    assert_eq!(site.servers(), 1);
    all_done(&mut site, 30);
    site.world().broken.matches = true;
    submit(&site, "docker", 30);
    // The node there is may be for them, and takes eight at once.
    site.ticks(2);
    for _ in 0..4 {
        site.tick();
        assert_eq!(
            (site.created(), site.plan().count(NodeDecision::Drain)),
            (0, 0)
        );
        assert!(
            why(&site)
                .iter()
                .any(|why| matches!(why, Reason::NotAnswered { .. })),
            "{}",
            site.describe()
        );
    }
    site.world().broken.matches = false;
    site.ticks(2);
    assert!(site.servers() > 1, "{}", site.describe());
}

/// What servers of a flavor have shows with the first one: one of each is tried, and the jobs go where they run.
#[test]
fn the_first_of_a_kind_tells_what_it_has() {
    let mut site = site();
    site.policy.nodes_max = 20;
    site.world().broken.unlearnt = true;
    submit(&site, "docker", 40);
    site.tick();
    assert_eq!(site.servers(), 1, "{}", site.describe());
    assert!(
        why(&site).iter().any(|why| matches!(
            why,
            Reason::FirstNodeDecides {
                jobs: 38,
                clause: Some(_)
            }
        )),
        "{}",
        site.describe()
    );
    site.ticks(12);
    let made = flavors(&site);
    let large = made.iter().filter(|flavor| *flavor == "b_large").count();
    assert!(
        large >= 5 && made.len() - large <= 2,
        "{made:?}\n{}",
        site.describe()
    );
    all_done(&mut site, 60);
}

fn hold_back(site: &mut Site, limit: f64, used: f64) {
    see_pool(site, move |view| {
        let ceilings = BTreeMap::from([("license".to_owned(), Ceiling { limit, used })]);
        view.negotiator = Observed::Known(NegotiatorView {
            concurrency_limits: ceilings.clone(),
            group_quotas: ceilings,
            ..NegotiatorView::default()
        });
        for schedd in view.schedds.values_mut() {
            if let Observed::Known(schedd) = schedd {
                for demand in &mut schedd.demand {
                    demand.concurrency_limits = BTreeMap::from([("license".to_owned(), 2.0)]);
                    demand.example = Some("7.0".to_owned());
                }
            }
        }
    });
}

#[test]
fn no_node_is_made_for_jobs_that_a_concurrency_limit_holds_back() {
    let mut site = Site::simple();
    site.policy.idle_timeout = minutes(3);
    hold_back(&mut site, 5.0, 1.0);
    site.submit(12, 4, 4096, 3600);
    site.tick();
    assert_eq!(site.created(), 2, "{}", site.describe());
    assert!(
        why(&site)
            .iter()
            .any(|why| matches!(why, Reason::ConcurrencyLimit { jobs: 10, .. })),
        "{}",
        site.describe()
    );
}

#[test]
fn no_node_is_made_for_an_accounting_group_at_its_quota() {
    let mut site = Site::simple();
    see_pool(&mut site, |view| {
        let ceiling = Ceiling {
            limit: 8.0,
            used: 4.0,
        };
        view.negotiator = Observed::Known(NegotiatorView {
            group_quotas: BTreeMap::from([("physics".to_owned(), ceiling)]),
            ..NegotiatorView::default()
        });
        for schedd in view.schedds.values_mut() {
            if let Observed::Known(schedd) = schedd {
                for demand in &mut schedd.demand {
                    demand.accounting_group = Some("physics.cms".to_owned());
                }
            }
        }
    });
    site.submit(12, 2, 2048, 3600);
    site.tick();
    assert_eq!(site.created(), 1, "{}", site.describe());
    assert!(
        why(&site)
            .iter()
            .any(|why| matches!(why, Reason::GroupQuota { jobs: 10, .. })),
        "{}",
        site.describe()
    );
}
