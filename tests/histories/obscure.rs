//! Servers that cannot be read: they count, nothing is done to them, and what they hide is not taken for gone.

use std::sync::{Arc, Mutex};

use scaling::action::{CloudAction, Done, Failure};
use scaling::observation::{CloudView, ObscureServer, ServerRecord, Unread};
use scaling::plan::NodeDecision;
use scaling::reason::Reason;
use scaling::state::State;
use simulation::locked;
use system::deadline::Deadline;
use tick::backends::Backends as Asked;
use tick::cloud::{Cloud, LeftoverQuery};

use crate::site::{Site, running};

/// What is left of a server that cannot be read.
type Observed = fn(&ServerRecord) -> ObscureServer;

fn by_id(record: &ServerRecord) -> ObscureServer {
    ObscureServer {
        id: Some(record.id.clone()),
        ..nothing(record)
    }
}

fn by_name(record: &ServerRecord) -> ObscureServer {
    ObscureServer {
        name: Some(record.name.clone()),
        ..nothing(record)
    }
}

fn nothing(_: &ServerRecord) -> ObscureServer {
    ObscureServer {
        id: None,
        name: None,
        node: None,
        role: None,
    }
}

const WAYS: [Observed; 3] = [by_id, by_name, nothing];

/// A cloud none of whose servers can be read while the switch says how they look.
struct OddCloud<'a> {
    cloud: Box<dyn Cloud + 'a>,
    odd: Arc<Mutex<Option<Observed>>>,
}

impl Cloud for OddCloud<'_> {
    fn name(&self) -> &str {
        self.cloud.name()
    }
    fn observe(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Failure> {
        let mut view = self.cloud.observe(traces, deadline)?;
        if let Some(seen) = *self.odd.lock().unwrap() {
            for server in std::mem::take(&mut view.servers) {
                view.unread.push(Unread {
                    item: format!("server {}", server.record().name),
                    why: "status: null".to_owned(),
                });
                view.obscure.push(seen(server.record()));
            }
        }
        Ok(view)
    }
    fn look(&self, server_id: &str, deadline: Deadline) -> Result<Option<ServerRecord>, Failure> {
        self.cloud.look(server_id, deadline)
    }
    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure> {
        self.cloud.perform(action, deadline)
    }
}

fn odd_cloud(site: &mut Site) -> Arc<Mutex<Option<Observed>>> {
    let odd = Arc::new(Mutex::new(None));
    let switch = Arc::clone(&odd);
    site.between = Box::new(move |mut asked: Asked<'_>| {
        let wrap = |cloud| -> Box<dyn Cloud + '_> {
            let odd = Arc::clone(&odd);
            Box::new(OddCloud { cloud, odd })
        };
        asked.clouds = asked.clouds.into_iter().map(wrap).collect();
        asked
    });
    switch
}

#[test]
fn a_node_whose_server_cannot_be_read_is_left_alone_until_it_can() {
    for seen in WAYS {
        let mut site = Site::simple();
        let odd = odd_cloud(&mut site);
        running(&mut site, 4, 120);
        let before = site.names();
        *odd.lock().unwrap() = Some(seen);
        for _ in 0..90 {
            site.tick();
            let plan = site.plan();
            assert!(plan.actions.is_empty(), "{}", site.describe());
            assert_eq!(plan.count(NodeDecision::Forget), 0, "{}", site.describe());
            let mut whys = plan.nodes.iter().map(|node| &node.why);
            assert!(
                whys.all(|why| *why != Reason::CloudUnknown),
                "{}",
                site.describe()
            );
            let told = plan.notices.iter();
            let told = told.filter(|notice| notice.contains("cannot be read: status: null"));
            assert_eq!(told.count(), before.len(), "{:?}", plan.notices);
        }
        assert_eq!(site.names(), before, "idle for an hour and a half");
        *odd.lock().unwrap() = None;
        site.until(30, "surplus nodes go", |world| world.servers.is_empty());
    }
}

#[test]
fn jobs_still_run_on_a_node_whose_server_cannot_be_read() {
    for seen in WAYS {
        let mut site = Site::simple();
        let odd = odd_cloud(&mut site);
        running(&mut site, 4, 60);
        *odd.lock().unwrap() = Some(seen);
        let created = site.servers();
        site.submit(4, 1, 1024, 60);
        site.until(10, "done", |world| world.unfinished() == 0);
        assert_eq!(
            site.servers(),
            created,
            "the nodes that are there serve them"
        );
    }
}

#[test]
fn one_that_never_joins_is_not_judged_while_it_cannot_be_read() {
    for seen in WAYS {
        let mut site = Site::simple();
        site.policy.nodes_max = 2;
        let odd = odd_cloud(&mut site);
        locked(&site.world).broken.image = true;
        site.submit(8, 2, 1024, 3600);
        site.ticks(3);
        let made = site.servers();
        assert!(made > 0);
        *odd.lock().unwrap() = Some(seen);
        let failures =
            |site: &Site| -> u32 { site.state.node_types.iter().map(|kind| kind.failures).sum() };
        site.ticks(60);
        assert_eq!(failures(&site), 0, "{}", site.describe());
        assert!(site.servers() <= 2, "nodes_max holds: {}", site.describe());
        *odd.lock().unwrap() = None;
        site.ticks(3);
        assert!(failures(&site) > 0, "{}", site.describe());
    }
}

#[test]
fn without_its_state_ehos_counts_what_may_be_its_nodes() {
    let mut site = Site::simple();
    site.policy.nodes_max = 2;
    let odd = odd_cloud(&mut site);
    site.submit(8, 2, 1024, 3600);
    site.ticks(3);
    assert_eq!(site.servers(), 2);
    *odd.lock().unwrap() = Some(by_name);
    site.state = State::default();
    site.ticks(2);
    assert_eq!(site.servers(), 2, "{}", site.describe());
    let mut told = site.plan().notices.iter();
    assert!(
        told.any(|notice| notice.contains("2 of the servers that cannot be read may be nodes"))
    );
}
