//! ehos itself: the planner of every tick, with the policy of a configuration.
//!
//! Owns: the observation of a simulated site as a tick would have it, and the outcome of each action.
//! Must not: decide anything; the plan is `scaling::plan`'s.

mod rest;

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
    Observed, OwnedServer, PoolView, Quota, Resources, ScheddView, SecondaryQuota, ServerRecord,
    ServerStatus, SlotView, StartdView, Usage, execute_metadata,
};
use scaling::plan::{self, Action, Plan};
use scaling::policy::Policy;
use scaling::reason::Reason;
use scaling::schedule::Spare;
use scaling::sender::Sender;
use scaling::signing::SigningKeys;
use scaling::sorting::IntoMap;
use scaling::state::{Outcome, State};
use secrecy::SecretString;

use super::{Pass, Rule};
use crate::site::{Node, NodeNumber, Refused, Site, Stage};
use crate::workload::Seconds;
use rest::{Rest, Terms};

/// The one schedd of the site.
const SCHEDD: &str = "replay";
/// A drained node is deleted by a second pass of the same tick (`commands/tick/passes.rs`).
const SECOND_PASS: Seconds = 2;
/// `ehos tick --look-again` of ehos.service.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The time that a tick takes; it rests for twice as long.
const TICK: Duration = Duration::from_secs(1);
/// The collector has run for this long before second 0.
const COLLECTOR_AGE: Duration = Duration::from_secs(3600);

/// What the rule knows of a node besides what the site does.
struct Known {
    node: NodeId,
    /// Not there while the planner has it: a copy at each pass would cost more than half of the plan.
    server: Option<OwnedServer>,
    /// In the pool, since its startd joined.
    startd: Option<StartdView>,
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
    last: Option<Last>,
    rest: Option<Rest>,
    /// Passes in which nothing can have changed are left out.
    pub leaves_out: bool,
    /// The planner; a benchmark takes its time.
    pub planner: fn(&Observation, &Policy, &State) -> Plan,
}

/// The last pass.
struct Last {
    began: Seconds,
    /// The time at which it wanted the next one.
    look_again: Option<Seconds>,
    idle_jobs: u64,
    idle_timeout: Duration,
}

impl Ehos {
    /// ehos with this policy; second 0 of the workload is at `start`.
    pub fn new(mut policy: Policy, event_interval: Duration, start: Timestamp) -> Ehos {
        // As ehos.service starts a tick.
        policy.look_again = (!event_interval.is_zero()).then_some(LOOK_AGAIN);
        // Windows and the age of busy nodes change plans by the time alone.
        let mut clouds = policy.clouds.iter();
        let leaves_out = policy.max_lifetime.is_none()
            && clouds.all(|cloud| cloud.max_lifetime.is_none())
            && !has_windows(&policy);
        Ehos {
            policy,
            event_interval,
            state: State::default(),
            start,
            keys: SigningKeys::new(vec![SecretString::from("replay".to_owned())]),
            known: BTreeMap::new(),
            numbers: BTreeMap::new(),
            last: None,
            rest: None,
            leaves_out,
            planner: plan::plan,
        }
    }

    fn at(&self, now: Seconds) -> Timestamp {
        let since = SignedDuration::from_secs(now.into());
        self.start.checked_add(since).unwrap_or(self.start)
    }

    /// Whether a pass would plan what the last one did, nothing.
    fn may_rest(&self, site: &Site<'_>) -> bool {
        self.leaves_out && self.rest.as_ref().is_some_and(|rest| rest.lasts(site))
    }

    fn observation(&mut self, site: &Site<'_>) -> Observation {
        let mut clouds: BTreeMap<String, Observed<CloudView>> = BTreeMap::new();
        let mut startds = Vec::new();
        let mut servers: Vec<Vec<OwnedServer>> = vec![Vec::new(); site.clouds.len()];
        for (number, node) in site.nodes() {
            let Some(known) = self.known.get_mut(&number) else {
                continue;
            };
            let status = match node.stage {
                Stage::Booting => ServerStatus::Build,
                _ => ServerStatus::Active,
            };
            if let Some((list, mut server)) = servers.get_mut(node.cloud).zip(known.server.take()) {
                let age = Duration::from_secs((site.now - node.created).into());
                server.seen_again(status, age, node.is_leaving());
                list.push(server);
            }
            if let Stage::Joined { at } = node.stage
                && let Some(mut startd) = known.startd.take()
            {
                observe(&mut startd, site, node, known, at);
                startds.push(startd);
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
                    .into_map(),
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

    /// Takes the servers and startds of an observation back, in the order in which it got them.
    fn take_back(&mut self, site: &Site<'_>, observation: Observation) {
        let mut clouds = observation.clouds;
        let mut servers: Vec<_> = site
            .clouds
            .iter()
            .map(|cloud| match clouds.remove(&cloud.name) {
                Some(Observed::Known(view)) => view.servers.into_iter(),
                _ => Vec::new().into_iter(),
            })
            .collect();
        let mut startds = match observation.pool.collector {
            Observed::Known(collector) => collector.startds.into_iter(),
            Observed::Unknown { .. } => Vec::new().into_iter(),
        };
        for (number, node) in site.nodes() {
            let Some(known) = self.known.get_mut(&number) else {
                continue;
            };
            known.server = servers.get_mut(node.cloud).and_then(Iterator::next);
            if node.has_joined() {
                known.startd = startds.next();
            }
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
        self.numbers.insert(intent.node.clone(), number);
        let known = Known {
            node: intent.node.clone(),
            server: server.map(|server| server.checked(&self.keys, at)),
            startd: Some(startd(intent, &server_id)),
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
    }
}

impl Rule for Ehos {
    fn patience(&self) -> Seconds {
        // A schedule window opens, or a month's budget does.
        match has_windows(&self.policy) {
            true => 32 * 86_400,
            false => 3 * 86_400,
        }
    }

    fn pass(&mut self, site: &mut Site<'_>) -> Pass {
        if self.may_rest(site) {
            if let Some(last) = &mut self.last {
                last.began = site.now;
                last.idle_jobs = site.idle_count();
            }
            site.events = Default::default();
            return Pass::default();
        }
        self.forget_gone(site);
        let began = site.now;
        let idle_jobs = site.idle_count();
        site.events = Default::default();
        let observation = self.observation(site);
        let plan = (self.planner)(&observation, &self.policy, &self.state);
        self.take_back(site, observation);
        let looks_again = plan
            .look_again
            .map(|wait| began + wait.as_secs_f64().ceil() as Seconds);
        let is_quiet = plan.actions.is_empty() && self.state.refusals.is_empty();
        let terms = Terms {
            keeps_nodes: self.policy.nodes_min > 0 || self.policy.nodes_spare != Spare::Count(0),
            early: match self.policy.look_again {
                Some(_) => 0,
                None => site.model.tick_interval.div_ceil(2),
            },
        };
        self.rest = is_quiet
            .then(|| Rest::of(site, looks_again, terms))
            .flatten();
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
            look_again: looks_again,
            idle_jobs,
            idle_timeout: self.policy.idle_timeout,
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
            look_again: last
                .look_again
                .map(|at| Duration::from_secs(at.saturating_sub(last.began).into())),
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

/// Whether a schedule, or a budget of a month, changes limits by the time.
fn has_windows(policy: &Policy) -> bool {
    let clouds = policy.clouds.iter().map(|cloud| &cloud.budget);
    let default = Default::default();
    let mut budgets = clouds.chain([&policy.budget]);
    !policy.schedules.is_empty() || budgets.any(|budget| *budget != default)
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

/// The startd of a server, before it joins.
fn startd(intent: &Intent, server_id: &str) -> StartdView {
    let machine = format!("{}.replay", intent.name);
    StartdView {
        instance_id: Some(server_id.to_owned()),
        node: Some(intent.node.clone()),
        address: None,
        slots: vec![SlotView {
            owners: Default::default(),
            name: format!("slot1@{machine}"),
            total: Resources::default(),
            free: Resources::default(),
            claims: 0,
            accepts_jobs: true,
            unchanged_for: Duration::ZERO,
        }],
        machine,
        sender: Sender::Unknown,
        heard_ago: Duration::ZERO,
        update_interval: None,
        up_for: Duration::ZERO,
        draining: None,
    }
}

/// What the startd of a node says now.
fn observe(startd: &mut StartdView, site: &Site<'_>, node: &Node, known: &Known, joined: Seconds) {
    let since = |then: Seconds| Duration::from_secs((site.now - then).into());
    let interval = site.model.update_interval.max(1);
    for slot in &mut startd.slots {
        slot.total = node.total;
        slot.free = node.free;
        slot.claims = node.jobs();
        slot.accepts_jobs = !node.draining;
        slot.unchanged_for = since(node.unchanged_since);
    }
    // Startds say at once when their claims change, and else each interval.
    let heard = (site.now - node.unchanged_since) % interval;
    startd.heard_ago = Duration::from_secs(heard.into());
    startd.update_interval = Some(Duration::from_secs(interval.into()));
    startd.up_for = since(joined);
    startd.draining.clone_from(&known.drain);
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
