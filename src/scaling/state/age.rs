//! Conclusions from the age of a server: an expired token, an expired node.

use std::time::Duration;

use serde::Serialize;

use super::TickInstant;
use crate::observation::OwnedServer;
use crate::policy::Policy;

/// Since when the age of a server has required the replacement of its node. Without a time of Nova, the age is by the clock
/// of this machine, which may jump and return: so it counts only after a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Age {
    /// It is older than `max_lifetime`.
    #[serde(rename = "expired", skip_serializing_if = "Option::is_none")]
    pub outlived: Option<TickInstant>,
    /// It is older than that by `max_lifetime_kill`.
    #[serde(rename = "force_expired", skip_serializing_if = "Option::is_none")]
    pub overdue: Option<TickInstant>,
    /// Its token ends within `token_renew_before`.
    #[serde(rename = "token_expiring", skip_serializing_if = "Option::is_none")]
    pub token_ending: Option<TickInstant>,
}

impl Age {
    /// Learns from a server that is listed; `most` is the `max_lifetime` of its cloud.
    pub(crate) fn learn(
        &mut self,
        server: &OwnedServer,
        policy: &Policy,
        most: Option<Duration>,
        now: TickInstant,
    ) {
        let age = server.record().age;
        let killed = most.zip(policy.max_lifetime_kill);
        let killed = killed.map(|(most, more)| most.saturating_add(more));
        let ends = server
            .token_left()
            .is_some_and(|left| left <= policy.token_renew_before);
        let keep = |since: &mut Option<TickInstant>, holds: bool| {
            *since = holds.then(|| since.unwrap_or(now));
        };
        keep(&mut self.outlived, most.is_some_and(|most| age >= most));
        keep(
            &mut self.overdue,
            killed.is_some_and(|killed| age >= killed),
        );
        keep(&mut self.token_ending, ends);
    }

    /// The conclusions. A wrong age or a new limit ends no job at once: the node must have been observed as too old for as
    /// long as ehos waits for its jobs.
    pub(crate) fn expiry(
        &self,
        policy: &Policy,
        most: Option<Duration>,
        now: TickInstant,
    ) -> Expiry {
        let forced = |most: Duration| {
            let more = policy.max_lifetime_kill?;
            let waited = now.since(self.outlived?) >= more;
            Some(waited && for_long(self.overdue, most.saturating_add(more), now))
        };
        Expiry {
            token_ends: for_long(self.token_ending, policy.token_renew_before, now),
            expired: most.is_some_and(|most| for_long(self.outlived, most, now)),
            forced: most.and_then(forced).unwrap_or(false),
        }
    }
}

/// What a node's age says, when it has said so for a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Its token ends within `token_renew_before`.
    pub token_ends: bool,
    /// It is older than `max_lifetime`.
    pub expired: bool,
    /// It is older than that by `max_lifetime_kill`: its jobs are not waited for.
    pub forced: bool,
}

impl Expiry {
    /// Whether the node is to take no new demand, and to go when it is idle.
    pub fn retires(self) -> bool {
        self.token_ends || self.expired
    }
}

/// Whether it has been so for an hour, or for an eighth of `limit` where that is less.
fn for_long(since: Option<TickInstant>, limit: Duration, now: TickInstant) -> bool {
    let patience = Duration::from_secs(3600).min(limit / 8);
    since.is_some_and(|since| now.since(since) >= patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_believed_when_it_has_said_so_for_a_while() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let at = |minutes: u64| TickInstant::default().plus(Duration::from_secs(minutes * 60));
        let policy = Policy {
            max_lifetime: Some(hours(80)),
            max_lifetime_kill: Some(hours(2)),
            token_renew_before: hours(4),
            ..Policy::new("c")
        };
        let age = Age {
            outlived: Some(at(0)),
            overdue: Some(at(30)),
            token_ending: Some(at(0)),
        };
        let says = |minutes| {
            let Expiry {
                token_ends,
                expired,
                forced,
            } = age.expiry(&policy, policy.max_lifetime, at(minutes));
            (token_ends, expired, forced)
        };
        assert_eq!(says(29), (false, false, false));
        assert_eq!(says(30), (true, false, false), "an eighth of the margin");
        assert_eq!(says(60), (true, true, false));
        // Observed to be too old for an hour, and its jobs were waited for.
        assert_eq!(says(119), (true, true, false));
        assert_eq!(says(120), (true, true, true));
        let none = Policy::new("c");
        assert!(!age.expiry(&none, none.max_lifetime, at(1000)).expired);
    }
}
