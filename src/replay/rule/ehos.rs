//! ehos itself: the planner of every tick, with the policy of a configuration.
//!
//! Owns: the observation of a simulated site as a tick would have it, and the outcome of each action.
//! Must not: decide anything; the plan is `scaling::plan`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scaling::action::{CloudAction, Done, Failure, FailureKind, Intent, PoolAction};
use scaling::job_names::PoolJobs;
use scaling::job_requirements::Matches;
use scaling::leftover::Leftovers;
use scaling::next_pass::{self, LastPass, NextPass};
use scaling::observation::{
    CloudView, CollectorView, Demand, DrainView, JobCounts, NegotiatorView, NodeId, Observation,
    Observed, OwnedServer, PoolView, Quota, ScheddView, SecondaryQuota, ServerRecord, ServerStatus,
    SlotView, StartdView, Usage, execute_metadata,
};
use scaling::plan::{self, Action, Plan};
use scaling::policy::Policy;
use scaling::reason::Reason;
use scaling::sender::Sender;
use scaling::signing::SigningKeys;
use scaling::state::{Outcome, State};
use secrecy::SecretString;

use super::{Pass, Rule};
use crate::site::{Node, NodeNumber, Refused, Site, Stage};
use crate::workload::Seconds;

/// The one schedd of the site.
const SCHEDD: &str = "replay";
/// A drained node is deleted by a second pass of the same tick (`commands/tick/passes.rs`).
const SECOND_PASS: Seconds = 2;
/// The tick clock advances at most 5 minutes a tick: passes are left out for less than that.
const LONGEST_REST: Seconds = 240;
/// `ehos tick --look-again` of ehos.service.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The time that a tick takes; it rests for twice as long.
const TICK: Duration = Duration::from_secs(1);
/// The collector has run for this long before second 0.
const COLLECTOR_AGE: Duration = Duration::from_secs(3600);

/// What the rule knows of a node besides what the site does.
struct Known {
    node: NodeId,
    number: NodeNumber,
    machine: String,
    drain: Option<DrainView>,
}

/// ehos with one policy.
pub struct Ehos {
    policy: Policy,
    /// `daemon.event_interval`.
    event_interval: Duration,
    state: State,
    start: Timestamp,
    keys: SigningKeys,
    known: BTreeMap<NodeNumber, Known>,
    numbers: BTreeMap<NodeId, NodeNumber>,
    servers: BTreeMap<NodeNumber, OwnedServer>,
    last: Option<Last>,
    /// Passes in which nothing can have changed are left out.
    pub leaves_out: bool,
    /// The planner; a benchmark takes its time.
    pub planner: fn(&Observation, &Policy, &State) -> Plan,
}

/// The last pass.
struct Last {
    began: Seconds,
    planned: Seconds,
    changes: u64,
    look_again: Option<Duration>,
    idle_jobs: u64,
    idle_timeout: Duration,
    is_quiet: bool,
}

impl Ehos {
    /// ehos with this policy; second 0 of the workload is at `start`.
    pub fn new(mut policy: Policy, event_interval: Duration, start: Timestamp) -> Ehos {
        // As ehos.service starts a tick.
        policy.look_again = (!event_interval.is_zero()).then_some(LOOK_AGAIN);
        // Windows, months and their budgets change plans by the time alone.
        let leaves_out = policy.schedules.is_empty() && !has_budget(&policy);
        Ehos {
            policy,
            event_interval,
            state: State::default(),
            start,
            keys: SigningKeys::new(vec![SecretString::from("replay".to_owned())]),
            known: BTreeMap::new(),
            numbers: BTreeMap::new(),
            servers: BTreeMap::new(),
            last: None,
            leaves_out,
            planner: plan::plan,
        }
    }

    fn at(&self, now: Seconds) -> Timestamp {
        let since = SignedDuration::from_secs(now.into());
        self.start.checked_add(since).unwrap_or(self.start)
    }

    /// Whether a pass would plan what the last one did, nothing: no job waits, every node is busy, and nothing that a pass sees has
    /// changed.
    fn may_rest(&self, site: &Site<'_>) -> bool {
        let Some(last) = &self.last else { return false };
        self.leaves_out
            && last.is_quiet
            && last.changes == site.changes
            && site.now < last.planned + LONGEST_REST
            && site.idle_count() == 0
            && site.nodes().all(|(_, node)| node.jobs() > 0)
    }

    fn observation(&mut self, site: &Site<'_>) -> Observation {
        let mut clouds: BTreeMap<String, Observed<CloudView>> = BTreeMap::new();
        let mut startds = Vec::new();
        let mut servers: Vec<Vec<OwnedServer>> = vec![Vec::new(); site.clouds.len()];
        for (number, node) in site.nodes() {
            let (Some(known), Some(server)) =
                (self.known.get(&number), self.servers.get_mut(&number))
            else {
                continue;
            };
            let status = match node.stage {
                Stage::Booting => ServerStatus::Build,
                _ => ServerStatus::Active,
            };
            server.seen_again(
                status,
                Duration::from_secs((site.now - node.created).into()),
                node.is_leaving(),
            );
            if let Some(list) = servers.get_mut(node.cloud) {
                list.push(server.clone());
            }
            if let Stage::Joined { at } = node.stage {
                startds.push(startd(site, node, known, at));
            }
        }
        for (place, (cloud, servers)) in site.clouds.iter().zip(servers).enumerate() {
            let used = site.used(place);
            let usage = |limit, used| Usage { limit, used };
            let flavors = cloud.flavors.iter();
            let view = CloudView {
                servers,
                obscure: Vec::new(),
                quota: Quota {
                    instances: usage(cloud.instances, used.instances),
                    cores: usage(cloud.cores, used.cores),
                    ram_mb: usage(cloud.ram_mb, used.ram_mb),
                },
                parts: Observed::Known(SecondaryQuota::default()),
                flavors: flavors
                    .map(|flavor| (flavor.name.clone(), flavor.flavor.clone()))
                    .collect(),
                unread_flavors: BTreeMap::new(),
                image_tested: true,
                leftovers: Observed::Known(Leftovers::default()),
                unread: Vec::new(),
            };
            clouds.insert(cloud.name.clone(), Observed::Known(view));
        }
        let since = |then: Seconds| Duration::from_secs((site.now - then).into());
        let interval = Duration::from_secs(site.model.negotiation_interval.into());
        let collector = CollectorView {
            up_for: COLLECTOR_AGE + since(0),
            negotiation_period: Some(interval),
            cycle_began: site.last_cycle().map(since).or(Some(interval)),
            startds,
            unreadable: Vec::new(),
            forged: Vec::new(),
        };
        Observation {
            at: self.at(site.now),
            pool: PoolView {
                collector: Observed::Known(collector),
                schedds: BTreeMap::from([(SCHEDD.to_owned(), Observed::Known(schedd(site)))]),
                negotiator: Observed::Known(NegotiatorView::default()),
                jobs: PoolJobs::default(),
                central_managers: None,
            },
            clouds,
            matches: Matches::default(),
        }
    }

    fn perform(&mut self, site: &mut Site<'_>, action: &Action) -> Result<Done, Failure> {
        let number = self.numbers.get(action.node()).copied();
        match action {
            Action::Cloud { cloud, action } => match action {
                CloudAction::Create(intent) => self.create(site, cloud, intent),
                CloudAction::Delete { .. } => {
                    match number.is_some_and(|number| site.delete(number)) {
                        true => Ok(Done::Accepted),
                        false => Ok(Done::AlreadyGone),
                    }
                }
                CloudAction::Remove { .. } | CloudAction::Disassociate { .. } => Err(unknown()),
            },
            Action::Pool(action) => self.ask_pool(site, number, action),
        }
    }

    fn create(
        &mut self,
        site: &mut Site<'_>,
        cloud: &str,
        intent: &Intent,
    ) -> Result<Done, Failure> {
        let place = site.clouds.iter().position(|there| there.name == *cloud);
        let place = place.ok_or_else(unknown)?;
        let flavors = site.clouds.get(place).map(|cloud| cloud.flavors.iter());
        let flavor =
            flavors.and_then(|mut flavors| flavors.position(|there| there.name == intent.flavor));
        let number =
            site.create(place, flavor.ok_or_else(unknown)?)
                .map_err(|Refused::Quota| Failure {
                    kind: FailureKind::Quota,
                    message: format!("cloud {cloud}: quota exceeded"),
                })?;
        let server_id = server_id(number);
        let cluster = &self.policy.cluster;
        let mut metadata = execute_metadata(cluster, &intent.node, &intent.flavor, &intent.image);
        let at = self.at(site.now);
        self.keys.sign(&mut metadata, &intent.name, at);
        let record = ServerRecord {
            id: server_id.clone(),
            name: intent.name.clone(),
            status: ServerStatus::Build,
            nova_status: None,
            deleting: false,
            metadata,
            age: Duration::ZERO,
            fault: None,
            volumes: Vec::new(),
            zone: intent.zone.clone(),
            addresses: Vec::new(),
        };
        let server = OwnedServer::recognise(record, cluster);
        let server = server.map(|server| server.checked(&self.keys, at));
        self.servers.extend(server.map(|server| (number, server)));
        self.numbers.insert(intent.node.clone(), number);
        let known = Known {
            node: intent.node.clone(),
            number,
            machine: format!("{}.replay", intent.name),
            drain: None,
        };
        self.known.insert(number, known);
        Ok(Done::Created { server_id })
    }

    fn ask_pool(
        &mut self,
        site: &mut Site<'_>,
        number: Option<NodeNumber>,
        action: &PoolAction,
    ) -> Result<Done, Failure> {
        let number = number.ok_or_else(unknown);
        let drain = match action {
            PoolAction::Drain { reason, .. } => {
                if !site.drain(number.clone()?) {
                    return Err(Failure {
                        kind: FailureKind::NotIdle,
                        message: "the startd has a claim".to_owned(),
                    });
                }
                Some(DrainView {
                    reason: reason.clone(),
                    request_id: number.clone()?.to_string(),
                    complete: true,
                })
            }
            PoolAction::CancelDrain { .. } => {
                site.cancel_drain(number.clone()?);
                None
            }
            PoolAction::Invalidate { .. } => return Ok(Done::Accepted),
            PoolAction::Reschedule { .. } => {
                site.reschedule();
                return Ok(Done::Accepted);
            }
        };
        if let Some(known) = self.known.get_mut(&number?) {
            known.drain = drain;
        }
        Ok(Done::Accepted)
    }

    fn forget_gone(&mut self, site: &Site<'_>) {
        if self.known.len() as u64 <= site.count() {
            return;
        }
        let numbers = &mut self.numbers;
        self.known.retain(|number, known| {
            let there = site.node(*number).is_some();
            if !there {
                numbers.remove(&known.node);
            }
            there
        });
        self.servers
            .retain(|number, _| site.node(*number).is_some());
    }
}

impl Rule for Ehos {
    fn patience(&self) -> Seconds {
        // A schedule window opens, or a month's budget does.
        if self.leaves_out {
            3 * 86_400
        } else {
            32 * 86_400
        }
    }

    fn pass(&mut self, site: &mut Site<'_>) -> Pass {
        if self.may_rest(site) {
            if let Some(last) = &mut self.last {
                last.began = site.now;
            }
            site.events = Default::default();
            return Pass {
                limited: BTreeMap::new(),
                ..Pass::default()
            };
        }
        self.forget_gone(site);
        let began = site.now;
        let idle_jobs = site.idle_count();
        site.events = Default::default();
        let observation = self.observation(site);
        let changes = site.changes;
        let plan = (self.planner)(&observation, &self.policy, &self.state);
        let mut outcomes = Vec::with_capacity(plan.actions.len());
        let mut has_drained = false;
        let mut actions = 0;
        for action in &plan.actions {
            let result = self.perform(site, action);
            has_drained |=
                matches!(action, Action::Pool(PoolAction::Drain { .. })) && result.is_ok();
            actions += u64::from(!matches!(
                action,
                Action::Pool(PoolAction::Invalidate { .. } | PoolAction::Reschedule { .. })
            ));
            outcomes.push(Outcome {
                action: action.clone(),
                result,
            });
        }
        self.state = plan.after(&outcomes, &self.policy);
        self.last = Some(Last {
            began,
            planned: began,
            changes,
            look_again: plan.look_again,
            idle_jobs,
            idle_timeout: self.policy.idle_timeout,
            is_quiet: plan.actions.is_empty(),
        });
        Pass {
            actions,
            limited: limited(&plan),
            again_after: has_drained.then_some(SECOND_PASS),
        }
    }

    fn next_pass(&self, site: &Site<'_>, timer: Seconds) -> Seconds {
        let Some(last) = &self.last else { return timer };
        let pass = LastPass {
            age: Duration::from_secs((site.now - last.began).into()),
            took: TICK,
            look_again: last.look_again,
            idle_jobs: last.idle_jobs,
            idle_timeout: last.idle_timeout,
        };
        match next_pass::next_pass(&pass, site.events, self.event_interval) {
            NextPass::Due => site.now,
            NextPass::In(wait) => site.now + wait.as_secs_f64().ceil() as Seconds,
            NextPass::OfTimer => timer,
        }
    }
}

fn unknown() -> Failure {
    Failure {
        kind: FailureKind::Changed,
        message: "the simulated site has no such node, cloud or flavor".to_owned(),
    }
}

/// A UUID that begins with the number: those of a site differ early.
fn server_id(number: NodeNumber) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

fn has_budget(policy: &Policy) -> bool {
    let clouds = policy.clouds.iter().map(|cloud| &cloud.budget);
    let default = Default::default();
    clouds
        .chain([&policy.budget])
        .any(|budget| *budget != default)
}

/// Jobs that wait for each limit.
fn limited(plan: &Plan) -> BTreeMap<String, u64> {
    let mut limited = BTreeMap::new();
    for group in &plan.groups {
        for why in &group.why {
            if let Reason::Limited { jobs, limit, .. } = why {
                *limited.entry(limit.name().to_owned()).or_default() += *jobs;
            }
        }
    }
    limited
}

fn startd(site: &Site<'_>, node: &Node, known: &Known, joined: Seconds) -> StartdView {
    let since = |then: Seconds| Duration::from_secs((site.now - then).into());
    let interval = site.model.update_interval.max(1);
    // Startds say at once when their claims change, and else each interval.
    let heard = (site.now - node.unchanged_since) % interval;
    StartdView {
        machine: known.machine.clone(),
        instance_id: Some(format!("{:08x}-0000-4000-8000-000000000000", known.number)),
        node: Some(known.node.clone()),
        address: None,
        slots: vec![SlotView {
            owners: Default::default(),
            name: format!("slot1@{}", known.machine),
            total: node.total,
            free: node.free,
            claims: node.jobs(),
            accepts_jobs: !node.draining,
            unchanged_for: since(node.unchanged_since),
        }],
        sender: Sender::Unknown,
        heard_ago: Duration::from_secs(heard.into()),
        update_interval: Some(Duration::from_secs(interval.into())),
        up_for: since(joined),
        draining: known.drain.clone(),
    }
}

fn schedd(site: &Site<'_>) -> ScheddView {
    let demand = site.idle_jobs().into_iter().map(|idle| {
        let class = site.workload.classes.get(idle.class as usize);
        Demand {
            request: class.map(|class| class.request).unwrap_or_default(),
            jobs: idle.jobs,
            young: idle.young,
            waiting: Duration::from_secs((site.now - idle.since).into()),
            owner: class.map(|class| class.owner.clone()),
            accounting_group: class.and_then(|class| class.accounting_group.clone()),
            ..Demand::default()
        }
    });
    ScheddView {
        demand: demand.collect(),
        jobs: JobCounts {
            idle: site.idle_count(),
            running: site.running(),
            held: 0,
        },
        ..ScheddView::default()
    }
}
