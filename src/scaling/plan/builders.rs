//! Abandoned builders: deleted when two observations have found them older than their lifetime.

use super::planner::Planner;
use super::{BuilderEntry, NodeDecision};
use crate::action::{CloudAction, Expected, StartdIdentity};
use crate::node_inventory::Builder;
use crate::observation::{NodeId, ServerStatus};
use crate::pace::MINUTE;
use crate::reason::Reason;
use crate::seconds::seconds;
use crate::state::BuilderState;

/// What happens to a builder, and why.
fn decision(
    builder: &Builder<'_>,
    memory: &BuilderState,
    planner: &Planner<'_>,
) -> (NodeDecision, Reason) {
    let now = planner.next.now;
    let record = builder.server.record();
    if memory.unsigned {
        return (NodeDecision::Keep, Reason::Unsigned { counts: false });
    }
    if record.deleting || memory.delete_accepted.is_some() {
        let Some(intended) = memory.delete_intended else {
            return (NodeDecision::Keep, Reason::DeletedByOther);
        };
        let asked_for = now.since(memory.delete_accepted.unwrap_or(intended));
        // A host that could not destroy the server leaves it in ERROR, and a new delete works.
        let failed =
            record.status == ServerStatus::Error && !record.deleting && asked_for >= MINUTE;
        let seconds = seconds(asked_for);
        return if failed || asked_for >= planner.policy.delete_timeout {
            (NodeDecision::Delete, Reason::DeleteAgain { seconds })
        } else {
            (NodeDecision::Keep, Reason::DeleteUnderWay { seconds })
        };
    }
    if let Some(retirement) = planner.next.retirement() {
        let by = retirement.by.clone();
        return (NodeDecision::Delete, Reason::BuilderRetired { by });
    }
    let age_seconds = seconds(record.age);
    let lifetime_seconds = seconds(builder.server.lifetime());
    match memory.expired {
        None => (
            NodeDecision::Keep,
            Reason::BuilderWithinLifetime {
                age_seconds,
                lifetime_seconds,
            },
        ),
        Some(since) if now.since(since) < MINUTE => (
            NodeDecision::Keep,
            Reason::BuilderExpiredOnce {
                age_seconds,
                lifetime_seconds,
            },
        ),
        Some(_) => (
            NodeDecision::Delete,
            Reason::BuilderExpired {
                age_seconds,
                lifetime_seconds,
            },
        ),
    }
}

impl Planner<'_> {
    /// Which builders are to be deleted. They are no nodes of the pool: that their cloud lists them is enough, and no
    /// brake holds, but what runs a job does not go.
    pub(super) fn choose_builders(&mut self) {
        let mut lines = Vec::with_capacity(self.survey.builders.len());
        for builder in &self.survey.builders {
            let Some(memory) = self.next.builders.get(builder.server.id()) else {
                continue;
            };
            let (mut decision, mut why) = decision(builder, memory, self);
            let claims = builder.startd.map_or(0, |startd| startd.claims());
            if decision == NodeDecision::Delete && claims > 0 {
                (decision, why) = (NodeDecision::Keep, Reason::BuilderRunsJobs { claims });
            }
            let record = builder.server.record();
            let own = || NodeId(record.id.clone().into());
            lines.push(BuilderEntry {
                node: builder.server.node().cloned().unwrap_or_else(own),
                server: record.id.clone(),
                name: record.name.clone(),
                cloud: builder.cloud.clone(),
                decision,
                why,
            });
        }
        self.builders = lines;
    }

    /// How many builders are to be deleted.
    pub(super) fn builder_deletes(&self) -> u64 {
        let deletes = |line: &&BuilderEntry| line.decision == NodeDecision::Delete;
        self.builders.iter().filter(deletes).count() as u64
    }

    /// Deletes them, as many as `max_actions` leaves after the creates.
    pub(super) fn remove_builders(&mut self) {
        for line in &mut self.builders {
            if line.decision != NodeDecision::Delete {
                continue;
            }
            if self.actions.changes_left() == 0 {
                line.decision = NodeDecision::Keep;
                line.why = self.actions.used_up();
                continue;
            }
            let of_line = |builder: &&Builder<'_>| builder.server.id() == line.server;
            let (Some(builder), Some(memory)) = (
                self.survey.builders.iter().find(of_line),
                self.next.builders.get_mut(&line.server),
            ) else {
                continue;
            };
            let again = memory.delete_intended.replace(self.next.now).is_some();
            memory.delete_accepted = None;
            self.actions.ask_cloud(
                &line.cloud,
                CloudAction::Delete {
                    node: line.node.clone(),
                    server: builder.server.clone(),
                    expects: Expected::NoClaim,
                    startd: StartdIdentity {
                        server_id: Some(line.server.clone()),
                        node: line.node.clone(),
                        shares_node: false,
                        machine: builder.startd.map(|startd| startd.machine.clone()),
                        own_ads: None,
                        address: builder.startd.and_then(|startd| startd.address.clone()),
                        former: Vec::new(),
                        own_identity: false,
                        addresses: builder.server.record().addresses.clone(),
                        update_interval: self.policy.update_interval,
                    },
                    keep_console: !again,
                    again,
                },
            );
        }
    }
}
