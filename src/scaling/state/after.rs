//! The state after the outcomes of a plan.

use std::time::Duration;

use super::{NodeType, Outcome, Pause, State};
use crate::action::{CloudAction, Done, Failure, FailureKind, Intent, PoolAction};
use crate::failure_tracking::Cause;
use crate::observation::{NodeId, OwnedServer, Role};
use crate::plan::Action;
use crate::policy::Policy;
use crate::refusal::About;

impl State {
    /// The state after the plan's actions came out as they did: the second pure function. [`Plan::after`] counts them, too.
    ///
    /// [`Plan::after`]: crate::plan::Plan::after
    pub fn after(mut self, outcomes: &[Outcome], policy: &Policy) -> State {
        for Outcome { action, result } in outcomes {
            match action {
                Action::Cloud { action, .. } => self.after_cloud(action, result, policy),
                Action::Pool(action) if result.is_ok() => self.after_pool(action),
                Action::Pool(_) => {}
            }
        }
        self
    }

    fn after_cloud(
        &mut self,
        action: &CloudAction,
        result: &Result<Done, Failure>,
        policy: &Policy,
    ) {
        match (action, result) {
            (CloudAction::Create(intent), result) => self.after_create(intent, result, policy),
            (CloudAction::Delete { node, server, .. }, Ok(done)) => {
                self.after_delete(node, server, done);
            }
            (
                CloudAction::Delete {
                    node,
                    server,
                    again,
                    ..
                },
                Err(failure),
            ) => {
                if failure.kind == FailureKind::Changed && !again {
                    self.not_deleted(node, server);
                }
            }
            (CloudAction::Remove { leftover, .. }, Ok(Done::AlreadyGone)) => {
                self.leftovers.remove(leftover.id());
            }
            // What failed is planned again from what the next observation shows.
            (CloudAction::Remove { .. } | CloudAction::Disassociate { .. }, _) => {}
        }
    }

    fn after_pool(&mut self, action: &PoolAction) {
        let now = self.now;
        match action {
            PoolAction::Invalidate { node, .. } => {
                if let Some(departed) = self.departed.get_mut(node) {
                    departed.invalidated = true;
                }
                if let Some(memory) = self.nodes.get_mut(node) {
                    memory.delete.invalidated = true;
                }
            }
            PoolAction::Drain { node, .. } => {
                if let Some(memory) = self.nodes.get_mut(node) {
                    memory.drain.accepted = Some(now);
                }
            }
            PoolAction::CancelDrain { .. } | PoolAction::Reschedule { .. } => {}
        }
    }

    /// A node that the recheck has kept: no delete was requested, so its drains may be cancelled, and a later loss of its
    /// server is not the work of ehos.
    fn not_deleted(&mut self, node: &NodeId, server: &OwnedServer) {
        if server.role() == Role::Builder {
            if let Some(memory) = self.builders.get_mut(server.id()) {
                memory.delete_intended = None;
            }
        } else if let Some(memory) = self.nodes.get_mut(node) {
            memory.delete.intended = None;
        }
    }

    fn after_delete(&mut self, node: &NodeId, server: &OwnedServer, done: &Done) {
        let now = self.now;
        let gone = *done == Done::AlreadyGone;
        if server.role() == Role::Builder {
            if gone {
                self.depart_builder(server.id());
            } else if let Some(memory) = self.builders.get_mut(server.id()) {
                memory.delete_accepted = Some(now);
            }
        } else if gone {
            self.bury(node);
        } else if let Some(memory) = self.nodes.get_mut(node) {
            memory.delete.accepted = Some(now);
        }
    }

    fn after_create(&mut self, intent: &Intent, result: &Result<Done, Failure>, policy: &Policy) {
        // Nova may still be at one whose effect is unknown: that one keeps `intent_grace`.
        if let Some(memory) = self.nodes.get_mut(&intent.node) {
            memory.unanswered = false;
        }
        let failure = match result {
            Ok(Done::Created { server_id }) => {
                if let Some(memory) = self.nodes.get_mut(&intent.node) {
                    memory.server_id = Some(server_id.clone());
                }
                return;
            }
            // Not what a create answers: as good as no answer.
            Ok(Done::Accepted | Done::AlreadyGone) => return,
            Err(failure) => failure,
        };
        if !failure.kind.had_no_effect() {
            return;
        }
        self.nodes.remove(&intent.node);
        let pause = match failure.kind {
            FailureKind::Later(wait) => Some(wait.unwrap_or(Duration::from_secs(60))),
            FailureKind::Quota => Some(policy.backoff_initial),
            _ => None,
        };
        if let Some(wait) = pause {
            let until = self.now.plus(wait.min(policy.backoff_max));
            self.pauses.insert(
                intent.cloud.clone(),
                Pause {
                    until,
                    why: failure.message.clone(),
                },
            );
            return;
        }
        let about = match failure.kind {
            FailureKind::Refused(about) => about,
            FailureKind::NotAuthorized => About::Rights,
            FailureKind::NotDone => return,
            _ => About::Cloud,
        };
        let node_type = NodeType::asked(intent);
        // A zone that is not there, or is closed, is not the fault of the others.
        let zone = intent.zone.as_deref().filter(|_| about == About::Zone);
        let (now, why) = (self.now, &failure.message);
        if zone.is_some_and(|zone| self.count_full_zone(&node_type, zone, now, why, policy)) {
            return;
        }
        // Several failures of one tick count once.
        self.count_failure(&node_type, now, why, Cause::Refused(about), policy);
    }
}
