//! The end of a pool, as `ehos retire` requests it: a pause without an end under which every node drains and every builder
//! is deleted.

use jiff::Timestamp;

use super::maintenance::{DrainRequest, OperatorPause, Requests};
use super::state::{NodeState, State};

impl State {
    /// The request to take the pool away; `ehos resume` ends it.
    pub fn retirement(&self) -> Option<&OperatorPause> {
        self.paused.as_ref().filter(|pause| pause.retiring)
    }

    /// The requests for a node that are in force: of a pool that is taken away each node drains that nobody keeps.
    pub(crate) fn requests_of(&self, node: &NodeState, at: Timestamp) -> Requests {
        let requests = node.requests.at(at);
        match self.retirement() {
            Some(retirement) if requests.keep.is_none() => Requests {
                drain: Some(DrainRequest {
                    since: retirement.since,
                    by: retirement.by.clone(),
                    replace: false,
                }),
                ..requests
            },
            _ => requests,
        }
    }
}
