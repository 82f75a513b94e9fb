//! Nodes whose token expires within `token_renew_before`: replaced at once, while ehos can still drain them. A node with an expired
//! token stays in the pool until the collector restarts, and then cannot join again.

use super::{Drain, Rule, Verdict};
use crate::node::Phase;
use crate::plan::phase_name;
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;
use crate::seconds::seconds;

pub(super) struct TokenEnds;

impl Rule for TokenEnds {
    fn name(&self) -> &'static str {
        "its token ends"
    }

    fn wants(&mut self, _: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let Phase::Idle { idle_for } = node.phase else {
            return None;
        };
        if !node.expiry.token_ends {
            return None;
        }
        let why = Reason::DrainTokenEnds {
            idle_seconds: seconds(idle_for),
            token_left_seconds: seconds(node.token_left().unwrap_or_default()),
        };
        let drain = Drain::new(idle_for, self.name().to_owned(), why);
        Some(Verdict::Drain(drain))
    }
}

impl Planner<'_> {
    /// How many there are, for an operator.
    pub(in crate::plan) fn ending_tokens(&self) -> Option<String> {
        let margin = seconds(self.policy.token_renew_before);
        let ending = self
            .noticed()
            .filter(|node| node.expiry.token_ends && node.may_be_replaced());
        let all: Vec<_> = ending.collect();
        let first = all.first()?;
        Some(format!(
            "nodes whose token expires within {margin} or has expired: {}, the oldest is {} ({}); ehos replaces each once it \
             is idle",
            all.len(),
            first.name(),
            phase_name(&first.phase).as_str(),
        ))
    }
}
