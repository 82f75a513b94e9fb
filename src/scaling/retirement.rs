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
}

/// The requests for a node that are in force: of a pool that is taken away each node drains that nobody keeps.
pub(crate) fn requests_of(
    node: &NodeState,
    retirement: Option<&OperatorPause>,
    at: Timestamp,
) -> Requests {
    let requests = node.requests.at(at);
    match retirement {
        Some(retirement) if requests.keep.is_none() => Requests {
            drain: Some(Box::new(DrainRequest {
                since: retirement.since,
                by: retirement.by.clone(),
                replace: false,
            })),
            ..requests
        },
        _ => requests,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::Keep;
    use crate::state::NodeType;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn every_node_drains_that_nobody_keeps_until_the_pool_is_resumed() {
        let mut state = State::default().at(at(0));
        let node_type = NodeType {
            cloud: "a".into(),
            flavor: "f".into(),
            image: "i".into(),
        };
        let mut node = NodeState::new(node_type, "n", at(0), state.now);
        assert!(requests_of(&node, state.retirement(), at(1)).is_empty());
        let pause = OperatorPause {
            since: at(0),
            until: None,
            deletes: false,
            reason: None,
            by: "alice".to_owned(),
            retiring: true,
        };
        state.paused = Some(pause.clone());
        let drain = requests_of(&node, state.retirement(), at(1)).drain.unwrap();
        assert_eq!((drain.by.as_str(), drain.replace), ("alice", false));
        node.requests.keep = Some(Box::new(Keep {
            since: at(0),
            until: Some(at(60)),
            by: "bob".to_owned(),
        }));
        assert_eq!(requests_of(&node, state.retirement(), at(59)).drain, None);
        assert!(
            requests_of(&node, state.retirement(), at(60))
                .drain
                .is_some()
        );
        state.paused = Some(OperatorPause {
            retiring: false,
            ..pause
        });
        assert!(state.retirement().is_none());
        assert!(
            requests_of(&node, state.retirement(), at(60))
                .drain
                .is_none()
        );
    }
}
