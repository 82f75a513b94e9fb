//! Nodes that an operator has requested to delete, whatever runs on them. The command has named the jobs that end.
//!
//! No brake and no pause holds it up: the operator has seen what is unknown. A node that is not certainly of this pool stays
//! (docs/design-rules.md#rule-1).

use super::{Delete, Rule, Verdict};
use crate::node::Phase;
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;

pub(super) struct DeleteRequested;

impl Rule for DeleteRequested {
    fn name(&self) -> &'static str {
        "delete requested"
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let request = node.requests.delete.as_ref()?;
        let accepted = node.memory.delete.accepted;
        let again =
            accepted.is_none_or(|at| planner.next.now.since(at) >= planner.policy.delete_timeout);
        let is_ours = !matches!(
            node.phase,
            Phase::Unsigned { .. }
                | Phase::Untrusted
                | Phase::IdentityMismatch { .. }
                | Phase::Deleting { ours: false, .. }
        );
        if !again || !is_ours {
            return None;
        }
        let mut delete = Delete::new(Reason::DeleteRequested {
            by: request.by.clone(),
            claims: node.startd.map_or(0, |startd| startd.claims()),
        });
        delete.despite_claims = true;
        delete.requested = true;
        Some(Verdict::Delete(delete))
    }
}
