//! Suspicions of a sceptical operator, each a history: how demand could starve, servers pile up, or a job be ended.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scaling::action::{CloudAction, Done, Failure, PoolAction, StartdIdentity};
use scaling::allocation::Allocation;
use scaling::job_requirements::{JobGroupKey, MatchTarget, Matches};
use scaling::observation::{
    CloudView, NodeId, Observed, OwnedServer, PoolView, Resources, ServerRecord, StartdView,
    UnreadableAd, builder_metadata, execute_metadata,
};
use scaling::plan::NodeDecision;
use scaling::reason::Reason;
use scaling::state::State;
use simulation::{JobState, World, locked};
use system::deadline::Deadline;
use tick::backends::Backends as Asked;
use tick::cloud::{Cloud, LeftoverQuery};
use tick::pool::{Pool, TrackedMachines};

use crate::site::{Site, cloud, running, scenario};

type ChangePool = Arc<dyn Fn(&mut PoolView) + Send + Sync>;
type ChangeCloud = Arc<dyn Fn(&mut CloudView) + Send + Sync>;

struct SeenPool<'a> {
    pool: Box<dyn Pool + 'a>,
    change: ChangePool,
}

impl Pool for SeenPool<'_> {
    fn observe(&self, watch: &TrackedMachines, deadline: Deadline) -> PoolView {
        let mut view = self.pool.observe(watch, deadline);
        (self.change)(&mut view);
        view
    }
    fn matches(
        &self,
        jobs: &BTreeSet<JobGroupKey>,
        nodes: &[MatchTarget],
        deadline: Deadline,
    ) -> Matches {
        self.pool.matches(jobs, nodes, deadline)
    }
    fn look(
        &self,
        startd: &StartdIdentity,
        deadline: Deadline,
    ) -> Result<Vec<StartdView>, Failure> {
        self.pool.look(startd, deadline)
    }
    fn has_job_on(&self, machine: &str, deadline: Deadline) -> Result<bool, Failure> {
        self.pool.has_job_on(machine, deadline)
    }

    fn ask(&self, address: &str, deadline: Deadline) -> Result<Vec<StartdView>, Failure> {
        self.pool.ask(address, deadline)
    }
    fn perform(&self, action: &PoolAction, deadline: Deadline) -> Result<Done, Failure> {
        self.pool.perform(action, deadline)
    }
}

struct SeenCloud<'a> {
    cloud: Box<dyn Cloud + 'a>,
    change: ChangeCloud,
}

impl Cloud for SeenCloud<'_> {
    fn name(&self) -> &str {
        self.cloud.name()
    }
    fn observe(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Failure> {
        let mut view = self.cloud.observe(traces, deadline)?;
        (self.change)(&mut view);
        Ok(view)
    }
    fn look(&self, server_id: &str, deadline: Deadline) -> Result<Option<ServerRecord>, Failure> {
        self.cloud.look(server_id, deadline)
    }
    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure> {
        self.cloud.perform(action, deadline)
    }
}

fn with_pool(mut site: Asked<'_>, change: ChangePool) -> Asked<'_> {
    site.pool = Box::new(SeenPool {
        pool: site.pool,
        change,
    });
    site
}

fn with_clouds(mut site: Asked<'_>, change: ChangeCloud) -> Asked<'_> {
    let seen = |cloud| -> Box<dyn Cloud + '_> {
        Box::new(SeenCloud {
            cloud,
            change: Arc::clone(&change),
        })
    };
    site.clouds = site.clouds.into_iter().map(seen).collect();
    site
}

pub fn see_pool(site: &mut Site, change: impl Fn(&mut PoolView) + Send + Sync + 'static) {
    let change: ChangePool = Arc::new(change);
    site.between = Box::new(move |asked| with_pool(asked, Arc::clone(&change)));
}

fn each_startd(view: &mut PoolView, change: impl Fn(&mut StartdView)) {
    if let Observed::Known(collector) = &mut view.collector {
        collector.startds.iter_mut().for_each(change);
    }
}

/// Hides every server from the lists while the switch is on: Nova with a cell down, at a microversion below 2.69.
fn hide_servers(site: &mut Site) -> Arc<AtomicBool> {
    let hidden = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&hidden);
    let change: ChangeCloud = Arc::new(move |view| {
        if switch.load(Ordering::Relaxed) {
            view.servers.clear();
        }
    });
    site.between = Box::new(move |asked| with_clouds(asked, Arc::clone(&change)));
    hidden
}

fn run_now(world: &World) -> usize {
    world
        .jobs
        .iter()
        .filter(|job| matches!(job.state, JobState::Running { .. }))
        .count()
}

const HOUR: u64 = 3600;

// ---- demand that is never served -------------------------------------------------------------------------------

#[test]
fn one_job_that_nobody_takes_does_not_starve_its_equals() {
    let mut site = Site::simple();
    site.policy.nodes_max = 60;
    locked(&site.world).submit(1, 1, 1024, 600, true);
    site.ticks(15);
    site.submit(200, 1, 1024, 4 * HOUR);
    site.ticks(45);
    let run = run_now(&site.world());
    assert!(run >= 150, "{run} of 200 run\n{}", site.describe());
}

#[test]
fn one_slot_that_a_group_does_not_take_does_not_stop_all_buying() {
    let mut site = Site::simple();
    site.policy.nodes_max = 120;
    site.policy.nodes_min = 1;
    site.ticks(6);
    // START = (Owner == "somebody"): undefined without a job, so the ad does not say no; nobody else's jobs match.
    for server in locked(&site.world).servers.values_mut() {
        server.startd.as_mut().unwrap().closed = true;
    }
    see_pool(&mut site, |view| {
        each_startd(view, |startd| {
            if startd.draining.is_none() {
                startd
                    .slots
                    .iter_mut()
                    .for_each(|slot| slot.accepts_jobs = true);
            }
        });
    });
    site.submit(400, 1, 1024, 5 * HOUR);
    site.ticks(45);
    let run = run_now(&site.world());
    assert!(run >= 300, "{run} of 400 run\n{}", site.describe());
}

#[test]
fn a_restart_of_the_central_manager_is_no_refusal() {
    let mut site = Site::simple();
    site.policy.nodes_max = 60;
    running(&mut site, 3, 10 * HOUR);
    site.ticks(6);
    locked(&site.world).broken.collector = true;
    site.submit(100, 1, 1024, 4 * HOUR);
    site.ticks(15);
    locked(&site.world).restart_collector();
    for _ in 0..40 {
        // Users go on.
        site.submit(2, 1, 1024, 4 * HOUR);
        site.tick();
    }
    let run = run_now(&site.world());
    assert!(run >= 100, "{run} run\n{}", site.describe());
}

#[test]
fn servers_that_boot_in_a_cloud_that_is_down_do_not_hold_demand_for_ever() {
    let blue = cloud(&[("medium", 4, 8192)]);
    let green = cloud(&[("medium", 4, 8192)]);
    let mut site = Site::new(scenario(&[("blue", blue), ("green", green)]));
    site.policy.allocation = Allocation::FillFirst;
    // What a node of blue offers is known from an earlier one.
    site.submit(4, 1, 1024, 120);
    site.until(30, "the first are done", |world| world.unfinished() == 0);
    site.until(30, "gone", |world| world.servers.is_empty());
    site.submit(8, 1, 1024, 600);
    site.tick();
    assert_eq!(site.servers(), 2);
    for id in site.names() {
        locked(&site.world).crash(&id);
    }
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.ticks(120);
    assert_eq!(
        site.world().unfinished(),
        0,
        "green could have run them for two hours\n{}",
        site.describe()
    );
}

#[test]
fn a_first_ad_that_is_incomplete_is_not_learnt_for_ever() {
    let mut site = Site::simple();
    see_pool(&mut site, |view| {
        each_startd(view, |startd| {
            // What condor::slots makes of an ad without TotalSlotCpus.
            if startd.up_for.as_secs() < 60 {
                for slot in &mut startd.slots {
                    slot.total = Resources::default();
                    slot.free = Resources::default();
                    slot.claims = 1;
                }
            }
        });
    });
    site.submit(4, 1, 1024, 300);
    site.until(30, "the first are done", |world| world.unfinished() == 0);
    site.until(30, "gone", |world| world.servers.is_empty());
    site.submit(4, 1, 1024, 300);
    site.until(60, "the second are done", |world| world.unfinished() == 0);
}

#[test]
fn three_servers_that_nova_cannot_delete_do_not_close_a_cloud() {
    let mut site = Site::simple();
    locked(&site.world).broken.spawn = Some("No valid host was found. ".to_owned());
    locked(&site.world).broken.deletes = true;
    site.submit(8, 1, 1024, 600);
    site.ticks(30);
    let stuck = site.servers();
    locked(&site.world).broken.spawn = None;
    for id in site.names() {
        assert_eq!(
            site.world().servers[&id].status,
            scaling::observation::ServerStatus::Error
        );
    }
    assert!(stuck <= 8, "back-off bounds them: {stuck}");
    site.ticks(240);
    assert_eq!(site.world().unfinished(), 0, "{}", site.describe());
}

#[test]
fn a_drained_node_is_taken_back_while_its_cloud_does_not_answer() {
    let mut site = Site::simple();
    site.submit(4, 1, 1024, 300);
    site.until(20, "done", |world| world.unfinished() == 0);
    site.until(12, "a drain", |world| {
        world.servers.values().any(|server| {
            server
                .startd
                .as_ref()
                .is_some_and(|startd| startd.drain.is_some())
        })
    });
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.submit(2, 1, 1024, 300);
    site.ticks(15);
    assert_eq!(site.world().unfinished(), 0, "{}", site.describe());
}

#[test]
fn a_cloud_that_gets_another_name_is_not_counted_twice() {
    let mut site = Site::simple();
    site.policy.nodes_max = 4;
    running(&mut site, 8, 10 * HOUR);
    {
        let mut world = locked(&site.world);
        let blue = world.scenario.clouds.remove("blue").unwrap();
        world.scenario.clouds.insert("azure".to_owned(), blue);
        for server in world.servers.values_mut() {
            server.cloud = "azure".to_owned();
        }
    }
    site.policy.clouds[0].name = "azure".to_owned();
    site.submit(20, 1, 1024, HOUR);
    site.ticks(30);
    assert_eq!(site.servers(), 4, "{}", site.describe());
}

// ---- servers that nobody needs -----------------------------------------------------------------------------------

#[test]
fn a_group_that_takes_nothing_does_not_make_others_buy_more() {
    let mut site = Site::simple();
    site.policy.nodes_max = 40;
    site.policy.max_unproven = 40;
    site.policy.max_actions = 40;
    locked(&site.world).submit(100, 2, 2048, 600, true);
    site.ticks(30);
    assert_eq!(site.servers(), 0, "refused and gone\n{}", site.describe());
    // Four nodes of four cores.
    site.submit(16, 1, 1024, 3 * HOUR);
    site.most_servers = 0;
    site.ticks(20);
    assert!(
        site.most_servers <= 6,
        "{} servers for 16 jobs\n{}",
        site.most_servers,
        site.describe()
    );
}

#[test]
fn nodes_that_join_and_take_no_jobs_are_not_made_without_end_and_go() {
    let mut site = Site::simple();
    see_pool(&mut site, |view| {
        each_startd(view, |startd| {
            startd
                .slots
                .iter_mut()
                .for_each(|slot| slot.accepts_jobs = false);
        });
    });
    // START = false on every node of a broken image.
    locked(&site.world).submit(100, 1, 1024, 600, true);
    site.ticks(60);
    let made = site.servers();
    locked(&site.world).jobs.clear();
    site.ticks(180);
    let left = site.servers();
    assert!(
        made <= 6 && left == 0,
        "{made} were made, {left} are left three hours after the last job\n{}",
        site.describe()
    );
}

#[test]
fn static_slots_are_no_sum() {
    let mut site = Site::simple();
    see_pool(&mut site, |view| {
        each_startd(view, |startd| {
            let whole = startd.slots[0].clone();
            startd.slots = (1..=4)
                .map(|number| {
                    let mut slot = whole.clone();
                    slot.name = slot.name.replace("slot1@", &format!("slot{number}@"));
                    for part in [&mut slot.total, &mut slot.free] {
                        part.cpus /= 4;
                        part.memory_mb /= 4;
                        part.disk_kb /= 4;
                    }
                    slot
                })
                .collect();
        });
    });
    // Two cores fit into no slot of one.
    locked(&site.world).submit(8, 2, 1024, 600, true);
    let mut made = 0;
    for _ in 0..180 {
        site.tick();
        made += site.created();
    }
    assert!(made <= 8, "made {made} in three hours\n{}", site.describe());
}

#[test]
fn nodes_that_are_silent_for_a_moment_are_not_made_again_for_nodes_min() {
    let mut site = Site::simple();
    site.policy.nodes_min = 6;
    site.policy.nodes_max = 20;
    site.ticks(12);
    assert_eq!(site.servers(), 6);
    for id in site.names() {
        locked(&site.world).cut_off(&id, true);
    }
    site.ticks(6);
    assert!(!site.plan().brakes.is_empty(), "{}", site.describe());
    assert_eq!(site.servers(), 6, "{}", site.describe());
}

/// The servers of the world as a list of its one project, whichever entry of `clouds:` asks for it.
fn listed(world: &World) -> Vec<OwnedServer> {
    let record = |server: &simulation::SimulatedServer| ServerRecord {
        id: server.id.clone(),
        name: server.name.clone(),
        status: server.status,
        nova_status: None,
        deleting: server.gone_at.is_some(),
        metadata: server.metadata.clone(),
        age: Duration::from_secs(world.now - server.created),
        fault: None,
        volumes: Vec::new(),
        zone: None,
        addresses: Vec::new(),
    };
    world
        .servers
        .values()
        .filter_map(|server| OwnedServer::recognise(record(server), "pool-1"))
        .collect()
}

#[test]
fn two_clouds_that_are_one_project_count_each_server_once() {
    let blue = cloud(&[("medium", 4, 8192)]);
    let green = cloud(&[("large", 8, 16384)]);
    let mut site = Site::new(scenario(&[("blue", blue), ("green", green)]));
    let project = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&project);
    let change: ChangeCloud = Arc::new(move |view| view.servers = list.lock().unwrap().clone());
    site.between = Box::new(move |asked| with_clouds(asked, Arc::clone(&change)));
    site.submit(8, 1, 1024, HOUR);
    let mut flaps = 0;
    let mut nodes = 0;
    for _ in 0..90 {
        *project.lock().unwrap() = listed(&site.world());
        site.tick();
        nodes = nodes.max(site.plan().nodes.len());
        flaps += site.plan().count(NodeDecision::CancelDrain);
    }
    assert_eq!(
        (nodes, flaps),
        (site.most_servers, 0),
        "{}",
        site.describe()
    );
}

#[test]
fn jobs_that_nobody_takes_do_not_call_drained_nodes_back() {
    let mut site = Site::simple();
    site.policy.nodes_max = 1;
    running(&mut site, 4, 600);
    locked(&site.world).submit(10, 2, 2048, 600, true);
    site.until(15, "done", |world| {
        world
            .jobs
            .iter()
            .filter(|job| !job.unmatchable)
            .all(|job| matches!(job.state, JobState::Done(_)))
    });
    let mut returns = 0;
    let mut busy_for_nothing = 0;
    for _ in 0..120 {
        site.tick();
        returns += site.plan().count(NodeDecision::CancelDrain);
        busy_for_nothing += site.servers();
    }
    assert_eq!(returns, 0, "{}", site.describe());
    assert!(
        busy_for_nothing <= 50,
        "{busy_for_nothing} server minutes in two hours"
    );
}

// ---- jobs that are ended -----------------------------------------------------------------------------------------

#[test]
fn a_list_that_is_wrong_once_does_not_break_nodes_max() {
    let mut site = Site::simple();
    site.policy.nodes_max = 2;
    let hidden = hide_servers(&mut site);
    running(&mut site, 8, 10 * HOUR);
    site.submit(20, 1, 1024, HOUR);
    site.ticks(5);
    assert_eq!(site.servers(), 2);
    hidden.store(true, Ordering::Relaxed);
    site.tick();
    assert_eq!(site.servers(), 2, "{}", site.describe());
}

#[test]
fn a_node_that_comes_back_into_the_list_keeps_its_job() {
    let mut site = Site::simple();
    let hidden = hide_servers(&mut site);
    running(&mut site, 4, 10 * HOUR);
    let id = site.names()[0].clone();
    // A cell is down: its servers are not listed, and its network does not reach the collector.
    hidden.store(true, Ordering::Relaxed);
    locked(&site.world).cut_off(&id, true);
    site.ticks(4);
    hidden.store(false, Ordering::Relaxed);
    site.ticks(30);
    assert!(site.names().contains(&id), "{}", site.describe());
}

#[test]
fn a_node_that_is_still_heard_is_not_forgotten_because_of_a_list() {
    let mut site = Site::simple();
    let hidden = hide_servers(&mut site);
    running(&mut site, 4, 10 * HOUR);
    hidden.store(true, Ordering::Relaxed);
    let mut invalidated = 0;
    for _ in 0..5 {
        site.tick();
        let actions = &site.plan().actions;
        invalidated += actions
            .iter()
            .filter(|action| action.verb() == "invalidate")
            .count();
    }
    assert_eq!(
        invalidated,
        0,
        "the ad of a machine that runs jobs was taken out\n{}",
        site.describe()
    );
}

#[test]
fn silence_is_not_counted_while_ehos_does_not_hear() {
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    site.ticks(5);
    locked(&site.world).broken.collector = true;
    locked(&site.world).cut_off(&id, false);
    site.ticks(70);
    // The collector is back; the node is a few minutes late.
    locked(&site.world).cut_off(&id, true);
    locked(&site.world).restart_collector();
    site.ticks(8);
    assert!(site.names().contains(&id), "{}", site.describe());
}

#[test]
fn a_node_that_joined_while_ehos_did_not_hear_is_no_failed_boot() {
    let mut site = Site::simple();
    let deaf = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&deaf);
    see_pool(&mut site, move |view| {
        if switch.load(Ordering::Relaxed) {
            view.collector = Observed::Unknown("condor_status took too long".to_owned());
        }
    });
    site.submit(4, 1, 1024, 10 * HOUR);
    site.tick();
    deaf.store(true, Ordering::Relaxed);
    site.ticks(16);
    assert_eq!(run_now(&site.world()), 4);
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    site.ticks(4);
    // Its ad is there, four minutes old and with four claims.
    deaf.store(false, Ordering::Relaxed);
    site.ticks(2);
    assert!(site.names().contains(&id), "{}", site.describe());
}

#[test]
fn a_job_of_a_schedd_that_ehos_does_not_ask_is_not_ended_after_a_quarter_of_an_hour() {
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    see_pool(&mut site, |view| {
        for schedd in view.schedds.values_mut() {
            if let Observed::Known(schedd) = schedd {
                schedd.running_on.clear();
            }
        }
    });
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    site.ticks(25);
    assert!(site.names().contains(&id), "{}", site.describe());
}

#[test]
fn a_delete_that_was_not_done_is_not_asked_again_under_a_job() {
    let mut site = Site::simple();
    locked(&site.world).broken.deletes = true;
    site.submit(4, 1, 1024, 10 * HOUR);
    site.tick();
    let id = site.names()[0].clone();
    // It cannot reach the collector while it boots: failed, and its delete is accepted and not done.
    locked(&site.world).cut_off(&id, true);
    let deleting = |site: &Site| {
        site.plan()
            .nodes
            .iter()
            .any(|node| node.phase.as_str() == "deleting")
    };
    for _ in 0..20 {
        site.tick();
        if deleting(&site) {
            break;
        }
    }
    assert!(deleting(&site), "{}", site.describe());
    // It joins after all and takes jobs; then it falls silent again.
    locked(&site.world).cut_off(&id, false);
    site.ticks(2);
    assert!(locked(&site.world).jobs_on(&id) > 0, "{}", site.describe());
    locked(&site.world).cut_off(&id, true);
    // A violation of the world fails the tick.
    site.ticks(50);
    assert!(site.names().contains(&id));
}

#[test]
fn trust_in_nodes_adopted_once_is_no_trust_in_those_of_a_second_master() {
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    // The state was lost once; the nodes were seen at once.
    site.state = State::default();
    site.ticks(2);
    assert!(site.state.adopted_trusted.is_some());
    // Much later somebody copies the configuration to another master, whose pool this one does not see.
    let theirs = {
        let mut world = locked(&site.world);
        let metadata = execute_metadata("pool-1", &NodeId("theirs".into()), "medium", "simulated");
        let id = world.create("blue", "theirs", "medium", metadata);
        world.cut_off(&id, true);
        id
    };
    site.ticks(90);
    assert!(site.names().contains(&theirs), "{}", site.describe());
}

#[test]
fn control_without_the_poison_two_hundred_jobs_run() {
    let mut site = Site::simple();
    site.policy.nodes_max = 60;
    site.ticks(15);
    site.submit(200, 1, 1024, 4 * HOUR);
    site.ticks(45);
    let run = run_now(&site.world());
    assert!(run >= 150, "{run} of 200 run\n{}", site.describe());
}

#[test]
fn control_with_a_slot_that_says_no_four_hundred_jobs_run() {
    let mut site = Site::simple();
    site.policy.nodes_max = 120;
    site.policy.nodes_min = 1;
    site.ticks(6);
    for server in locked(&site.world).servers.values_mut() {
        server.startd.as_mut().unwrap().closed = true;
    }
    site.submit(400, 1, 1024, 5 * HOUR);
    site.ticks(45);
    let run = run_now(&site.world());
    assert!(run >= 300, "{run} of 400 run\n{}", site.describe());
}

#[test]
fn a_negotiator_that_takes_ten_minutes_is_no_reason_to_make_and_unmake_nodes() {
    let mut slow = scenario(&[("blue", cloud(&[("medium", 4, 8192)]))]);
    slow.negotiation_seconds = 600;
    let mut site = Site::new(slow);
    site.policy.nodes_max = 60;
    site.submit(200, 1, 1024, HOUR);
    let mut made = 0;
    let mut most = 0;
    for _ in 0..90 {
        site.tick();
        made += site.created();
        most = most.max(run_now(&site.world()));
    }
    assert!(
        made <= 60 && most >= 150,
        "made {made} nodes, at most {most} of 200 ran at once\n{}",
        site.describe()
    );
}

#[test]
fn a_drain_that_was_taken_back_is_no_leave_to_delete_even_when_the_old_ad_is_seen_again() {
    let mut site = Site::simple();
    site.submit(4, 1, 1024, 300);
    site.until(20, "done", |world| world.unfinished() == 0);
    site.until(12, "a drain", |world| {
        world.servers.values().any(|server| {
            server
                .startd
                .as_ref()
                .is_some_and(|startd| startd.drain.is_some())
        })
    });
    // 0: as it is; 1: remember what is seen; 2: show that again, a minute older.
    let mode = Arc::new(std::sync::atomic::AtomicU8::new(1));
    let seen = Arc::new(Mutex::new(None));
    let (how, kept) = (Arc::clone(&mode), Arc::clone(&seen));
    see_pool(&mut site, move |view| {
        let mut kept = kept.lock().unwrap();
        match how.load(Ordering::Relaxed) {
            1 => *kept = Some(view.collector.clone()),
            2 => {
                view.collector = kept.clone().unwrap();
                each_startd(view, |startd| startd.heard_ago += Duration::from_secs(60));
            }
            _ => {}
        }
    });
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
    site.tick();
    assert_eq!(
        site.plan().count(NodeDecision::CancelDrain),
        1,
        "{}",
        site.describe()
    );
    // The user removes the jobs. The update of the startd was lost: the collector still has the drained ad when it is
    // asked; the next update comes, and a new job is matched, before ehos acts.
    {
        let mut world = locked(&site.world);
        world.jobs.retain(|job| job.starts > 0);
        world.broken.negotiator = false;
    }
    mode.store(2, Ordering::Relaxed);
    site.tick_while(&mut |world| {
        let mut world = locked(world);
        world.submit(1, 1, 1024, HOUR, false);
        world.advance(60);
    });
}

#[test]
fn three_dead_servers_and_a_lost_state_file_do_not_stop_the_pool() {
    let mut site = Site::simple();
    locked(&site.world).broken.image = true;
    site.submit(12, 1, 1024, 600);
    site.ticks(3);
    assert_eq!(site.servers(), 3);
    site.state = State::default();
    locked(&site.world).broken.image = false;
    site.ticks(240);
    assert_eq!(site.world().unfinished(), 0, "{}", site.describe());
}

/// The ads of a node whose server a list has missed once are fresh: its free cores still serve demand.
#[test]
fn a_list_that_is_wrong_once_does_not_buy_what_is_there() {
    let mut site = Site::simple();
    site.policy.nodes_max = 20;
    site.policy.nodes_min = 4;
    let hidden = hide_servers(&mut site);
    site.ticks(10);
    assert_eq!(site.servers(), 4);
    hidden.store(true, Ordering::Relaxed);
    site.tick();
    hidden.store(false, Ordering::Relaxed);
    site.ticks(2);
    assert_eq!(site.most_servers, 4, "{}", site.describe());
}

#[test]
fn a_builder_whose_startd_says_only_its_node_id_is_no_capacity_and_keeps_its_job() {
    let mut site = Site::simple();
    let node = NodeId("b-1".into());
    let metadata = builder_metadata("pool-1", &node, Duration::from_secs(300));
    let id = locked(&site.world).create_signed("blue", "builder", "medium", metadata);
    locked(&site.world).servers.get_mut(&id).unwrap().joins_at = Some(3700);
    see_pool(&mut site, |view| {
        if let Observed::Known(collector) = &mut view.collector {
            for startd in &mut collector.startds {
                startd.instance_id = None;
            }
        }
    });
    site.ticks(2);
    running(&mut site, 4, 1200);
    assert_eq!(site.world().jobs_on(&id), 4);
    site.ticks(10);
    assert!(matches!(
        site.plan().builders[0].why,
        Reason::BuilderRunsJobs { .. }
    ));
    site.until(30, "gone", |world| world.servers.is_empty());
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}

#[test]
fn a_node_that_takes_no_jobs_is_not_drained_and_taken_back_for_ever() {
    let mut site = Site::simple();
    locked(&site.world).broken.closed = true;
    site.submit(1, 1, 1024, 300);
    for _ in 0..40 {
        site.tick();
        assert_eq!(
            site.plan().count(NodeDecision::CancelDrain),
            0,
            "{}",
            site.describe()
        );
    }
    locked(&site.world).broken.closed = false;
    site.until(90, "a node that takes jobs is made", |world| {
        world.unfinished() == 0
    });
}

#[test]
fn nodes_that_take_no_jobs_are_drained_no_more_than_max_actions_a_tick() {
    let mut site = Site::simple();
    locked(&site.world).broken.closed = true;
    site.submit(12, 1, 1024, 300);
    site.ticks(5);
    assert_eq!(site.servers(), 3);
    locked(&site.world).jobs.clear();
    site.policy.max_actions = 1;
    for _ in 0..40 {
        site.tick();
        assert!(
            site.plan().count(NodeDecision::Drain) <= 1,
            "{}",
            site.describe()
        );
    }
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn an_ad_that_comes_late_is_no_leave_to_delete_a_node_whose_drain_was_taken_back() {
    let mut site = Site::simple();
    running(&mut site, 4, 300);
    let drained = |world: &World| {
        let mut startds = world
            .servers
            .values()
            .filter_map(|server| server.startd.as_ref());
        startds.any(|startd| startd.drain.is_some())
    };
    site.until(30, "drained", drained);
    // The collector is slow from now on, and takes what it hears for new.
    locked(&site.world).broken.late_ads = 150;
    site.policy.nodes_min = 1;
    site.tick();
    assert_eq!(
        site.plan().count(NodeDecision::CancelDrain),
        1,
        "{}",
        site.describe()
    );
    site.policy.nodes_min = 0;
    site.submit(1, 1, 1024, 600);
    for _ in 0..8 {
        site.tick();
        assert_eq!(
            site.plan().count(NodeDecision::Delete),
            0,
            "{}",
            site.describe()
        );
    }
    assert_eq!(run_now(&site.world()), 1);
    site.until(40, "gone in the end", |world| world.servers.is_empty());
}

#[test]
fn a_node_that_is_always_heard_late_keeps_its_jobs() {
    let mut site = Site::simple();
    running(&mut site, 4, 100 * 60);
    // What the collector shows is older than three updates, always, and moves on.
    locked(&site.world).broken.old_ads = 240;
    site.ticks(90);
    assert_eq!(site.servers(), 1, "{}", site.describe());
    locked(&site.world).broken.old_ads = 0;
    site.until(30, "done and gone", |world| world.servers.is_empty());
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}

#[test]
fn a_failed_server_that_a_list_shows_once_more_has_failed_once() {
    let mut site = Site::simple();
    locked(&site.world).broken.spawn = Some("No valid host was found. ".to_owned());
    site.submit(1, 1, 1024, 300);
    // The list of a replica: what was in it stays for a quarter of an hour.
    let old: Mutex<Vec<OwnedServer>> = Mutex::default();
    let change: ChangeCloud = Arc::new(move |view| {
        let mut old = old.lock().unwrap();
        if old.is_empty() {
            old.clone_from(&view.servers);
        }
        view.servers.clone_from(&old);
    });
    site.between = Box::new(move |asked| with_clouds(asked, Arc::clone(&change)));
    // For as long as its kind backs off.
    site.ticks(5);
    assert_eq!(site.servers(), 0);
    assert_eq!(
        site.state.node_types[0].failures, 1,
        "{:?}",
        site.state.node_types
    );
}

// ---- an ad that cannot be read -----------------------------------------------------------------------------------

/// The collector has an ad of which this much can be read.
fn unreadable(view: &mut PoolView, machine: Option<&str>, owner_known: bool) {
    if let Observed::Known(collector) = &mut view.collector {
        collector.unreadable.push(UnreadableAd {
            machine: machine.map(str::to_owned),
            slot: machine.map(|machine| format!("slot1@{machine}")),
            owner_known,
            up_for: None,
            what: "cannot be read: EhosNode".to_owned(),
        });
    }
}

#[test]
fn a_node_is_not_lost_while_its_ad_may_be_one_that_cannot_be_read() {
    // What is read of the ad, and whether the silent node may be behind it.
    for (theirs, known, hides) in [
        (None, false, true),
        (Some("n.novalocal"), false, false),
        (None, true, false),
    ] {
        let mut site = Site::simple();
        running(&mut site, 4, 120);
        site.until(12, "done", |world| world.unfinished() == 0);
        let id = site.names()[0].clone();
        let machine = simulation::machine(&site.world().servers[&id].name);
        locked(&site.world).cut_off(&id, true);
        // Its own ad cannot be read, or that of another.
        see_pool(&mut site, move |view| {
            unreadable(view, theirs, known);
        });
        site.ticks(60);
        assert_eq!(
            site.servers() == 1,
            hides,
            "{theirs:?}: {}",
            site.describe()
        );
        if hides {
            assert_eq!(
                site.plan().nodes[0].phase.as_str(),
                "unknown",
                "{}",
                site.describe()
            );
            see_pool(&mut site, move |view| {
                unreadable(view, Some(&machine), false)
            });
            site.ticks(60);
            assert_eq!(site.servers(), 1, "by its machine: {}", site.describe());
            site.between = Box::new(|asked| asked);
            site.until(40, "it is lost in the end", |world| {
                world.servers.is_empty()
            });
        }
    }
}

#[test]
fn a_node_has_not_failed_to_join_while_its_ad_may_be_one_that_cannot_be_read() {
    let mut site = Site::simple();
    locked(&site.world).broken.image = true;
    site.policy.nodes_min = 1;
    see_pool(&mut site, |view| {
        unreadable(view, Some("odd.example"), false)
    });
    site.ticks(60);
    assert_eq!((site.servers(), site.plan().nodes.len()), (1, 1));
    assert_eq!(
        site.plan().nodes[0].phase.as_str(),
        "booting",
        "{}",
        site.describe()
    );
    site.between = Box::new(|asked| asked);
    site.ticks(20);
    assert!(site.state.departed.len() == 1, "{}", site.describe());
}

/// A machine of others that has been there for longer than the server hides no failure of it.
#[test]
fn a_node_fails_to_join_beside_an_older_ad_that_cannot_be_read() {
    let mut site = Site::simple();
    locked(&site.world).broken.image = true;
    site.policy.nodes_min = 1;
    see_pool(&mut site, |view| {
        unreadable(view, Some("odd.example"), false);
        if let Observed::Known(collector) = &mut view.collector {
            collector.unreadable[0].up_for = Some(std::time::Duration::from_secs(30 * 86_400));
        }
    });
    site.ticks(60);
    assert!(!site.state.departed.is_empty(), "{}", site.describe());
    assert!(site.state.node_types[0].failures > 0, "{}", site.describe());
}

#[test]
fn an_ad_that_cannot_be_read_is_told_and_the_rest_goes_on() {
    let mut site = Site::simple();
    see_pool(&mut site, |view| {
        unreadable(view, Some("odd.example"), true)
    });
    running(&mut site, 6, 600);
    let unseen: Vec<_> = site
        .plan()
        .unknown_sources
        .iter()
        .map(|one| one.source.to_string())
        .collect();
    assert_eq!(unseen, ["slot slot1@odd.example"]);
    assert!(
        site.plan().unknown_sources[0].why.contains("EhosNode"),
        "{:?}",
        site.plan().unknown_sources
    );
    site.until(60, "all is done and gone", |world| world.servers.is_empty());
    assert_eq!(site.world().unfinished(), 0);
}

/// The nodes of a flavor are broken, or one is in hostile hands: they show less than they have.
#[test]
fn nodes_that_show_less_than_they_have_keep_no_job_waiting_for_ever() {
    for first_runs in [60, 12 * 3600] {
        let mut site = Site::simple();
        site.policy.nodes_max = 40;
        let broken = Arc::new(AtomicBool::new(true));
        let all = Arc::clone(&broken);
        let first = Mutex::new(None);
        see_pool(&mut site, move |view| {
            each_startd(view, |startd| {
                let mut first = first.lock().unwrap();
                let first = first.get_or_insert_with(|| startd.node.clone());
                if all.load(Ordering::Relaxed) || *first == startd.node {
                    for slot in &mut startd.slots {
                        slot.total.memory_mb = 1000;
                        slot.free.memory_mb = slot.free.memory_mb.min(1000);
                    }
                }
            });
        });
        site.submit(1, 1, 512, first_runs);
        site.ticks(10);
        site.world().submit(30, 4, 4096, 600, true);
        site.tick();
        let mut why = site.plan().groups.iter().flat_map(|group| &group.why);
        let too_large = why.any(|why| matches!(why, Reason::TooLarge { .. }));
        assert!(too_large, "{}", site.describe());
        let before = site.world().names.len();
        site.ticks(180);
        // Each hour one node is created, which shows whether it is true.
        let tried = site.world().names.len() - before;
        assert!((2..=3).contains(&tried), "{tried}\n{}", site.describe());
        broken.store(false, Ordering::Relaxed);
        for job in &mut site.world().jobs {
            job.unmatchable = false;
        }
        site.until(240, "the large jobs are done", |world| {
            let mut large = world.jobs.iter().filter(|job| job.request.cpus == 4);
            large.all(|job| matches!(job.state, JobState::Done(_)))
        });
        assert!(site.world().names.len() > before + 20);
    }
}
