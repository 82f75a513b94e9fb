//! Clouds that are to be removed from the configuration, and clouds that were removed with what runs in them.

use scaling::allocation::Allocation;
use scaling::limits::Limit;
use scaling::plan::{NodeDecision, Plan};
use scaling::policy::{CloudPolicy, ScaleDown};
use scaling::reason::Reason;
use simulation::{JobState, ScenarioCloud, locked};

use crate::site::{Site, cloud, running, scenario};

const HOUR: u64 = 3600;

/// Blue before green, with nodes of 4 cores at 2 an hour, and two of them busy in blue for an hour.
fn two_clouds() -> Site {
    let mut blue = cloud(&[("medium", 4, 8192)]);
    blue.flavors.get_mut("medium").unwrap().price = Some(2.0);
    let green = blue.clone();
    let mut site = Site::new(scenario(&[("blue", blue), ("green", green)]));
    site.policy.allocation = Allocation::FillFirst;
    running(&mut site, 8, HOUR);
    assert_eq!(in_cloud(&site, "blue"), 2, "{}", site.describe());
    site
}

fn in_cloud(site: &Site, name: &str) -> usize {
    let world = site.world();
    let servers = world.servers.values();
    servers.filter(|server| server.cloud == name).count()
}

fn made_in(plan: &Plan, name: &str) -> usize {
    let nodes = plan.nodes.iter();
    nodes
        .filter(|node| node.decision == NodeDecision::Create && node.cloud == name)
        .count()
}

fn note(site: &Site) -> String {
    let mut notices = site.plan().notices.iter();
    let found = notices.find(|notice| notice.starts_with("cloud blue has retire: true"));
    found.cloned().unwrap_or_default()
}

fn all_once(site: &Site) {
    for job in &site.world().jobs {
        assert!(matches!(job.state, JobState::Done(_)) && job.starts == 1);
    }
}

#[test]
fn a_cloud_that_retires_is_emptied_as_its_jobs_end_and_no_node_is_made_in_it() {
    let mut site = two_clouds();
    site.policy.clouds[0].retire = true;
    site.policy.nodes_min = 1;
    site.ticks(3);
    assert_eq!(
        note(&site),
        "cloud blue has retire: true and still contains 2 nodes (2 busy), 4.00 per hour; ehos drains and deletes each node \
         once it is idle"
    );
    assert!(site.plan().clouds[0].retire && !site.plan().clouds[1].retire);
    // What is there serves no minimum and no demand any more.
    assert_eq!(in_cloud(&site, "green"), 1, "{}", site.describe());
    site.submit(8, 1, 1024, 600);
    let mut drained = 0;
    for _ in 0..100 {
        let plan = site.tick();
        assert_eq!(made_in(plan, "blue"), 0);
        let retires = |why: &Reason| matches!(why, Reason::DrainCloudRetires { .. });
        drained += plan.nodes.iter().filter(|node| retires(&node.why)).count();
    }
    assert_eq!(drained, 2);
    assert_eq!(in_cloud(&site, "blue"), 0, "{}", site.describe());
    assert_eq!(in_cloud(&site, "green"), 1, "{}", site.describe());
    all_once(&site);
    assert_eq!(
        note(&site),
        "cloud blue has retire: true and is empty of nodes, builders and leftovers; remove it from the configuration"
    );
    site.policy.clouds.remove(0);
    locked(&site.world).scenario.clouds.remove("blue");
    site.ticks(2);
    assert_eq!(site.plan().unknown_sources, []);
}

/// The report of a removed cloud advises to put it back so: it may be gone for good.
#[test]
fn a_cloud_that_retires_and_never_answers_again_holds_up_no_other() {
    for retire in [false, true] {
        let mut site = two_clouds();
        site.policy.clouds[0].retire = retire;
        locked(&site.world).broken.clouds.push("blue".to_owned());
        site.state.clouds.remove("blue");
        site.submit(8, 1, 1024, 600);
        site.ticks(10);
        assert_eq!(in_cloud(&site, "green") > 0, retire, "{}", site.describe());
        assert_eq!(in_cloud(&site, "blue"), 2);
    }
}

#[test]
fn idle_nodes_of_a_cloud_that_retires_go_at_once_and_jobs_wait_for_another() {
    let mut site = two_clouds();
    site.until(70, "the jobs end", |world| world.unfinished() == 0);
    site.ticks(1);
    site.policy.clouds[0].retire = true;
    site.policy.clouds[1].retire = true;
    site.submit(4, 1, 1024, 600);
    locked(&site.world).broken.negotiator = true;
    site.ticks(4);
    assert_eq!(site.servers(), 0, "{}", site.describe());
    let limited = |why: &Reason| {
        matches!(
            why,
            Reason::Limited {
                limit: Limit::Retire { .. },
                ..
            }
        )
    };
    let group = &site.plan().groups[0];
    assert!(group.why.iter().any(limited), "{}", site.describe());
    // A drain that was begun for it is taken back when it does not retire any more.
    locked(&site.world).broken.negotiator = false;
    site.policy.clouds[0].retire = false;
    site.until(30, "they run", |world| world.unfinished() == 0);
    assert_eq!(in_cloud(&site, "green"), 0);
}

#[test]
fn a_node_on_its_way_in_a_cloud_that_retires_goes_as_soon_as_it_has_joined() {
    let mut site = two_clouds();
    site.submit(4, 1, 1024, 600);
    site.until(5, "it is asked for", |world| world.servers.len() == 3);
    locked(&site.world).jobs.truncate(8);
    site.policy.clouds[0].retire = true;
    site.until(10, "it has gone", |world| world.servers.len() == 2);
    assert_eq!(site.world().unfinished(), 8);
}

#[test]
fn where_nodes_end_by_themselves_those_of_a_cloud_that_retires_do_too() {
    let mut site = two_clouds();
    site.policy.scale_down = ScaleDown::SelfShutdown;
    site.policy.clouds[0].retire = true;
    site.ticks(2);
    assert!(
        note(&site).ends_with("each node shuts itself down after idle_timeout without a claim")
    );
    for _ in 0..80 {
        let plan = site.tick();
        assert_eq!(plan.count(NodeDecision::Drain) + made_in(plan, "blue"), 0);
    }
}

/// Removes blue from the configuration, and returns what puts it back.
fn remove(site: &mut Site) -> (CloudPolicy, (String, ScenarioCloud)) {
    let entry = locked(&site.world).scenario.clouds.remove_entry("blue");
    (site.policy.clouds.remove(0), entry.unwrap())
}

fn told(site: &Site) -> String {
    let mut unseen = site.plan().unknown_sources.iter();
    let found = unseen.find(|unseen| unseen.source.to_string() == "removed cloud blue");
    found.map(|unseen| unseen.why.clone()).unwrap_or_default()
}

#[test]
fn a_removed_cloud_is_told_with_what_runs_in_it_until_it_is_put_back_and_empty() {
    let mut site = two_clouds();
    let names: Vec<String> = site
        .state
        .nodes
        .values()
        .map(|node| node.name.to_string())
        .collect();
    let (policy, entry) = remove(&mut site);
    for _ in 0..90 {
        site.tick();
        assert_eq!(
            told(&site),
            format!(
                "no longer in the configuration, and last contained 2 nodes ({}), 4.00 per hour; restore it with `retire: true` \
                 until a report shows it empty, or delete these by hand and run `ehos resume blue`",
                names.join(", ")
            )
        );
        assert_eq!(in_cloud(&site, "blue"), 2, "nobody can delete them");
    }
    locked(&site.world).scenario.clouds.extend([entry]);
    site.policy.clouds.insert(
        0,
        CloudPolicy {
            retire: true,
            ..policy
        },
    );
    site.tick();
    assert_eq!(told(&site), "");
    assert!(
        !site
            .plan()
            .notices
            .iter()
            .any(|notice| notice.contains("adopted")),
        "they are known"
    );
    site.until(10, "they go", |world| world.servers.is_empty());
    site.ticks(5);
    assert!(
        note(&site).contains("is empty of nodes, builders and leftovers"),
        "{}",
        note(&site)
    );
    all_once(&site);
}

/// What was silent when its cloud was removed was heard of while nobody looked.
#[test]
fn no_timer_of_a_node_runs_while_its_cloud_is_removed() {
    let mut site = two_clouds();
    site.until(70, "the jobs end", |world| world.unfinished() == 0);
    let name = site.names()[0].clone();
    locked(&site.world).cut_off(&name, true);
    let silent = |site: &Site| {
        let mut nodes = site.plan().nodes.iter();
        nodes.any(|node| node.phase.as_str() == "silent")
    };
    for _ in 0..10 {
        if !site.last.as_ref().is_some_and(|_| silent(&site)) {
            site.tick();
        }
    }
    assert!(silent(&site), "{}", site.describe());
    let (policy, entry) = remove(&mut site);
    site.ticks(2);
    locked(&site.world).cut_off(&name, false);
    site.ticks(60);
    locked(&site.world).cut_off(&name, true);
    // Its ads end.
    site.ticks(45);
    locked(&site.world).scenario.clouds.extend([entry]);
    site.policy.clouds.insert(0, policy);
    site.ticks(3);
    assert!(silent(&site), "{}", site.describe());
    assert!(site.names().contains(&name), "{}", site.describe());
}

#[test]
fn a_removed_cloud_that_is_gone_can_be_forgotten() {
    let mut site = two_clouds();
    remove(&mut site);
    site.ticks(2);
    assert!(!told(&site).is_empty());
    let removed = site.state.removed(|name| name == "green");
    assert_eq!(removed.into_iter().collect::<Vec<_>>(), ["blue"]);
    assert_eq!(site.state.forget_removed("blue"), 2);
    site.ticks(2);
    assert_eq!(site.plan().unknown_sources, []);
}

/// A step of a linear congruential generator: the same histories each time.
fn draw(seed: &mut u64, most: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % most
}

#[test]
fn whenever_clouds_retire_leave_and_come_back_no_job_ends_and_nothing_is_forgotten() {
    for number in 0..20_u64 {
        let mut seed = number;
        let mut both = scenario(&[
            ("blue", cloud(&[("medium", 4, 8192)])),
            ("green", cloud(&[("small", 2, 4096)])),
        ]);
        both.seed = number;
        let mut site = Site::new(both);
        site.policy.nodes_min = draw(&mut seed, 3);
        let mut away: Option<(CloudPolicy, (String, ScenarioCloud))> = None;
        for minute in 0..240 {
            match draw(&mut seed, 24) {
                0 => site.submit(
                    1 + draw(&mut seed, 6),
                    1,
                    1024,
                    60 * (1 + draw(&mut seed, 40)),
                ),
                1 => {
                    let cloud = draw(&mut seed, 2) as usize;
                    if let Some(cloud) = site.policy.clouds.get_mut(cloud) {
                        cloud.retire = !cloud.retire;
                    }
                }
                2 if away.is_none() && site.policy.clouds.len() == 2 => {
                    away = Some(remove(&mut site));
                }
                3 => {
                    if let Some((policy, entry)) = away.take() {
                        locked(&site.world).scenario.clouds.extend([entry]);
                        site.policy.clouds.insert(0, policy);
                    }
                }
                _ => {}
            }
            let here = in_cloud(&site, "blue");
            site.tick();
            for cloud in site.policy.clouds.clone() {
                let made = made_in(site.plan(), &cloud.name);
                assert!(
                    !cloud.retire || made == 0,
                    "{number} {minute}: {}",
                    site.describe()
                );
            }
            let aside = site
                .state
                .removed_clouds
                .get("blue")
                .map_or(0, |nodes| nodes.len());
            assert!(aside <= here, "{number} {minute}: {aside} of {here}");
            assert!(
                away.is_none() || aside == 0 || !told(&site).is_empty(),
                "{number} {minute}"
            );
        }
        if let Some((policy, entry)) = away.take() {
            locked(&site.world).scenario.clouds.extend([entry]);
            site.policy.clouds.insert(0, policy);
        }
        site.policy.clouds[0].retire = true;
        site.policy.clouds[1].retire = false;
        site.until(400, "all is done and blue is empty", |world| {
            let blue = world
                .servers
                .values()
                .filter(|server| server.cloud == "blue");
            world.unfinished() == 0 && blue.count() == 0
        });
        all_once(&site);
        assert!(site.state.removed_clouds.is_empty());
    }
}
