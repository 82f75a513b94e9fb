//! Two central managers with one configuration: the second was made with a copy of the first one's, so that both say
//! that they own the same servers in one project.

use scaling::observation::METADATA_CONDOR_HOST;
use scaling::reason::Reason;
use scaling::state::State;
use simulation::locked;

use crate::site::{Site, cloud, scenario};

const HOUR: usize = 60;

/// Two pools, each with an ehos, on one project.
struct Project {
    first: Site,
    second: Site,
    /// Nodes of the second are told to join the first one's collector.
    second_joins_first: bool,
    /// Servers that were deleted under a job of the other pool.
    killed: Vec<String>,
}

impl Project {
    fn new() -> Project {
        let site = |seed: u64| {
            let mut scenario = scenario(&[("blue", cloud(&[("medium", 4, 8192)]))]);
            // Server ids come from it.
            scenario.seed = seed;
            let mut site = Site::new(scenario);
            site.policy.nodes_max = 20;
            site
        };
        Project {
            first: site(7),
            second: site(11),
            second_joins_first: false,
            killed: Vec::new(),
        }
    }

    /// Each says in its configuration where its nodes join, and they carry it.
    fn with_condor_hosts(mut self) -> Project {
        self.first.policy.condor_host = Some("10.0.0.1".to_owned());
        self.second.policy.condor_host = Some("10.0.0.2".to_owned());
        self
    }

    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.first.tick();
            share(&self.first, &self.second, false, &mut self.killed);
            self.second.tick();
            let joins = self.second_joins_first;
            share(&self.second, &self.first, joins, &mut self.killed);
        }
    }

    fn describe(&self) -> String {
        format!(
            "first:\n{}second:\n{}killed: {:?}",
            self.first.describe(),
            self.second.describe(),
            self.killed
        )
    }
}

/// The mark of a server that stands for one of the other pool.
const COPY: &str = "copy";

/// `other` sees in the project what `one` made or deleted there.
fn share(one: &Site, other: &Site, joins_other: bool, killed: &mut Vec<String>) {
    let host = one.policy.condor_host.clone();
    let (mut one, mut other) = (locked(&one.world), locked(&other.world));
    for server in one.servers.values_mut() {
        if server.metadata.contains_key(COPY) {
            continue;
        }
        if let Some(host) = &host {
            let key = METADATA_CONDOR_HOST.to_owned();
            server.metadata.insert(key, host.clone());
        }
        if other.servers.contains_key(&server.id) || server.gone_at.is_some() {
            continue;
        }
        let mut copy = server.clone();
        copy.metadata.insert(COPY.to_owned(), String::new());
        copy.startd = None;
        // It is heard of in one collector only.
        if joins_other {
            server.joins_at = None;
        } else {
            copy.joins_at = None;
        }
        other.servers.insert(copy.id.clone(), copy);
    }
    // What one has deleted of the other's.
    let ids: Vec<String> = other.servers.keys().cloned().collect();
    for id in ids {
        let there = one
            .servers
            .get(&id)
            .is_some_and(|server| server.gone_at.is_none());
        let shared = other.servers[&id].metadata.contains_key(COPY);
        let gone = other.servers[&id].gone_at.is_some();
        if !there && !gone && (shared || one.now > 0 && was_shared(&other.servers[&id].metadata)) {
            if other.jobs_on(&id) > 0 {
                killed.push(id.clone());
            }
            // As a power cut: that is no doing of this world's own ehos.
            other.crash(&id);
            other.servers.remove(&id);
        }
    }
    for server in other.servers.values_mut() {
        if one.servers.contains_key(&server.id) {
            server.metadata.insert(SHARED.to_owned(), String::new());
        }
    }
}

/// The mark of a server that the other pool has seen.
const SHARED: &str = "shared";

fn was_shared(metadata: &std::collections::BTreeMap<String, String>) -> bool {
    metadata.contains_key(SHARED)
}

#[test]
fn each_leaves_the_others_nodes_alone() {
    let mut project = Project::new();
    project.first.submit(8, 1, 1024, 12 * 3600);
    project.ticks(10);
    project.second.submit(8, 1, 1024, 12 * 3600);
    project.ticks(6 * HOUR);
    assert!(project.killed.is_empty(), "{}", project.describe());
    assert_eq!(project.first.servers(), 4, "{}", project.describe());
    assert_eq!(project.second.servers(), 4, "{}", project.describe());
    // And each gives back its own when there is nothing to do.
    project.ticks(8 * HOUR);
    assert_eq!(
        (project.first.servers(), project.second.servers()),
        (0, 0),
        "{}",
        project.describe()
    );
}

#[test]
fn a_state_that_is_lost_does_not_make_the_second_ones_nodes_the_firsts() {
    let mut project = Project::new().with_condor_hosts();
    project.first.submit(8, 1, 1024, 12 * 3600);
    project.second.submit(8, 1, 1024, 12 * 3600);
    project.ticks(HOUR);
    // What is adopted in one tick belongs together, were it not for what the servers say.
    project.first.state = State::default();
    project.ticks(6 * HOUR);
    assert!(project.killed.is_empty(), "{}", project.describe());
    let elsewhere = |why: &Reason| matches!(why, Reason::AnotherCondorHost { condor_host, .. } if condor_host == "10.0.0.2");
    let nodes = &project.first.plan().nodes;
    let said = nodes.iter().filter(|node| elsewhere(&node.why)).count();
    assert_eq!(said, 2, "{}", project.describe());
    // Nor does an operator who trusts what was adopted mean those.
    project.first.state.trust_adopted();
    project.ticks(2 * HOUR);
    assert!(project.killed.is_empty(), "{}", project.describe());
}

#[test]
fn nodes_that_say_no_central_manager_are_taken_for_ours_when_a_state_is_lost() {
    // What servers of an ehos before 0.1 would be, and why each says it now.
    let mut project = Project::new();
    project.first.submit(8, 1, 1024, 12 * 3600);
    project.second.submit(8, 1, 1024, 12 * 3600);
    project.ticks(HOUR);
    project.first.state = State::default();
    project.ticks(6 * HOUR);
    assert!(!project.killed.is_empty(), "{}", project.describe());
}

#[test]
fn nodes_told_to_join_the_first_ones_collector_are_failures_to_the_second() {
    let mut project = Project::new();
    project.first.policy.condor_host = Some("10.0.0.1".to_owned());
    project.second.policy.condor_host = Some("10.0.0.1".to_owned());
    project.second_joins_first = true;
    project.second.submit(4, 1, 1024, 12 * 3600);
    project.ticks(2);
    project.first.submit(4, 1, 1024, 12 * 3600);
    project.ticks(HOUR);
    // Its own collector never hears of them. Only a token of the second pool, which the first one's collector does not
    // accept, or the right host_ip keeps jobs of the first from them: `ehos check` tells.
    assert!(!project.killed.is_empty(), "{}", project.describe());
}
