//! A node whose root forges ads with the node's token, between the world and ehos.
//!
//! The startds of other nodes go on as the world has them. The attacker's own startd answers at its own address as it likes,
//! and takes every drain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use scaling::action::{Done, Failure, FailureKind, PoolAction, StartdIdentity};
use scaling::job_requirements::{JobGroupKey, MatchTarget, Matches};
use scaling::node::drain_mark;
use scaling::observation::{
    DrainView, NodeId, Observed, PoolView, Resources, SlotView, StartdView,
};
use scaling::sender::Sender;
use system::deadline::Deadline;
use tick::pool::{Pool, TrackedMachines};

/// What the attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// The victim is drained by ehos.
    Drained,
    /// The same, and the victim's own ads are taken away.
    DrainedAlone,
    /// The victim has been idle for hours, and its own ads are taken away.
    IdleAlone,
    /// The victim's ads are taken away.
    Silenced,
    /// Everybody's ads are taken away, but the attacker's.
    AllSilenced,
    /// The victim's server is another node.
    OtherNode,
    /// The victim has joined, and its slots are odd.
    Odd,
    /// A machine has room for everybody.
    Room,
}

impl Lie {
    pub fn any() -> impl Strategy<Value = Lie> {
        use Lie::*;
        let all = [
            Drained,
            DrainedAlone,
            IdleAlone,
            Silenced,
            AllSilenced,
            OtherNode,
            Odd,
            Room,
        ];
        prop::sample::select(all.to_vec())
    }
}

/// A forgery in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attack {
    pub lie: Lie,
    /// The victim, of the startds that there are.
    pub victim: usize,
    /// Each node has an identity of its own.
    pub own_identities: bool,
}

impl Attack {
    pub fn any() -> impl Strategy<Value = Attack> {
        (Lie::any(), 0..10usize, any::<bool>()).prop_map(|(lie, victim, own_identities)| Attack {
            lie,
            victim,
            own_identities,
        })
    }
}

pub const ADDRESS: &str = "the attacker's";
const MACHINE: &str = "aaa";

/// The pool with the attacker in it.
pub struct HostilePool<'a> {
    pub pool: Box<dyn Pool + 'a>,
    pub attack: Attack,
    pub cluster: String,
    /// A drain that the attacker's startd has taken.
    pub drained: Arc<AtomicBool>,
}

impl<'a> HostilePool<'a> {
    pub fn new(
        pool: Box<dyn Pool + 'a>,
        attack: Attack,
        cluster: &str,
        drained: &Arc<AtomicBool>,
    ) -> HostilePool<'a> {
        HostilePool {
            pool,
            attack,
            cluster: cluster.to_owned(),
            drained: Arc::clone(drained),
        }
    }

    /// The startds of the pool as the collector has them then.
    fn forge(&self, startds: &mut Vec<StartdView>) {
        for startd in startds.iter_mut() {
            startd.sender = match &startd.node {
                Some(node) if self.attack.own_identities => Sender::Node(node.clone()),
                _ => Sender::AnyNode,
            };
        }
        let Some(victim) = self.victim(startds) else {
            return;
        };
        let takes_away = match self.attack.lie {
            Lie::DrainedAlone | Lie::IdleAlone | Lie::Silenced => vec![victim.instance_id.clone()],
            Lie::AllSilenced => startds.iter().map(|one| one.instance_id.clone()).collect(),
            _ => Vec::new(),
        };
        let gone: BTreeSet<_> = takes_away.into_iter().flatten().collect();
        startds.retain(|one| one.instance_id.as_ref().is_none_or(|id| !gone.contains(id)));
        startds.extend(self.forged(&victim));
    }

    fn victim(&self, startds: &[StartdView]) -> Option<StartdView> {
        let mut nodes: Vec<&StartdView> = startds
            .iter()
            .filter(|startd| startd.node.is_some())
            .collect();
        nodes.sort_by_key(|startd| startd.instance_id.clone());
        let index = self.attack.victim.checked_rem(nodes.len())?;
        nodes.get(index).map(|startd| (*startd).clone())
    }

    /// The ad that the attacker sends for this one.
    fn forged(&self, victim: &StartdView) -> Option<StartdView> {
        let space = Resources {
            cpus: 4,
            memory_mb: 7000,
            disk_kb: 1 << 20,
            gpus: 0,
        };
        let slot = SlotView {
            owners: Default::default(),
            name: format!("slot1@{MACHINE}"),
            total: space,
            free: space,
            claims: 0,
            accepts_jobs: true,
            unchanged_for: Duration::from_secs(36_000),
        };
        let mut startd = StartdView {
            machine: MACHINE.to_owned(),
            address: Some(ADDRESS.to_owned()),
            slots: vec![slot],
            heard_ago: Duration::ZERO,
            draining: None,
            sender: match self.attack.own_identities {
                true => Sender::Node(NodeId("20200101t000000-01".into())),
                false => Sender::AnyNode,
            },
            ..victim.clone()
        };
        match self.attack.lie {
            Lie::Silenced | Lie::AllSilenced => return None,
            Lie::Drained | Lie::DrainedAlone => {
                startd.draining = Some(DrainView {
                    reason: format!("{} idle", drain_mark(&self.cluster)),
                    request_id: "7".to_owned(),
                    complete: true,
                });
            }
            Lie::IdleAlone => {
                let taken = self.drained.load(Ordering::Relaxed);
                startd.draining = taken.then(|| DrainView {
                    reason: format!("{} idle", drain_mark(&self.cluster)),
                    request_id: "7".to_owned(),
                    complete: true,
                });
            }
            Lie::OtherNode => startd.node = Some(NodeId("another".into())),
            Lie::Odd => startd
                .slots
                .iter_mut()
                .for_each(|slot| slot.claims = 1 << 40),
            Lie::Room => {
                startd.instance_id = None;
                startd.node = None;
                let slot = &mut startd.slots[0];
                slot.total.cpus = 100_000;
                slot.free = slot.total;
                slot.unchanged_for = Duration::ZERO;
            }
        }
        Some(startd)
    }
}

impl Pool for HostilePool<'_> {
    fn observe(&self, watch: &TrackedMachines, deadline: Deadline) -> PoolView {
        let mut view = self.pool.observe(watch, deadline);
        if let Observed::Known(collector) = &mut view.collector {
            self.forge(&mut collector.startds);
        }
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
        identity: &StartdIdentity,
        deadline: Deadline,
    ) -> Result<Vec<StartdView>, Failure> {
        let mut startds = match self
            .pool
            .observe(&TrackedMachines::default(), deadline)
            .collector
        {
            Observed::Known(collector) => collector.startds,
            Observed::Unknown(_) => return self.pool.look(identity, deadline),
        };
        self.forge(&mut startds);
        startds.retain(|there| {
            there.node.as_ref() == Some(&identity.node)
                || identity.server_id.is_some() && there.instance_id == identity.server_id
                || identity.machine.as_ref() == Some(&there.machine)
        });
        Ok(startds)
    }

    fn has_job_on(&self, machine: &str, deadline: Deadline) -> Result<bool, Failure> {
        self.pool.has_job_on(machine, deadline)
    }

    fn ask(&self, address: &str, deadline: Deadline) -> Result<Vec<StartdView>, Failure> {
        if address != ADDRESS {
            return self.pool.ask(address, deadline);
        }
        let collector = self
            .pool
            .observe(&TrackedMachines::default(), deadline)
            .collector;
        let startds = collector.known().map_or(&[][..], |view| &view.startds);
        let said = self.victim(startds).and_then(|victim| self.forged(&victim));
        // No collector has stamped it.
        let said = said.map(|said| StartdView {
            sender: Sender::Unknown,
            ..said
        });
        said.map(|said| vec![said]).ok_or_else(|| Failure {
            kind: FailureKind::Unknown,
            message: "nobody answers".to_owned(),
        })
    }

    fn perform(&self, action: &PoolAction, deadline: Deadline) -> Result<Done, Failure> {
        match action {
            PoolAction::Drain { slot, .. } if slot.ends_with(MACHINE) => {
                self.drained.store(true, Ordering::Relaxed);
                Ok(Done::Accepted)
            }
            PoolAction::CancelDrain { slot, .. } if slot.ends_with(MACHINE) => Err(Failure {
                kind: FailureKind::NotDone,
                message: "the attacker keeps its drain".to_owned(),
            }),
            _ => self.pool.perform(action, deadline),
        }
    }
}
