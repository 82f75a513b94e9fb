//! What goes: failed, lost and drained nodes are deleted, surplus ones drained, gone ones forgotten.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Action, Fate, Planner};
use crate::scaling::action::{CloudAction, Expected, PoolAction, StartdIdentity};
use crate::scaling::brakes::Brake;
use crate::scaling::budget::BudgetSpent;
use crate::scaling::failing::{Cause, is_of_every_host};
use crate::scaling::memory::{Kind, Moment, NodeMemory};
use crate::scaling::money::Money;
use crate::scaling::node::{JobLeft, Node, Phase, drain_mark, is_fresh};
use crate::scaling::observation::{NodeId, Seen, ServerStatus, StartdView};
use crate::scaling::pace::MINUTE;
use crate::scaling::parts;
use crate::scaling::policy::Policy;
use crate::scaling::reason::Reason;
use crate::scaling::refusal::{self, About};
use crate::scaling::seconds::{Seconds, seconds};

/// So long before the end of a paid period a node is drained: its drain, two ticks and its delete are done by then.
pub(super) const LEAVING: Duration = Duration::from_secs(300);

/// What the reason of a drain begins with, after the pool's mark, when the startd took no jobs.
const TAKES_NO_JOBS: &str = "takes no jobs,";

/// What a delete of this node, in its present phase, is for.
fn expected(node: &Node<'_>, memory: &NodeMemory, policy: &Policy, now: Moment) -> Expected {
    let heard = node.startd.filter(|startd| is_fresh(startd, policy));
    match heard.and_then(|startd| startd.draining.clone()) {
        Some(drain) => Expected::Drained(drain),
        None if memory.joined.is_none() => Expected::NeverJoined,
        None => Expected::Silent {
            update_interval: policy.update_interval,
            long: memory
                .silent
                .is_some_and(|since| now.since(since) >= policy.lost_job_timeout),
        },
    }
}

/// Whether a node that is heard of may be drained, by what its cloud says: in ERROR is also a server that runs on after a
/// migration or a resize that failed.
pub(super) fn runs(node: &Node<'_>) -> bool {
    let status = node.server.map(|server| server.record().status);
    matches!(status, Some(ServerStatus::Active | ServerStatus::Error))
}

impl Planner<'_> {
    /// Whether it was drained because its startd took no jobs: it would take none again.
    pub(super) fn leaves_for_taking_no_jobs(&self, node: &Node<'_>) -> bool {
        let mark = format!("{} {TAKES_NO_JOBS}", drain_mark(&self.policy.cluster));
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        drain.is_some_and(|drain| drain.reason.starts_with(&mark))
    }

    /// How a last look finds the startd of a node.
    fn startd_identity(&self, node: &Node<'_>) -> StartdIdentity {
        let memory = self.next.nodes.get(&node.id);
        let named = node.server.and_then(|server| server.node());
        let former = memory.into_iter().flat_map(|memory| &memory.former);
        StartdIdentity {
            server_id: memory.and_then(|memory| memory.server_id.clone()),
            node: named.unwrap_or(&node.id).clone(),
            shares_node: named.is_some_and(|named| *named != node.id),
            machine: memory.and_then(|memory| memory.machine.clone()),
            own_ads: node
                .startd
                .map(|startd| startd.machine.clone())
                .filter(|machine| !self.has_namesake(&node.id, machine)),
            address: memory.and_then(|memory| memory.address.clone()),
            former_addresses: former.filter_map(|place| place.address.clone()).collect(),
            own_identity: node.own_identity,
            addresses: node
                .server
                .map(|server| server.record().addresses.clone())
                .unwrap_or_default(),
            update_interval: self.policy.update_interval,
        }
    }

    /// The brake that stops this node's end.
    pub(super) fn removal_brake(&self, without_job: bool) -> Option<String> {
        let stops = |brake: &&Brake| !(without_job && matches!(brake, Brake::ScheddUnknown { .. }));
        self.brakes.iter().find(stops).map(ToString::to_string)
    }

    /// Whether no schedd can have a job on it: Nova says that it does not run, or a delete of it was decided. One that only
    /// was not heard of may run a job: whoever takes its ads away hides it from the collector. A schedd that has listed one
    /// may not have seen its end.
    fn is_without_job(&self, node: &Node<'_>, rank: u8) -> bool {
        let memory = self.next.nodes.get(&node.id);
        rank <= 1
            && node.phase != Phase::Failed { fault: None }
            && memory.is_none_or(|memory| !memory.job_listed)
    }

    /// Which servers are to be deleted, and why: the failed first.
    pub(super) fn choose_removals(&mut self) {
        let mut chosen: Vec<(u8, usize, Reason)> = Vec::new();
        for (index, node) in self.survey.nodes.iter().enumerate() {
            let contested = node.contested.is_some();
            if self.settled(index) || !node.cloud_known || node.server.is_none() || contested {
                continue;
            }
            let memory = self.next.nodes.get(&node.id);
            let since = |moment: Option<_>| {
                moment
                    .map(|moment| seconds(self.next.now.since(moment)))
                    .unwrap_or_default()
            };
            let age = since(memory.map(|memory| memory.started));
            let (rank, why) = match &node.phase {
                Phase::Failed { fault: Some(fault) } => (
                    0,
                    Reason::FailedInCloud {
                        fault: fault.clone(),
                        console: None,
                    },
                ),
                Phase::Failed { fault: None } => (
                    0,
                    Reason::NeverJoined {
                        seconds: age,
                        console: None,
                    },
                ),
                Phase::Deleting { again: true, .. } => (
                    1,
                    Reason::DeleteAgain {
                        seconds: since(memory.and_then(|memory| memory.delete_accepted)),
                    },
                ),
                Phase::Lost { silent_for } => (
                    2,
                    Reason::Lost {
                        silent_seconds: seconds(*silent_for),
                    },
                ),
                Phase::Unreachable {
                    silent_for,
                    job: JobLeft::None,
                    unlisted_for,
                } if *unlisted_for >= self.policy.lost_job_timeout => (
                    2,
                    Reason::UnreachableWithoutJob {
                        silent_seconds: seconds(*silent_for),
                        unlisted_seconds: seconds(*unlisted_for),
                    },
                ),
                Phase::Stopped {
                    without_job: true, ..
                } => (2, Reason::StoppedInCloud),
                Phase::Draining {
                    ours: true,
                    complete: true,
                } => {
                    let idle_seconds = self.idle_before_drain(node).map(seconds);
                    (3, Reason::Drained { idle_seconds })
                }
                _ => match self.overdue(node) {
                    // Its jobs are what the site has said not to wait for.
                    Some(why) => {
                        chosen.push((4, index, why));
                        continue;
                    }
                    None => continue,
                },
            };
            // Whatever else is known: a fresh ad with a claim means that a job may be running.
            let claimed = node
                .startd
                .is_some_and(|startd| is_fresh(startd, self.policy) && startd.claims() > 0);
            if !claimed {
                chosen.push((rank, index, why));
            }
        }
        self.count_failures(&chosen);
        chosen.sort_by_key(|(rank, index, _)| (*rank, *index));
        for (rank, index, why) in chosen {
            let without_job = self
                .survey
                .nodes
                .get(index)
                .is_some_and(|node| self.is_without_job(node, rank));
            match self.removal_brake(without_job) {
                Some(brake) => self.settle(index, Fate::Keeps, Reason::Braked { brake }),
                None => self.removals.push((index, why)),
            }
        }
    }

    /// Each failed node counts once.
    fn count_failures(&mut self, chosen: &[(u8, usize, Reason)]) {
        let vanished = |brake: &Brake| matches!(brake, Brake::NodesVanished { .. });
        let unheard = self.brakes.iter().any(vanished);
        for (_, index, why) in chosen {
            let Some(node) = self.survey.nodes.get(*index) else {
                continue;
            };
            // Or somebody else says to be it: its own ads may have been taken away.
            let unheard = unheard || self.survey.impostors.iter().any(|(id, _)| *id == node.id);
            let Some(memory) = self.next.nodes.get_mut(&node.id) else {
                continue;
            };
            let new = matches!(node.phase, Phase::Failed { .. })
                && !std::mem::replace(&mut memory.failed, true);
            let asked_for = memory.started;
            if new {
                let zone = memory.zone.clone();
                let in_error = node
                    .server
                    .is_some_and(|server| server.record().status == ServerStatus::Error);
                let cause = match why {
                    Reason::FailedInCloud { fault, .. } if in_error => {
                        let used_up = is_of_every_host(fault) && self.used_up(&node.kind);
                        let about = if used_up {
                            About::Room
                        } else {
                            refusal::of_fault(fault)
                        };
                        Cause::Refused(about)
                    }
                    _ if unheard => Cause::Unheard,
                    _ => Cause::Boot,
                };
                let why = why.to_string();
                // Another zone is tried before the flavor waits.
                if let (Cause::Refused(About::Room | About::Zone), Some(zone)) = (cause, zone)
                    && self
                        .next
                        .count_full_zone(&node.kind, &zone, asked_for, &why, self.policy)
                {
                    continue;
                }
                self.next
                    .count_failure(&node.kind, asked_for, &why, cause, self.policy);
            }
        }
    }

    /// The cloud has no ports or volumes for another node, or may have no host that suits its server group: of servers that
    /// are made at once, Nova finds that out on the host alone.
    fn used_up(&self, kind: &Kind) -> bool {
        let view = self.observation.clouds.get(&kind.cloud);
        let cloud = self.policy.cloud(&kind.cloud);
        match (view.and_then(Seen::known), cloud) {
            (Some(view), Some(cloud)) => {
                cloud.hard_server_group || parts::used_up(&cloud.takes, view)
            }
            _ => false,
        }
    }

    /// Deletes them, as many as `max_actions` leaves after the creates.
    pub(super) fn remove(&mut self) {
        let most = self.changes_left(self.new_nodes.len() as u64 + self.builder_deletes());
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let now = self.next.now;
        for (number, (index, why)) in std::mem::take(&mut self.removals).into_iter().enumerate() {
            if number >= most {
                let max_actions = self.policy.max_actions;
                self.settle(index, Fate::Keeps, Reason::MaxActions { max_actions });
                continue;
            }
            let Some(node) = self.survey.nodes.get(index) else {
                continue;
            };
            let startd = self.startd_identity(node);
            let (Some(server), Some(memory)) = (node.server, self.next.nodes.get_mut(&node.id))
            else {
                continue;
            };
            let again = memory.delete_intended.replace(now).is_some();
            memory.delete_accepted = None;
            let expects = match why {
                Reason::KilledForItsAge { .. } => Expected::Overdue,
                _ => expected(node, memory, self.policy, now),
            };
            let keep_console = !again && matches!(node.phase, Phase::Failed { .. });
            let action = CloudAction::Delete {
                node: node.id.clone(),
                server: server.clone(),
                expects,
                startd,
                keep_console,
                again,
            };
            self.actions.push(Action::Cloud {
                cloud: node.kind.cloud.clone(),
                action,
            });
            self.settle(index, Fate::Deletes, why);
        }
    }

    /// Drains the surplus: idle for `idle_timeout`, not needed by demand, above nodes_spare and nodes_min; the
    /// longest idle first, then the dearest, then the oldest.
    pub(super) fn drain_surplus(&mut self) {
        if !self.policy.drains() {
            self.leave_surplus();
            return;
        }
        let idle_for = |node: &Node<'_>| match node.phase {
            Phase::Idle { idle_for } => Some(idle_for),
            _ => None,
        };
        let mut idle: Vec<(Duration, usize)> = self
            .survey
            .nodes
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.needed(*index) && !self.settled(*index))
            .filter_map(|(index, node)| Some((idle_for(node)?, index)))
            .collect();
        // Of those that became idle in the same minute the dearest goes first.
        idle.sort_by_cached_key(|(idle_for, index)| {
            (
                Reverse(idle_for.as_secs() / 60),
                Reverse(self.price_of(*index)),
                Reverse(*idle_for),
                *index,
            )
        });
        let nodes_spare = self.spare();
        let surplus = self.unneeded().saturating_sub(nodes_spare);
        let mut may_go = self.alive().saturating_sub(self.policy.nodes_min);
        let mut some_leave = false;
        for (number, (idle_for, index)) in idle.into_iter().enumerate() {
            let Some(node) = self.survey.nodes.get(index) else {
                continue;
            };
            if number as u64 >= surplus {
                let why = Reason::Spare {
                    nodes_spare,
                    percent: self.policy.nodes_spare.percent(),
                };
                self.settle(index, Fate::Keeps, why);
                continue;
            }
            let idle_timeout = self.idle_timeout(&node.kind.cloud);
            let why = if may_go == 0 {
                Reason::Minimum {
                    nodes_min: self.policy.nodes_min,
                }
            } else if !self.has_reached(idle_for, idle_timeout, some_leave) {
                may_go -= 1;
                Reason::IdleNotLongEnough {
                    idle_seconds: seconds(idle_for),
                    idle_timeout_seconds: seconds(idle_timeout),
                }
            } else if let Some(paid_seconds_left) = self.paid_for(node, idle_for) {
                may_go -= 1;
                Reason::Paid {
                    idle_seconds: seconds(idle_for),
                    paid_seconds_left,
                }
            } else if !node.cloud_known || !runs(node) {
                self.not_drained(node)
            } else if let Some(brake) = self.removal_brake(false) {
                Reason::Braked { brake }
            } else if self.drains >= self.policy.max_actions {
                Reason::MaxActions {
                    max_actions: self.policy.max_actions,
                }
            } else {
                let reason = format!("idle {} s, not needed", idle_for.as_secs());
                let why = Reason::DrainSurplus {
                    idle_seconds: seconds(idle_for),
                    surplus,
                    nodes_spare,
                };
                if self.drain(index, idle_for, &reason, why) {
                    may_go -= 1;
                    some_leave = true;
                    continue;
                }
                Reason::NoSlot
            };
            self.settle(index, Fate::Keeps, why);
        }
    }

    /// Whether a node has been idle for `timeout`, or will have been before the middle of the time until the next pass: half of
    /// the nodes would leave a whole pass late otherwise, by the jitter of a timer. Nodes whose time comes before the next
    /// pass leave together with others.
    fn has_reached(&self, idle_for: Duration, timeout: Duration, some_leave: bool) -> bool {
        let since_previous = self.next.now.since(self.next.previous);
        let next_pass = self.policy.look_again.unwrap_or(since_previous.min(MINUTE));
        let early = match (self.policy.look_again, some_leave) {
            (Some(next_pass), true) => next_pass,
            _ => next_pass / 2,
        };
        idle_for + early.min(timeout / 4) >= timeout
    }

    fn price_of(&self, index: usize) -> Option<Money> {
        let kind = &self.survey.nodes.get(index)?.kind;
        self.policy.cloud(&kind.cloud)?.price(&kind.flavor)
    }

    /// For how long a surplus node is kept: not at all when a budget is spent.
    fn idle_timeout(&self, cloud: &str) -> Duration {
        let of_it = |spent: &BudgetSpent| spent.cloud.as_deref().is_none_or(|name| name == cloud);
        if self.budgets_spent.iter().any(of_it) {
            Duration::ZERO
        } else {
            self.policy.idle_timeout
        }
    }

    /// Where a started period is paid: for how many seconds yet the node is paid for, until shortly before the end of that
    /// time. It is kept for no longer than one period.
    fn paid_for(&self, node: &Node<'_>, idle_for: Duration) -> Option<Seconds> {
        let cloud = self.policy.cloud(&node.kind.cloud)?;
        let period = cloud.billing_period?;
        let age = node.server?.record().age;
        let used = age.as_millis().checked_rem(period.as_millis())?;
        let used = Duration::from_millis(u64::try_from(used).ok()?);
        let left = period.saturating_sub(used);
        let end = self.idle_timeout(&cloud.name) + period;
        let waits = left > LEAVING && idle_for + LEAVING < end;
        waits.then_some(seconds(left))
    }

    /// Where nodes end by themselves: nothing is done to those that nobody needs.
    fn leave_surplus(&mut self) {
        for index in self.nodes_where(|node| matches!(node.phase, Phase::Idle { .. })) {
            let Some(Phase::Idle { idle_for }) = self.survey.nodes.get(index).map(|n| &n.phase)
            else {
                continue;
            };
            let why = Reason::EndsItself {
                idle_seconds: seconds(*idle_for),
                idle_timeout_seconds: seconds(self.policy.idle_timeout),
            };
            if !self.needed(index) && !self.settled(index) {
                self.settle(index, Fate::Keeps, why);
            }
        }
    }

    /// Drains an idle node; false when it has no slot by which to ask.
    pub(super) fn drain(
        &mut self,
        index: usize,
        idle_for: Duration,
        reason: &str,
        why: Reason,
    ) -> bool {
        let Some(node) = self.survey.nodes.get(index) else {
            return false;
        };
        if node.contested.is_some() {
            return false;
        }
        let slot = node.startd.and_then(|startd| startd.slots.first());
        let Some(slot) = slot.map(|slot| slot.name.clone()) else {
            return false;
        };
        let idle_since = self.next.now.minus(idle_for);
        if let Some(memory) = self.next.nodes.get_mut(&node.id) {
            memory.idle_since = Some(idle_since);
        }
        let startd = self.startd_identity(node);
        self.actions.push(Action::Pool(PoolAction::Drain {
            node: node.id.clone(),
            startd,
            slot,
            reason: format!("{} {reason}", drain_mark(&self.policy.cluster)),
        }));
        self.drains += 1;
        self.settle(index, Fate::Drains, why);
        true
    }

    /// Drains nodes whose startds take no jobs: idle for `idle_timeout` when they once did, for `boot_timeout` when
    /// they never have.
    pub(super) fn drain_closed(&mut self) {
        for index in self.nodes_where(|node| node.phase == Phase::Closed && node.cloud_known) {
            if self.settled(index) {
                continue;
            }
            let Some(node) = self.survey.nodes.get(index) else {
                continue;
            };
            let proven = self
                .next
                .nodes
                .get(&node.id)
                .is_some_and(|memory| memory.proven);
            let patience = if proven {
                self.policy.idle_timeout
            } else {
                self.policy.boot_timeout
            };
            let idle_for = node.startd.and_then(|startd| startd.idle_for());
            let idle_for = idle_for.map(|idle_for| idle_for.min(node.unchanged_for));
            let Some(idle_for) = idle_for.filter(|idle_for| *idle_for >= patience) else {
                continue;
            };
            let idle_seconds = seconds(idle_for);
            let why = Reason::DrainTakesNoJobs {
                idle_seconds,
                closed_seconds: self.closed_seconds(node),
            };
            if let Some(memory) = self.next.nodes.get_mut(&node.id)
                && !proven
                // One that was adopted may have taken jobs for all its life, which is over.
                && !memory.adopted
                && !std::mem::replace(&mut memory.failed, true)
            {
                let asked_for = memory.started;
                let failure = why.to_string();
                self.next
                    .count_failure(&node.kind, asked_for, &failure, Cause::Boot, self.policy);
            }
            if !self.policy.drains() {
                continue;
            }
            if let Some(brake) = self.removal_brake(false) {
                self.settle(index, Fate::Keeps, Reason::Braked { brake });
                continue;
            }
            if self.drains >= self.policy.max_actions {
                let max_actions = self.policy.max_actions;
                self.settle(index, Fate::Keeps, Reason::MaxActions { max_actions });
                continue;
            }
            let reason = format!("{TAKES_NO_JOBS} no claim for {} s", idle_for.as_secs());
            if !self.drain(index, idle_for, &reason, why) {
                self.settle(index, Fate::Keeps, Reason::NoSlot);
            }
        }
    }

    /// Whether the collector has an ad of another machine that is called like that of this node.
    fn has_namesake(&self, id: &NodeId, machine: &str) -> bool {
        let departed = self.next.departed.get(id);
        let departed = departed.and_then(|departed| departed.server_id.as_deref());
        let memory = self.next.nodes.get(id);
        let server = memory.and_then(|memory| memory.server_id.as_deref());
        let server = server.or(departed);
        let is_it = |startd: &StartdView| match (startd.instance_id.as_deref(), server) {
            (Some(says), Some(server)) => says == server,
            _ => startd.node.as_ref() == Some(id),
        };
        let collector = self.observation.pool.collector.known();
        let mut startds = collector.iter().flat_map(|view| &view.startds);
        startds.any(|startd| startd.machine.eq_ignore_ascii_case(machine) && !is_it(startd))
    }

    /// Forgets nodes whose servers are gone, and takes their ads out of the collector.
    pub(super) fn forget(&mut self) {
        let vanished = self
            .brakes
            .iter()
            .any(|brake| matches!(brake, Brake::NodesVanished { .. }));
        let mut ghosts: Vec<_> = self
            .survey
            .ghosts
            .iter()
            .map(|(id, startd)| (id.clone(), startd.machine.clone()))
            .collect();
        for index in 0..self.survey.nodes.len() {
            let Some(node) = self.survey.nodes.get(index) else {
                continue;
            };
            let id = node.id.clone();
            let missing = self.next.nodes.get(&id).and_then(|memory| memory.missing);
            let heard = node
                .startd
                .is_some_and(|startd| is_fresh(startd, self.policy));
            let twice = missing.is_some_and(|since| self.next.now.since(since) >= MINUTE);
            let overdue =
                missing.is_some_and(|since| self.next.now.since(since) >= self.policy.lost_timeout);
            let why = match node.phase {
                Phase::Gone => Reason::ServerGone,
                // A list can be wrong, of a cloud one of whose cells is down: seen missing twice, not with many others,
                // and not heard of either.
                Phase::Vanished if (twice && !vanished && !heard) || overdue => {
                    Reason::GoneFromCloud
                }
                Phase::Lapsed => {
                    let started = self.next.nodes.get(&id).map(|memory| memory.started);
                    let age = started
                        .map(|started| self.next.now.since(started))
                        .unwrap_or_default();
                    Reason::IntentLapsed {
                        seconds: seconds(age),
                    }
                }
                _ => continue,
            };
            ghosts.extend(
                node.startd
                    .map(|startd| (id.clone(), startd.machine.clone())),
            );
            self.next.depart(&id);
            self.settle(index, Fate::Forgets, why);
        }
        let most = usize::try_from(self.policy.max_actions).unwrap_or(usize::MAX);
        let open = ghosts.into_iter().filter(|(id, _)| {
            self.next
                .departed
                .get(id)
                .is_some_and(|departed| !departed.invalidated)
        });
        // Ads are taken out by the name of their machine: not those of another that has the same name.
        let open = open.filter(|(id, machine)| !self.has_namesake(id, machine));
        let open: Vec<_> = open.take(most).collect();
        for (node, machine) in open {
            self.actions
                .push(Action::Pool(PoolAction::Invalidate { node, machine }));
        }
    }
}
