//! What is told is what is so: jobs on machines that are gone, servers that an operator put aside, nodes of another pool,
//! what a console says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use scaling::console::ConsoleSource;
use scaling::node::JobListed;
use scaling::observation::{METADATA_CONDOR_HOST, Observed, ServerStatus, StartdView};
use scaling::plan::{NodeDecision, NodeEntry};
use scaling::reason::{Reason, Unheard};
use scaling::seconds::Seconds;
use scaling::state::State;
use simulation::{JobState, locked};

use crate::site::{Site, minutes, running};
use crate::suspicions::see_pool;

const HOUR: u64 = 3600;

fn only(site: &Site) -> &NodeEntry {
    assert_eq!(site.plan().nodes.len(), 1, "{}", site.describe());
    &site.plan().nodes[0]
}

fn stranded(site: &Site) -> u64 {
    let stranded = site.plan().stranded.as_ref();
    stranded.map_or(0, |stranded| stranded.jobs)
}

/// A node with four jobs whose server somebody deleted, and whose ad has gone stale.
fn vanished() -> Site {
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    let id = site.names()[0].clone();
    locked(&site.world).servers.remove(&id);
    site
}

#[test]
fn jobs_on_a_vanished_server_are_told_until_their_leases_end() {
    let mut site = vanished();
    site.tick();
    assert_eq!(stranded(&site), 0, "its ad is fresh: the list may be wrong");
    site.ticks(3);
    assert_eq!(only(&site).decision, NodeDecision::Forget);
    assert_eq!(stranded(&site), 4, "{}", site.describe());
    site.tick();
    let told = site.plan().stranded.clone().unwrap();
    assert_eq!(told.jobs, 4);
    assert_eq!(told.machines.len(), 1);
    let on = &told.machines[0];
    assert_eq!(
        (on.jobs, &*on.schedd, on.example.as_deref()),
        (4, "simulated", Some("1.0"))
    );
    let until = told.until.unwrap();
    assert_eq!(
        until.duration_since(site.plan().at).as_secs(),
        told.seconds_left.unwrap() as i64
    );
    let text = told.to_string();
    let begin = format!(
        "4 jobs run on deleted machines, until {until:.0} at most: {} is deleted",
        on.machine
    );
    assert!(text.starts_with(&begin), "{text}");
    assert!(text.contains("JOB_DEFAULT_LEASE_DURATION"), "{text}");
    // Nothing is made for them meanwhile: they run, as far as HTCondor says.
    assert_eq!(site.servers(), 0);

    let idle = |site: &Site| {
        let jobs = &site.world().jobs;
        jobs.iter()
            .any(|job| matches!(job.state, JobState::Idle(_)))
    };
    while !idle(&site) {
        assert_eq!(stranded(&site), 4);
        assert!(
            site.plan().at < until,
            "it is told for longer than was said"
        );
        site.tick();
    }
    site.tick();
    assert_eq!(stranded(&site), 0);
    assert!(site.state.departed.values().all(|gone| gone.jobless));
    site.until(12, "they run again", |world| {
        world.jobs.iter().all(|job| job.starts == 2)
    });
}

#[test]
fn nodes_that_were_deleted_without_a_job_are_not_asked_about() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(40, "all gone", |world| world.servers.is_empty());
    site.ticks(2);
    assert!(!site.state.departed.is_empty());
    assert!(site.state.departed.values().all(|gone| gone.jobless));
}

#[test]
fn what_nobody_could_say_is_no_end_of_a_job() {
    for collector in [true, false] {
        let mut site = vanished();
        site.ticks(5);
        assert_eq!(stranded(&site), 4);
        {
            let mut world = locked(&site.world);
            world.broken.collector = collector;
            world.broken.schedd = !collector;
        }
        site.ticks(10);
        assert!(!site.state.departed.values().any(|gone| gone.jobless));
        {
            let mut world = locked(&site.world);
            world.broken.collector = false;
            world.broken.schedd = false;
        }
        site.tick();
        assert_eq!(stranded(&site), 4, "collector: {collector}");
    }
}

#[test]
fn a_state_of_an_earlier_version_asks_once() {
    let mut site = vanished();
    site.ticks(5);
    let mut state = serde_json::to_value(&site.state).unwrap();
    for gone in state["departed"].as_object_mut().unwrap().values_mut() {
        gone.as_object_mut().unwrap().remove("jobless");
    }
    site.state = serde_json::from_value::<State>(state).unwrap();
    site.tick();
    assert_eq!(stranded(&site), 4);
}

#[test]
fn a_long_lease_is_told_for_as_long_as_a_day() {
    let mut site = vanished();
    see_pool(&mut site, |view| {
        for schedd in view.schedds.values_mut() {
            let Observed::Known(schedd) = schedd else {
                continue;
            };
            for jobs in schedd.running_on.values_mut() {
                jobs.lease = Some(Duration::from_secs(100 * HOUR));
                jobs.lease_left = None;
            }
        }
    });
    // In the simulation leases end; the ticks until then are of one machine that stays listed.
    site.ticks(5);
    let told = site.plan().stranded.clone().unwrap();
    // The schedd has not found the connection dead yet: it does within 16 minutes, and then the lease begins.
    let left = told.seconds_left.unwrap();
    assert!((99 * HOUR..100 * HOUR + 16 * 60).contains(&left), "{left}");
}

#[test]
fn jobs_of_a_lease_that_is_not_known_have_no_end_that_is_made_up() {
    let mut site = vanished();
    see_pool(&mut site, |view| {
        for schedd in view.schedds.values_mut() {
            let Observed::Known(schedd) = schedd else {
                continue;
            };
            for jobs in schedd.running_on.values_mut() {
                (jobs.lease, jobs.lease_left) = (None, None);
            }
        }
    });
    site.ticks(5);
    let told = site.plan().stranded.clone().unwrap();
    assert_eq!((told.jobs, told.until), (4, None));
    let text = told.to_string();
    assert!(
        text.starts_with("4 jobs run on deleted machines, until the job leases expire: "),
        "{text}"
    );
}

#[test]
fn jobs_of_a_machine_that_may_still_run_are_not_stranded() {
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    site.ticks(20);
    assert_eq!(only(&site).phase.as_str(), "silent");
    assert_eq!(stranded(&site), 0, "the network may come back");
}

#[test]
fn jobs_of_a_server_that_is_switched_off_are_stranded() {
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    let id = site.names()[0].clone();
    {
        let mut world = locked(&site.world);
        world.crash(&id);
        world.servers.get_mut(&id).unwrap().status = ServerStatus::Shutoff;
    }
    site.ticks(6);
    let why = &only(&site).why;
    let listed = Reason::Stopped {
        silent: true,
        job: JobListed::Yes,
    };
    assert_eq!(*why, listed);
    assert_eq!(
        why.to_string(),
        "server is SHUTOFF, and a schedd lists a job on it"
    );
    assert_eq!(stranded(&site), 4);
}

fn put_aside(site: &Site, id: &str, status: ServerStatus, word: &str) {
    let mut world = locked(&site.world);
    let server = world.servers.get_mut(id).unwrap();
    server.status = status;
    server.nova_status = Some(word.to_owned());
    // What is held still says nothing.
    world.cut_off(id, status != ServerStatus::Active);
}

#[test]
fn a_server_that_is_put_aside_is_told_by_novas_word_and_left_alone() {
    for (status, word) in [
        (ServerStatus::Other, "PAUSED"),
        (ServerStatus::Other, "SUSPENDED"),
        (ServerStatus::Other, "RESCUE"),
        (ServerStatus::Shutoff, "SHELVED"),
        (ServerStatus::Shutoff, "SHELVED_OFFLOADED"),
    ] {
        let mut site = Site::simple();
        site.policy.nodes_max = 2;
        running(&mut site, 2, 120);
        site.until(12, "done", |world| world.unfinished() == 0);
        let id = site.names()[0].clone();
        put_aside(&site, &id, status, word);
        site.tick();
        let why = only(&site).why.clone();
        let told = Reason::Inactive {
            status: word.to_owned(),
            job: JobListed::No,
        };
        assert_eq!(
            (only(&site).phase.as_str(), &why),
            ("inactive", &told),
            "at once"
        );
        assert!(
            why.to_string()
                .starts_with(&format!("Nova reports {word}: ")),
            "{why}"
        );
        // It offers no room, though its ad is fresh and two of its cores are free, and counts toward nodes_max.
        site.submit(8, 1, 1024, 300);
        site.until(20, "another is made", |world| world.servers.len() == 2);
        site.ticks(4 * 60);
        assert!(site.names().contains(&id), "{word}\n{}", site.describe());
        assert_eq!(site.state.node_types[0].failures, 0);

        put_aside(&site, &id, ServerStatus::Active, "ACTIVE");
        site.tick();
        let phase = site.plan().nodes[0].phase.as_str();
        assert!(
            ["idle", "draining", "booting", "silent"].contains(&phase),
            "{phase}"
        );
        assert_ne!(
            site.plan().nodes[0].decision,
            NodeDecision::Delete,
            "{}",
            site.describe()
        );
    }
}

#[test]
fn a_paused_node_keeps_its_jobs_for_as_long_as_it_is_paused() {
    let mut site = Site::simple();
    running(&mut site, 4, 3 * HOUR);
    let id = site.names()[0].clone();
    put_aside(&site, &id, ServerStatus::Other, "PAUSED");
    site.ticks(30);
    let told = Reason::Inactive {
        status: "PAUSED".to_owned(),
        job: JobListed::Yes,
    };
    assert_eq!(only(&site).why, told);
    assert_eq!(stranded(&site), 0, "they are paused with it");
    // Longer than lost_job_timeout, after which it would have been lost.
    site.ticks(60);
    assert_eq!(only(&site).phase.as_str(), "inactive");
    // It runs again, and is not heard yet: its silence begins now.
    locked(&site.world)
        .servers
        .get_mut(&id)
        .unwrap()
        .nova_status = None;
    locked(&site.world).servers.get_mut(&id).unwrap().status = ServerStatus::Active;
    site.ticks(3);
    assert_eq!(only(&site).phase.as_str(), "silent", "{}", site.describe());
    locked(&site.world).cut_off(&id, false);
    site.tick();
    assert_eq!(only(&site).phase.as_str(), "busy", "{}", site.describe());
}

#[test]
fn a_status_that_a_later_nova_has_is_told_by_its_name_and_ends_nothing() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    let id = site.names()[0].clone();
    {
        // It runs on, whatever that means.
        let mut world = locked(&site.world);
        let server = world.servers.get_mut(&id).unwrap();
        server.status = ServerStatus::Other;
        server.nova_status = Some("QUANTUM".to_owned());
    }
    site.ticks(10);
    let told = Reason::NotActive {
        status: "QUANTUM".to_owned(),
    };
    assert_eq!(only(&site).why, told, "idle for long, and not drained");
    locked(&site.world).cut_off(&id, true);
    site.ticks(3 * 60);
    assert_eq!(only(&site).phase.as_str(), "inactive", "nor lost");
    assert!(
        only(&site)
            .why
            .to_string()
            .starts_with("Nova reports QUANTUM: ")
    );
    {
        let mut world = locked(&site.world);
        world.servers.get_mut(&id).unwrap().nova_status = None;
    }
    site.tick();
    assert!(
        only(&site)
            .why
            .to_string()
            .contains("no status that ehos knows")
    );
}

#[test]
fn a_server_that_is_paused_while_it_boots_is_no_failure() {
    let mut site = Site::simple();
    site.submit(4, 1, 1024, 300);
    site.ticks(2);
    let id = site.names()[0].clone();
    put_aside(&site, &id, ServerStatus::Other, "PAUSED");
    locked(&site.world).crash(&id);
    site.ticks(60);
    assert!(site.names().contains(&id));
    assert_eq!(site.state.node_types[0].failures, 0);
}

/// A site with a node of another one's central manager on its project.
fn with_foreign(nodes_max: u64) -> (Site, String) {
    let mut first = Site::simple();
    running(&mut first, 4, 10 * HOUR);
    let foreign = first.names()[0].clone();
    let mut site = Site::simple();
    site.policy.nodes_max = nodes_max;
    site.policy.condor_host = Some("10.0.0.2".to_owned());
    let mut server = first.world().servers[&foreign].clone();
    let host = (METADATA_CONDOR_HOST.to_owned(), "10.0.0.1".to_owned());
    server.metadata.extend([host]);
    server.startd = None;
    server.joins_at = None;
    let id = "ffffffff-0000-4000-8000-000000000000".to_owned();
    server.id.clone_from(&id);
    locked(&site.world).servers.insert(id.clone(), server);
    (site, id)
}

#[test]
fn a_node_of_another_pool_is_told_at_once_and_serves_nobody_here() {
    let (mut site, foreign) = with_foreign(2);
    site.submit(4, 1, 1024, 300);
    site.tick();
    let node = &site.plan().nodes[0];
    let told = Reason::AnotherCondorHost {
        condor_host: "10.0.0.1".to_owned(),
        configured_condor_host: "10.0.0.2".to_owned(),
    };
    assert_eq!(
        (node.phase.as_str(), &node.why),
        ("untrusted", &told),
        "{}",
        site.describe()
    );
    let notices = &site.plan().notices;
    let words = "found a server of this ehos.cluster with another central manager, not touched: ";
    assert!(notices[0].starts_with(words), "{notices:?}");
    assert_eq!(notices.len(), 1, "it was not adopted: {notices:?}");
    assert_eq!(
        site.created(),
        1,
        "our jobs do not wait for it\n{}",
        site.describe()
    );
    site.until(12, "done", |world| world.unfinished() == 0);
    site.ticks(120);
    assert!(site.names().contains(&foreign), "it is not touched");

    // Its cloud falls silent: it is as foreign as before.
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.tick();
    let foreign = site
        .plan()
        .nodes
        .iter()
        .find(|node| node.server.id.as_ref() == Some(&foreign));
    assert_eq!(foreign.unwrap().phase.as_str(), "untrusted");
}

#[test]
fn a_node_of_another_pool_counts_toward_nodes_max() {
    let (mut site, _) = with_foreign(1);
    site.submit(4, 1, 1024, 300);
    site.ticks(5);
    assert_eq!(site.created(), 0);
    let limited = |why: &Reason| matches!(why, Reason::Limited { .. });
    let group = &site.plan().groups[0];
    assert!(group.why.iter().any(limited), "{}", site.describe());
}

#[test]
fn a_node_that_is_being_built_for_another_pool_is_not_on_its_way_here() {
    let (mut site, foreign) = with_foreign(5);
    locked(&site.world)
        .servers
        .get_mut(&foreign)
        .unwrap()
        .status = ServerStatus::Build;
    site.tick();
    assert_eq!(only(&site).phase.as_str(), "untrusted");
}

const CONSOLE: &str = "[   12.1] cloud-init[400]: EHOS: FAILED: HTCondor is not in this image; make one with base.yaml\n\
    [   13.0] cloud-init[400]: |    .o=.  |\nci-info: | RSA |\nlocalhost login: ";

#[test]
fn the_words_of_a_node_are_told_with_its_failure() {
    let mut site = Site::simple();
    {
        let mut world = locked(&site.world);
        world.broken.image = true;
        world.broken.console = Some(CONSOLE.to_owned());
    }
    site.policy.protect_after = 2;
    site.submit(4, 1, 1024, 300);
    let deleted = |site: &Site| {
        let mut nodes = site.plan().nodes.iter();
        nodes
            .find(|node| node.decision == NodeDecision::Delete)
            .cloned()
    };
    let deleted = loop {
        site.tick();
        if let Some(node) = deleted(&site) {
            break node;
        }
    };
    let Reason::NeverJoined { seconds, console } = &deleted.why else {
        panic!("{}", site.describe());
    };
    let console = console.as_ref().unwrap();
    assert_eq!(console.source, ConsoleSource::Node);
    let words = "HTCondor is not in this image; make one with base.yaml";
    assert_eq!(console.text, words);
    let sentence = format!(
        "failed: created {} min ago and never joined the pool: {words}",
        seconds.0 / 60
    );
    assert_eq!(deleted.why.to_string(), sentence);
    assert_eq!(
        site.state.node_types[0].last_failure.as_ref(),
        Some(&sentence)
    );
    assert_eq!(site.plan().backoffs[0].last_failure, sentence);
    site.until(120, "protected", |world| {
        world.servers.len() > 5 || world.unfinished() == 0 || world.now > 3600 + 2 * HOUR
    });
    let protected = &site.plan().protected;
    assert_eq!(protected.len(), 1, "{}", site.describe());
    assert!(protected[0].last_failure.ends_with(words), "{protected:?}");
}

#[test]
fn a_fault_of_the_cloud_keeps_its_words_beside_those_of_the_console() {
    let mut site = Site::simple();
    {
        let mut world = locked(&site.world);
        world.broken.spawn = Some("Build of instance x aborted: disk is full".to_owned());
        world.broken.console = Some("Kernel panic - not syncing: VFS".to_owned());
    }
    site.submit(1, 1, 1024, 300);
    site.ticks(2);
    let why = site.plan().nodes[0].why.to_string();
    assert_eq!(
        why,
        "failed: Build of instance x aborted: disk is full; Kernel panic - not syncing: VFS"
    );
}

#[test]
fn a_node_that_takes_no_jobs_says_for_how_long() {
    let mut site = Site::simple();
    running(&mut site, 4, 1200);
    {
        let mut world = locked(&site.world);
        for server in world.servers.values_mut() {
            server.startd.as_mut().unwrap().closed = true;
        }
    }
    let done = |site: &Site, decision: NodeDecision| {
        site.plan()
            .nodes
            .iter()
            .find(|node| node.decision == decision)
            .cloned()
    };
    let drained = loop {
        site.tick();
        if let Some(node) = done(&site, NodeDecision::Drain) {
            break node;
        }
    };
    let Reason::DrainTakesNoJobs {
        idle_seconds,
        closed_seconds,
    } = drained.why
    else {
        panic!("{}", site.describe());
    };
    assert!(
        closed_seconds > idle_seconds && idle_seconds >= Seconds(300),
        "{}",
        drained.why
    );
    let deleted = loop {
        site.tick();
        if let Some(node) = done(&site, NodeDecision::Delete) {
            break node;
        }
    };
    let Reason::Drained {
        idle_seconds: Some(idle),
    } = deleted.why
    else {
        panic!("{}", site.describe());
    };
    assert!(idle > idle_seconds, "{idle}");
}

#[test]
fn a_node_of_which_nothing_is_known_says_why() {
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    locked(&site.world).broken.collector = true;
    site.tick();
    let cause = |site: &Site| match &only(site).why {
        Reason::Unheard { cause } => cause.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(cause(&site), Unheard::CollectorUnknown);
    locked(&site.world).restart_collector();
    site.policy.collector_grace = minutes(10);
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    site.ticks(2);
    assert!(matches!(
        cause(&site),
        Unheard::CollectorYoung {
            collector_grace_seconds: Seconds(600),
            ..
        }
    ));

    let mut site = Site::simple();
    locked(&site.world).broken.image = true;
    site.submit(4, 1, 1024, 300);
    site.ticks(2);
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.ticks(20);
    assert!(
        matches!(cause(&site), Unheard::CloudUnknown { .. }),
        "{}",
        site.describe()
    );
}

#[test]
fn a_silent_node_names_the_schedd_that_does_not_answer() {
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    locked(&site.world).broken.schedd = true;
    site.ticks(10);
    let why = only(&site).why.to_string();
    assert!(
        why.contains("schedd simulated does not answer and may have a job on it"),
        "{why}"
    );
    // A schedd that is not asked has the job.
    locked(&site.world).broken.schedd = false;
    let hidden = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&hidden);
    let mut site = Site::simple();
    running(&mut site, 4, 10 * HOUR);
    see_pool(&mut site, move |view| {
        for schedd in view.schedds.values_mut() {
            let Observed::Known(schedd) = schedd else {
                continue;
            };
            if switch.load(Ordering::Relaxed) {
                schedd.running_on.clear();
            }
        }
    });
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    site.ticks(10);
    let why = only(&site).why.to_string();
    assert!(
        why.contains("a schedd that ehos does not query may have a job on it (it had a claim)"),
        "{why}"
    );
}

#[test]
fn jobs_of_a_namesake_are_not_those_of_the_machine_that_is_gone() {
    let mut site = vanished();
    site.ticks(5);
    assert_eq!(stranded(&site), 4);
    let machine = site.plan().stranded.as_ref().unwrap().machines[0]
        .machine
        .clone();
    // A machine of that name joins, which is not ehos's.
    see_pool(&mut site, move |view| {
        let Observed::Known(collector) = &mut view.collector else {
            return;
        };
        collector.startds.push(StartdView {
            machine: machine.clone(),
            instance_id: None,
            node: None,
            address: None,
            slots: Vec::new(),
            sender: scaling::sender::Sender::Unknown,
            heard_ago: Duration::ZERO,
            update_interval: None,
            up_for: Duration::ZERO,
            draining: None,
        });
    });
    site.tick();
    assert_eq!(stranded(&site), 0);
    assert!(!site.state.departed.values().any(|gone| gone.jobless));
}
