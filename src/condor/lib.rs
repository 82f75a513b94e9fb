//! HTCondor, through its own command line tools.

mod command;
mod control;
mod daemon_off;
mod error;
pub mod event_log;
#[cfg(test)]
mod fake;
mod high_availability;
pub mod history;
pub mod inspect;
pub mod job;
mod match_memory;
mod matches;
mod negotiator;
mod odd;
mod plain;
#[cfg(fuzzing)]
pub mod queue;
#[cfg(not(fuzzing))]
mod queue;
pub mod ran;
mod schedds;
mod settings;
mod slots;
pub mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use scaling::sorting;

use scaling::action::{Done, Failure, FailureKind, PoolAction, StartdIdentity};
use scaling::idle_time::young;
use scaling::index::Names;
use scaling::job_names::{JobQuery, MachineJobs, PoolJobs};
use scaling::job_requirements::{JobGroupKey, MatchTarget, Matches, RequirementsDigest};
use scaling::observation::{
    CentralManagers, CollectorView, Demand, NegotiatorView, Observed, PoolView, ScheddView,
    StartdView,
};
use system::deadline::Deadline;
use system::threads::{joined, spawn};
use tick::pool::{JobsThere, Pool, TrackedMachines};

use ads::folded::Ads;
use ads::job_ad::JobAd;
pub use command::Tools;
pub use error::Error;
use match_memory::MatchCache;
pub use match_memory::MatchFile;
pub use matches::StartdAttributes;
use matches::{Matching, Owner};
use queue::{Asked, JobFilter, Schedd, Waits};
use schedds::ScheddAds;
pub use settings::CondorSettings;
use slots::Clock;

/// The shared port of HTCondor, and the only one that its daemons need (`SHARED_PORT_PORT`).
pub const SHARED_PORT: u16 = 9618;

/// A pool of HTCondor, asked with `condor_status` and `condor_q`, told with `condor_drain` and `condor_advertise`.
#[derive(Debug)]
pub struct CondorPool {
    tools: Tools,
    /// `condor.token_identity`: tokens of nodes with it are no proof of which node has sent an ad.
    token_identity: Option<String>,
    /// `condor.high_availability`.
    high_availability: bool,
    schedds: Vec<Schedd>,
    filter: JobFilter,
    negotiation_cycle: Duration,
    update_interval: Duration,
    /// The collector's clock, from the last observation: a look needs no call for it.
    clock: Mutex<Option<Clock>>,
    /// What the configuration says of new nodes.
    startd_attributes: StartdAttributes,
    /// Single jobs are named in reports (`show_owners`).
    names_jobs: bool,
    /// How idle jobs are queried.
    query: JobQuery,
    known: Mutex<Known>,
}

/// What is known of jobs besides the view.
#[derive(Debug)]
struct Known {
    memory: MatchCache,
    /// What the jobs of the last observation need.
    ads: BTreeMap<RequirementsDigest, JobAd>,
    /// Whose they are.
    owners: BTreeMap<RequirementsDigest, Owner>,
    /// What was asked of them because nodes ask for it.
    nodes_ask: BTreeSet<String>,
    /// `MyAddress` of the negotiator.
    negotiator: Option<String>,
    /// Running jobs by machine, if every node lists its own.
    listed: Option<BTreeMap<String, MachineJobs>>,
}

impl Known {
    /// Keeps what the match of a schedd's jobs needs, and the attributes that they refer to.
    fn keep(&mut self, demand: &[Demand], ads: Ads, names: &mut BTreeSet<String>) {
        names.extend(ads.names);
        self.memory.note_slow(&ads.slow);
        self.ads.extend(ads.ads);
        for demand in demand {
            let owner = self.owners.entry(demand.needs.clone());
            owner.or_insert_with(|| Owner {
                name: demand.owner.clone(),
                example: demand.example.clone(),
            });
        }
    }
}

impl CondorPool {
    /// The pool of `settings`. Where the negotiator does not say when its last cycle began, a job is young for
    /// `negotiation_cycle`; a startd that does not say how often it reports is expected to do so every
    /// `update_interval`; each call of a tool ends within `command_timeout`.
    pub fn new(
        settings: &CondorSettings,
        negotiation_cycle: Duration,
        update_interval: Duration,
        command_timeout: Duration,
    ) -> CondorPool {
        let pool = settings.pool.as_deref();
        let schedds = if settings.schedds.is_empty() {
            vec![Schedd::local()]
        } else {
            settings
                .schedds
                .iter()
                .map(|name| Schedd::named(name, pool))
                .collect()
        };
        CondorPool {
            tools: Tools::new(settings.bin.clone(), command_timeout).of_pool(pool),
            schedds,
            filter: JobFilter::new(
                &settings.universes,
                settings.job_constraint.as_deref(),
                !settings.ignore_requirements,
            ),
            negotiation_cycle,
            update_interval,
            token_identity: settings.token_identity.clone(),
            high_availability: settings.high_availability,
            clock: Mutex::new(None),
            startd_attributes: StartdAttributes::new(),
            names_jobs: false,
            query: JobQuery {
                universes: settings.universes.clone(),
                job_constraint: settings.job_constraint.clone(),
                match_requirements: !settings.ignore_requirements,
                node_attributes: BTreeSet::new(),
            },
            known: Mutex::new(Known {
                memory: MatchCache::load(None, Timestamp::now()),
                ads: BTreeMap::new(),
                owners: BTreeMap::new(),
                nodes_ask: BTreeSet::new(),
                negotiator: None,
                listed: None,
            }),
        }
    }

    /// It, remembering in `file` which jobs run where, with what the configuration says of new nodes.
    pub fn remembering(
        mut self,
        file: MatchFile,
        startd_attributes: StartdAttributes,
    ) -> CondorPool {
        self.startd_attributes = startd_attributes;
        self.known().memory = MatchCache::load(Some(file), Timestamp::now());
        self
    }

    /// The same pool, which names running jobs and their owners.
    #[must_use]
    pub fn naming_jobs(mut self, names_jobs: bool) -> CondorPool {
        self.names_jobs = names_jobs;
        self
    }

    /// Single jobs, for reports: the collector is queried for those that the slots do not list. Without an answer, none is named.
    fn named_jobs(&self, deadline: Deadline) -> BTreeMap<String, MachineJobs> {
        let running = slots::running(&self.tools, self.schedds.len() > 1, deadline);
        running.unwrap_or_else(|error| {
            log::debug!("{error}; the report names no running jobs");
            BTreeMap::new()
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The collector's clock.
    fn clock(&self, deadline: Deadline) -> Result<Clock, Error> {
        if let Some(clock) = *self.known_clock() {
            return Ok(clock);
        }
        slots::clock(&self.tools, deadline)
    }

    fn known_clock(&self) -> MutexGuard<'_, Option<Clock>> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collector(&self, deadline: Deadline) -> Observed<CollectorView> {
        let identity = self.token_identity.as_deref();
        let several = self.schedds.len() > 1;
        match slots::observe(&self.tools, identity, several, deadline) {
            Ok(collected) => {
                *self.known_clock() = Some(collected.clock);
                let mut known = self.known();
                known.negotiator = collected.negotiator;
                known.listed = collected.jobs;
                Observed::Known(collected.view)
            }
            Err(error) => Observed::Unknown(daemon_off::collector(&self.tools, &error, deadline)),
        }
    }

    /// Each schedd, all at once. Keeps what the match of their jobs needs.
    fn schedds(
        &self,
        watch: &TrackedMachines,
        collector: &Observed<CollectorView>,
        deadline: Deadline,
    ) -> BTreeMap<String, Observed<ScheddView>> {
        let silent = &self.silent(watch, collector);
        let waits = &Waits {
            young: young(collector.known(), self.negotiation_cycle),
            at: watch.at,
            clusters: &watch.clusters,
        };
        let (columns, slow) = {
            let known = self.known();
            (known.memory.columns(), known.memory.slow())
        };
        let asked = &Asked {
            columns: &columns,
            slow: &slow,
        };
        let observe = |schedd: &Schedd| {
            schedd.observe(&self.tools, &self.filter, waits, asked, silent, deadline)
        };
        let answers: Vec<(String, _)> = thread::scope(|scope| {
            let others = self.schedds.iter().skip(1);
            let others: Vec<_> = others
                .map(|schedd| spawn(scope, || observe(schedd)))
                .collect();
            // This thread has one to query, too: most pools have no other.
            let first = self.schedds.first().map(observe);
            let answers = first.into_iter().chain(others.into_iter().map(joined));
            let names = self.schedds.iter().map(|schedd| schedd.name.clone());
            names.zip(answers).collect()
        });
        let nodes_ask = columns.nodes_ask;
        let mut known = self.known();
        known.ads.clear();
        known.owners.clear();
        known.nodes_ask = nodes_ask;
        let mut names = BTreeSet::new();
        let mut views = BTreeMap::new();
        for (name, answer) in answers {
            let view = match answer {
                Ok((view, ads)) => {
                    known.keep(&view.demand, ads, &mut names);
                    Observed::Known(view)
                }
                Err(error) => Observed::Unknown(daemon_off::schedd(&name, &error)),
            };
            views.insert(name, view);
        }
        known.memory.use_columns(&names);
        views
    }

    /// The negotiators, in a pool with several central managers.
    fn central_managers(
        &self,
        collector: &Observed<CollectorView>,
        deadline: Deadline,
    ) -> Observed<CentralManagers> {
        match collector {
            Observed::Known(_) => {
                let identity = self.token_identity.as_deref();
                seen(high_availability::observe(&self.tools, identity, deadline))
            }
            Observed::Unknown(why) => Observed::Unknown(why.clone()),
        }
    }

    /// The limits that `named` jobs name.
    fn negotiator(
        &self,
        named: &negotiator::Named,
        deadline: Deadline,
    ) -> Observed<NegotiatorView> {
        let address = self.known().negotiator.clone();
        let address = address.filter(|_| self.tools.pool().is_some());
        seen(negotiator::observe(
            &self.tools,
            address.as_deref(),
            named,
            deadline,
        ))
    }

    /// How many jobs each schedd runs at most: nothing where the collector does not say.
    fn limits(&self, deadline: Deadline) -> ScheddAds {
        let limits = schedds::observe(&self.tools, deadline);
        limits.unwrap_or_else(|error| {
            log::debug!("{error}; MAX_JOBS_RUNNING limits nothing");
            ScheddAds::default()
        })
    }

    fn set_max_running(
        &self,
        schedds: &mut BTreeMap<String, Observed<ScheddView>>,
        limits: &ScheddAds,
    ) {
        for (name, view) in schedds {
            let Observed::Known(view) = view else {
                continue;
            };
            let named = self.schedds.iter().find(|schedd| schedd.name == *name);
            view.max_running = match named.is_some_and(Schedd::is_local) {
                true => limits.local(),
                false => limits.of(name),
            };
        }
    }

    /// The machines of `watch` that the collector has not heard within three of their update intervals, and those that say
    /// that they are drained, of which a job would be a contradiction. None while the collector is unknown: nothing is decided
    /// about a node then.
    fn silent(
        &self,
        watch: &TrackedMachines,
        collector: &Observed<CollectorView>,
    ) -> BTreeSet<String> {
        let Observed::Known(collector) = collector else {
            return BTreeSet::new();
        };
        let fresh = |startd: &&StartdView| {
            let interval = startd.update_interval.unwrap_or(self.update_interval);
            startd.heard_ago <= interval.saturating_mul(3)
        };
        let drained =
            |startd: &StartdView| startd.draining.as_ref().is_some_and(|drain| drain.complete);
        let heard = || {
            let startds = collector.startds.iter().filter(fresh);
            startds.filter(|startd| !drained(startd))
        };
        let servers: Names<'_> = heard()
            .filter_map(|one| one.instance_id.as_deref())
            .collect();
        let unnamed = heard().filter(|one| one.instance_id.is_none());
        let machines: Names<'_> = unnamed
            .flat_map(|one| {
                [
                    one.machine.as_str(),
                    one.machine.split('.').next().unwrap_or_default(),
                ]
            })
            .collect();
        watch
            .machines
            .iter()
            .filter(|(machine, server)| {
                // A startd that does not say which server it is on is taken at its name.
                !servers.contains(server.as_str()) && !machines.contains(machine.as_str())
            })
            .map(|(machine, _)| machine.clone())
            .collect()
    }

    /// The pool of this collector, without the names of running jobs.
    fn with_queues(
        &self,
        watch: &TrackedMachines,
        collector: Observed<CollectorView>,
        deadline: Deadline,
    ) -> PoolView {
        let mut schedds = self.schedds(watch, &collector, deadline);
        let demand = schedds.values().filter_map(Observed::known);
        let demand: Vec<&Demand> = demand.flat_map(|schedd| &schedd.demand).collect();
        let named = negotiator::Named::by(demand.iter().copied());
        let is_any_waiting = demand.iter().any(|demand| demand.jobs > 0);
        let (limits, central_managers, negotiator) = thread::scope(|scope| {
            let limits = is_any_waiting.then(|| spawn(scope, || self.limits(deadline)));
            let managers = self
                .high_availability
                .then(|| spawn(scope, || self.central_managers(&collector, deadline)));
            let negotiator = self.negotiator(&named, deadline);
            (limits.map(joined), managers.map(joined), negotiator)
        });
        let query = JobQuery {
            node_attributes: self.known().nodes_ask.clone(),
            ..self.query.clone()
        };
        if let Some(limits) = limits {
            self.set_max_running(&mut schedds, &limits);
        }
        PoolView {
            collector,
            schedds,
            negotiator,
            jobs: PoolJobs {
                query: Some(query),
                running: BTreeMap::new(),
            },
            central_managers,
        }
    }
}

impl Pool for CondorPool {
    fn observe(&self, watch: &TrackedMachines, deadline: Deadline) -> PoolView {
        let collector = self.collector(deadline);
        // A collector that has just not answered would only take more of the tick's time.
        let is_heard = collector.known().is_some();
        let listed = self.known().listed.take();
        let is_listed = !is_heard || !self.names_jobs || listed.is_some();
        thread::scope(|scope| {
            // Only reports name running jobs: no query that decides waits for this one.
            let running = (!is_listed).then(|| spawn(scope, || self.named_jobs(deadline)));
            let mut view = self.with_queues(watch, collector, deadline);
            let listed = listed.filter(|_| is_heard && self.names_jobs);
            view.jobs.running = running.map(joined).or(listed).unwrap_or_default();
            view
        })
    }

    fn has_job_on(&self, machine: &str, deadline: Deadline) -> Result<bool, Failure> {
        let mut answer = Ok(false);
        for schedd in &self.schedds {
            match schedd.has_job_on(&self.tools, machine, deadline) {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(error) => answer = Err(error.into()),
            }
        }
        answer
    }

    fn jobs_on(
        &self,
        machines: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<JobsThere, Failure> {
        let mut all = JobsThere::default();
        for schedd in &self.schedds {
            all.extend(schedd.jobs_on(&self.tools, machines, deadline)?);
        }
        sorting::ascending(&mut all.jobs);
        Ok(all)
    }

    fn matches(
        &self,
        jobs: &BTreeSet<JobGroupKey>,
        nodes: &[MatchTarget],
        deadline: Deadline,
    ) -> Matches {
        let mut known = self.known();
        let Known {
            memory,
            ads,
            owners,
            nodes_ask,
            ..
        } = &mut *known;
        let matching = Matching {
            tools: &self.tools,
            startd_attributes: &self.startd_attributes,
            ads,
            owners,
            nodes_ask,
            names_jobs: self.names_jobs,
            deadline,
        };
        matching.ask(jobs, nodes, memory)
    }

    fn look(
        &self,
        startd: &StartdIdentity,
        deadline: Deadline,
    ) -> Result<Vec<StartdView>, Failure> {
        let clock = self.clock(deadline)?;
        Ok(slots::look(
            &self.tools,
            self.token_identity.as_deref(),
            startd,
            clock,
            deadline,
        )?)
    }

    fn ask(&self, address: &str, deadline: Deadline) -> Result<Vec<StartdView>, Failure> {
        Ok(slots::ask(&self.tools, address, deadline)?)
    }

    fn perform(&self, action: &PoolAction, deadline: Deadline) -> Result<Done, Failure> {
        match action {
            PoolAction::Drain {
                startd,
                slot,
                reason,
                ..
            } => control::drain(&self.tools, startd, slot, reason, deadline),
            PoolAction::CancelDrain {
                slot, request_id, ..
            } => control::cancel(&self.tools, slot, request_id, deadline),
            PoolAction::Invalidate { machine, .. } => {
                control::invalidate(&self.tools, machine, deadline)
            }
            PoolAction::Reschedule { .. } => {
                let address = self.known().negotiator.clone();
                let address = address.ok_or_else(|| Failure {
                    kind: FailureKind::NotDone,
                    message: "the negotiator's ad has no MyAddress".to_owned(),
                })?;
                control::reschedule(&self.tools, &address, deadline)
            }
        }
    }
}

fn seen<T>(answer: Result<T, Error>) -> Observed<T> {
    match answer {
        Ok(value) => Observed::Known(value),
        Err(error) => Observed::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakeTools;
    use super::*;
    use scaling::action::FailureKind;
    use scaling::job_requirements::JobFault;
    use scaling::observation::{Demand, JobCounts, NodeId, Resources};

    const LIMIT: Duration = Duration::from_secs(60);

    /// Machine, slots, claims, whether a drain is complete.
    const RECORDED_MACHINES: [(&str, usize, u64, Option<bool>); 3] = [
        ("n1", 1, 2, None),
        ("n2", 1, 0, Some(true)),
        ("static", 2, 1, None),
    ];
    const RECORDED_JOBS: JobCounts = JobCounts {
        idle: 49,
        running: 3,
        held: 1,
    };
    /// Jobs, cores, memory, GPUs. The first four ask for memory that is no number.
    const RECORDED_DEMAND: [(u64, u64, u64, u64); 4] = [
        (4, 1, 0, 0),
        (3, 1, 512, 0),
        (2, 1, 701, 1),
        (40, 8, 16384, 0),
    ];

    /// A pool with a busy, a drained and a static node, and idle jobs (recorded from HTCondor 23.9.6).
    fn recorded() -> FakeTools {
        let fake = FakeTools::new();
        fake.replay("condor_status", "-collector", "status-collector.txt");
        fake.replay("condor_status", "-any", "status-daemons.txt");
        fake.replay("condor_status", "any", "status-slots.txt");
        fake.replay("condor_config_val", "-negotiator", "config-val-limits.txt");
        fake.replay(
            "condor_status",
            "unparse(ConcurrencyLimits)",
            "status-limits.txt",
        );
        fake.replay("condor_q", "-totals", "q-totals.txt");
        grouped(&fake);
        fake.replay(
            "condor_q",
            &ads::column::text("RemoteHost", 1024),
            "q-running.txt",
        );
        fake.replay("condor_q", "any", "q-jobs.txt");
        fake.replay(
            "condor_q",
            &ads::column::expression("filesystemdomain", 16384),
            "q-jobs-names.txt",
        );
        fake
    }

    /// The schedd groups, also by the attributes that the Requirements of its jobs refer to.
    fn grouped(fake: &FakeTools) {
        fake.replay("condor_q", "grouped", "q-group-by.txt");
        fake.replay("condor_q", "grouped-names", "q-group-by-names.txt");
        let script = "case \"$*\" in *'unparse(opsysandver)'*) word=grouped-names;; *) word=grouped;; esac\n\
                      exec \"$0\" $word";
        fake.script(
            "condor_q",
            "-group-by",
            &script.replace("$0", &fake.path().join("condor_q").display().to_string()),
        );
    }

    fn pool(fake: &FakeTools) -> CondorPool {
        CondorPool::new(
            &fake.settings(),
            // Less than recorded jobs have waited.
            Duration::from_secs(10),
            Duration::from_secs(300),
            LIMIT,
        )
    }

    fn identity(server_id: Option<&str>, node: &str, machine: Option<&str>) -> StartdIdentity {
        StartdIdentity {
            server_id: server_id.map(str::to_owned),
            node: NodeId(node.into()),
            shares_node: false,
            machine: machine.map(str::to_owned),
            own_ads: None,
            address: None,
            former: Vec::new(),
            own_identity: false,
            addresses: Vec::new(),
            update_interval: Duration::from_secs(300),
        }
    }

    fn observe(fake: &FakeTools) -> PoolView {
        pool(fake).observe(&TrackedMachines::default(), Deadline::within(LIMIT))
    }

    fn local(view: &PoolView) -> Result<&ScheddView, &str> {
        match &view.schedds["local"] {
            Observed::Known(view) => Ok(view),
            Observed::Unknown(why) => Err(why),
        }
    }

    fn jobs(demand: &[Demand]) -> Vec<(u64, u64, u64, u64)> {
        demand
            .iter()
            .map(|demand| {
                let request = demand.request;
                (demand.jobs, request.cpus, request.memory_mb, request.gpus)
            })
            .collect()
    }

    /// Reports alone need them.
    #[test]
    fn running_jobs_are_queried_while_the_queue_is() {
        let fake = recorded();
        let folder = fake.path().display().to_string();
        fake.replay("condor_status", "slots", "status-slots.txt");
        fake.replay("condor_q", "totals", "q-totals.txt");
        let status =
            "case \"$*\" in *GlobalJobId*) : >DIR/asked;; *) exec DIR/condor_status slots;; esac";
        fake.script("condor_status", "any", &status.replace("DIR", &folder));
        let queue = "for i in $(seq 500); do [ -e DIR/asked ] && exec DIR/condor_q totals; sleep 0.02; done; exit 1";
        fake.script("condor_q", "-totals", &queue.replace("DIR", &folder));
        let pool = pool(&fake).naming_jobs(true);
        let view = pool.observe(&TrackedMachines::default(), Deadline::within(LIMIT));
        assert!(local(&view).is_ok(), "{:?}", view.schedds);
        assert!(fake.path().join("asked").exists());
    }

    #[test]
    fn jobs_are_named_by_the_slots_and_queried_only_for_a_node_that_lists_none() {
        let fake = recorded();
        let slots = include_str!("../../tests/fixtures/condor/status-slots.txt");
        let n1 = slots.lines().find(|line| line.starts_with("out|\"n1\""));
        let n1 = n1.unwrap();
        let other = n1.replace("n1\"", "desktop\"");
        let other = other.replace("\"20261122t1\"", "");
        let other = other.replace("\"0f3c6c1e-0000-4000-8000-000000000001\"", "");
        let users = r#""{ \"alice@x\",\"bob@x\" }""#;
        let answer = |jobs: &str| {
            let lists = format!("\t\t\t{users}\t\"{{ 1,1 }}\"\t");
            format!("{n1}{lists}{jobs}\n{other}{lists}undefined\nexit=0\n")
        };
        let named = |jobs: &str| -> Vec<(String, Option<String>)> {
            fake.answer("condor_status", "any", &answer(jobs));
            let pool = pool(&fake).naming_jobs(true);
            let view = pool.observe(&TrackedMachines::default(), Deadline::within(LIMIT));
            assert!(view.collector.is_known());
            let jobs = view.jobs.running.get("n1").into_iter();
            let jobs = jobs.flat_map(|jobs| jobs.named.clone());
            jobs.map(|job| (job.job, job.owner)).collect()
        };
        let queries = || fake.calls().matches("State =?= \"Claimed\"").count();
        let job = |id: &str, owner: &str| (id.to_owned(), Some(owner.to_owned()));
        let listed = r#""{ \"ap#7.3#1\",\"ap#8.0#2\" }""#;
        assert_eq!(named(listed), [job("7.3", "alice"), job("8.0", "bob")]);
        assert_eq!(queries(), 0);
        assert_eq!(named("undefined"), []);
        assert_eq!(queries(), 1);
    }

    #[test]
    fn a_recorded_pool_is_seen_as_it_was() {
        let fake = recorded();
        let view = observe(&fake);
        let collector = view.collector.known().unwrap();
        let machines: Vec<_> = collector
            .startds
            .iter()
            .map(|startd| {
                let drained = startd.draining.as_ref().map(|drain| drain.complete);
                (
                    startd.machine.as_str(),
                    startd.slots.len(),
                    startd.claims(),
                    drained,
                )
            })
            .collect();
        assert_eq!(machines, RECORDED_MACHINES);
        let n1 = &collector.startds[0];
        assert_eq!(
            n1.instance_id.as_deref(),
            Some("0f3c6c1e-0000-4000-8000-000000000001")
        );
        assert_eq!(n1.node, Some(NodeId("20261122t1".into())));
        assert_eq!(n1.update_interval, Some(Duration::from_secs(5)));
        assert_eq!(n1.idle_for(), None);
        let n2 = &collector.startds[1];
        assert_eq!(n2.draining.as_ref().unwrap().reason, "somebody: \"else\"");
        assert_eq!(n2.draining.as_ref().unwrap().request_id, "1");
        // Its clock was at …047 when it sent the ad, and the collector's at …048.
        assert!(n2.idle_for().unwrap() >= Duration::from_secs(26), "{n2:?}");
        assert!(n2.up_for >= Duration::from_secs(26), "{n2:?}");
        assert_eq!(
            collector.startds[2].free(),
            Resources {
                cpus: 1,
                memory_mb: 1024,
                disk_kb: 35_453_880,
                gpus: 0,
            }
        );

        let schedd = local(&view).unwrap();
        assert_eq!(schedd.jobs, RECORDED_JOBS);
        assert_eq!(jobs(&schedd.demand), RECORDED_DEMAND);
        let calls = fake.calls();
        // The schedd twice: what the Requirements refer to was not known; and once more through the script.
        assert_eq!(calls.matches("-group-by").count(), 2, "{calls}");
        let fault = JobFault::Request {
            attribute: "RequestMemory".to_owned(),
            value: "\"2 GB\"".to_owned(),
        };
        assert_eq!(schedd.demand[0].fault, Some(fault));
        let kinds = &schedd.demand[1..];
        assert!(kinds.iter().all(|demand| demand.needs.0.len() == 16));
        assert_ne!(kinds[0].needs, kinds[2].needs);
        assert_eq!(kinds[0].example.as_deref(), Some("19.0"));
        assert_eq!(kinds[0].accounting_group.as_deref(), Some("group_phys.a"));
        assert_eq!(kinds[0].concurrency_limits["sw"], 2.0);
        assert!(!calls.contains("RemoteHost"), "{calls}");
        assert!(calls.contains("-schedd"), "{calls}");
    }

    /// The collector keeps startds apart by name and address: two nodes of two clouds with overlapping networks, or of
    /// an image that sets a fixed host name, can share `Machine` and `Name`.
    #[test]
    fn two_machines_of_one_name_are_two_startds() {
        let fake = recorded();
        let slot = |uuid: &str, node: &str, claims: u64| {
            format!(
                "out|\"n1\"\t\"slot1@n1\"\t\"Partitionable\"\t\"{uuid}\"\t\"{node}\"\t60\t\"Unclaimed\"\t\"Idle\"\t\
                 false\tfalse\t\t\t2\t2048\t70908088\t0\t0\t1024\t70903992\t0\t{claims}\t1795353035\tundefined\t\
                 1795353015\t1795353046\t1795353047\n"
            )
        };
        let answer = slot("uuid-a", "node-a", 0) + &slot("uuid-b", "node-b", 2) + "exit=0\n";
        fake.answer("condor_status", "any", &answer);
        let view = observe(&fake);
        let startds = &view.collector.known().unwrap().startds;
        let seen: Vec<_> = startds
            .iter()
            .map(|startd| (startd.instance_id.as_deref(), startd.claims()))
            .collect();
        assert_eq!(seen, [(Some("uuid-a"), 0), (Some("uuid-b"), 2)]);
    }

    #[test]
    fn without_slots_waiting_is_enough() {
        let fake = recorded();
        fake.answer("condor_status", "any", "exit=0\n");
        let view = observe(&fake);
        assert_eq!(view.collector.known().unwrap().startds, []);
        assert!(!fake.calls().contains("time()"), "{}", fake.calls());
    }

    #[test]
    fn a_schedd_that_does_not_group_is_asked_job_by_job() {
        let fake = recorded();
        fake.replay("condor_q", "-group-by", "q-no-group-by.txt");
        assert_eq!(
            jobs(&local(&observe(&fake)).unwrap().demand),
            RECORDED_DEMAND
        );
        // Or it says nothing although there are idle jobs.
        fake.answer("condor_q", "-group-by", "exit=0\n");
        assert_eq!(
            jobs(&local(&observe(&fake)).unwrap().demand),
            RECORDED_DEMAND
        );
        // Or it sends single jobs instead of groups.
        fake.replay("condor_q", "-group-by", "q-jobs.txt");
        assert_eq!(
            jobs(&local(&observe(&fake)).unwrap().demand),
            RECORDED_DEMAND
        );
    }

    #[test]
    fn an_empty_answer_is_none_only_when_the_totals_say_so() {
        let fake = recorded();
        fake.answer("condor_q", "-group-by", "exit=0\n");
        fake.answer(
            "condor_q",
            "-totals",
            "out|Summary\t1\t0\t1\t0\t0\t1795350962\nout|\nexit=0\n",
        );
        let view = observe(&fake);
        assert_eq!(local(&view).unwrap().demand, []);
        assert_eq!(local(&view).unwrap().jobs.running, 1);
        // Nothing waits: no limit of the schedd matters.
        let calls = fake.calls();
        assert!(!calls.contains("-schedd"), "{calls}");
        // condor_q -global with no schedd at all says something like this.
        for answer in [
            "exit=0\n",
            "out|All queues are empty\nexit=0\n",
            "out|\nexit=0\n",
        ] {
            fake.answer("condor_q", "-totals", answer);
            let view = observe(&fake);
            assert!(local(&view).is_err(), "{answer}");
            assert!(view.collector.is_known());
        }
    }

    #[test]
    fn what_fails_is_unknown_with_the_reason() {
        let fake = recorded();
        fake.replay("condor_q", "-totals", "q-schedd-off.txt");
        let view = observe(&fake);
        let why = local(&view).unwrap_err();
        assert!(why.contains("Can't find address for schedd"), "{why}");
        assert!(!why.contains("Extra Info"), "{why}");

        for (word, answer) in [
            ("any", "out|\"n1\"\t\"slot1@n1\"\nexit=0\n"),
            ("any", "err|Error: communication error\nexit=1\n"),
            ("-any", "err|Error: communication error\nexit=1\n"),
            ("-collector", "exit=0\n"),
            ("-collector", "out|undefined\tundefined\t\nexit=0\n"),
        ] {
            let fake = recorded();
            fake.answer("condor_status", word, answer);
            let view = observe(&fake);
            assert!(!view.collector.is_known(), "{word} {answer}");
            assert!(local(&view).is_ok());
        }
        // Half an answer, then a crash: it does not count, and the jobs are asked for one by one.
        let fake = recorded();
        let whole = observe(&fake);
        let jobs: u64 = local(&whole).unwrap().demand.iter().map(|d| d.jobs).sum();
        let crash = "printf '3\\t1\\t512\\t45\\t0\\t5\\t5\\n'; exit 1";
        fake.script("condor_q", "-group-by", crash);
        let view = observe(&fake);
        let each = &local(&view).unwrap().demand;
        assert_eq!(each.iter().map(|d| d.jobs).sum::<u64>(), jobs);
        fake.script("condor_q", "any", crash);
        assert!(local(&observe(&fake)).is_err());
    }

    #[test]
    fn a_collector_without_a_master_is_as_old_as_it_says() {
        let fake = recorded();
        fake.answer("condor_status", "-any", "exit=0\n");
        fake.answer(
            "condor_status",
            "-collector",
            "out|1795351457\t632\t\"ehos-cm\"\nexit=0\n",
        );
        let up_for = observe(&fake).collector.known().unwrap().up_for;
        assert_eq!(up_for, Duration::from_secs(632));
        fake.answer(
            "condor_status",
            "-any",
            "out|\"DaemonMaster\"\t\"other\"\t1795351456\tundefined\tundefined\tundefined\nexit=0\n",
        );
        assert_eq!(observe(&fake).collector.known().unwrap().up_for, up_for);
    }

    fn watch(machines: &[&str]) -> TrackedMachines {
        let pair = |machine: &&str| {
            let server = match *machine {
                "n1" => "0f3c6c1e-0000-4000-8000-000000000001".to_owned(),
                other => format!("the server of {other}"),
            };
            ((*machine).to_owned(), server)
        };
        machines.iter().map(pair).collect()
    }

    #[test]
    fn jobs_on_silent_machines_are_looked_for() {
        let fake = recorded();
        // Heard of lately: not asked about.
        let heard = watch(&["n1"]);
        pool(&fake).observe(&heard, Deadline::within(LIMIT));
        assert!(!fake.calls().contains("RemoteHost"));
        // Under any name: one that its server has sent is enough.
        let former = TrackedMachines::from_iter([(
            "former".to_owned(),
            heard.machines.iter().next().unwrap().1.clone(),
        )]);
        pool(&fake).observe(&former, Deadline::within(LIMIT));
        assert!(!fake.calls().contains("RemoteHost"));
        // Another server of the same host name is silent all the same.
        let namesake = TrackedMachines::from_iter([("n1".to_owned(), "another".to_owned())]);
        pool(&fake).observe(&namesake, Deadline::within(LIMIT));
        assert!(fake.calls().contains("RemoteHost"));
        let silent = watch(&["n1", "Gone.Example", "never"]);
        fake.answer(
            "condor_q",
            &ads::column::text("RemoteHost", 1024),
            // The recorded clock of the schedd is 1795353048.
            "out|slot1_1@gone.example\t2400\t1795352448\t1795350000\t3.0\n\
             out|slot1_2@gone.example\t900\t1795352948\t1795350000\t3.1\n\
             out|slot1@x@elsewhere\t2400\tundefined\t1795350000\t4.0\nout|\nexit=0\n",
        );
        let view = pool(&fake).observe(&silent, Deadline::within(LIMIT));
        let running_on = &local(&view).unwrap().running_on;
        assert_eq!(running_on.keys().collect::<Vec<_>>(), ["Gone.Example"]);
        let jobs = &running_on["Gone.Example"];
        assert_eq!((jobs.jobs, jobs.example.as_deref()), (2, Some("3.0")));
        assert_eq!(jobs.lease, Some(Duration::from_secs(2400)));
        // Of the first 600 s are over, of the second 100.
        let left = jobs.lease_left.unwrap().as_secs();
        assert!((1798..=1800).contains(&left), "{left}");
        assert!(
            fake.calls().contains("{\"Gone.Example\", \"never\"}"),
            "{}",
            fake.calls()
        );
        fake.answer(
            "condor_q",
            &ads::column::text("RemoteHost", 1024),
            "err|Failed\nexit=1\n",
        );
        let view = pool(&fake).observe(&silent, Deadline::within(LIMIT));
        assert!(local(&view).is_err(), "the schedd is unknown as a whole");
    }

    #[test]
    fn a_schedd_says_whether_a_job_runs_on_a_machine_and_no_answer_is_none() {
        let fake = recorded();
        let ask = |answer: &str| {
            fake.answer("condor_q", &ads::column::text("RemoteHost", 1024), answer);
            let answer = pool(&fake).has_job_on("gone", Deadline::within(LIMIT));
            answer.map_err(|failure| failure.kind)
        };
        let job = "out|slot1_1@GONE.example\t2400\tundefined\t1795350000\t3.0\nexit=0\n";
        assert_eq!(ask(job), Ok(true));
        assert_eq!(ask("exit=0\n"), Ok(false));
        let elsewhere = job.replace("GONE", "other");
        assert_eq!(ask(&elsewhere), Ok(false));
        assert!(ask("err|Failed\nexit=1\n").is_err());
    }

    #[test]
    fn jobs_on_machines_that_say_that_they_are_drained_are_looked_for() {
        let fake = recorded();
        pool(&fake).observe(&watch(&["n2"]), Deadline::within(LIMIT));
        assert!(fake.calls().contains("RemoteHost"));
    }

    #[test]
    fn a_running_job_that_cannot_be_read_may_be_on_any_silent_machine() {
        for odd in [
            "{1,2}",
            "#type\t2400\tundefined\t1\t3.0",
            "{\"a\",\t2400\t1\t1\t3.0",
            "\"}",
            "slot1@gone",
        ] {
            let fake = recorded();
            let line = format!("out|{odd}\nout|slot1@gone\t2400\tundefined\t1\t4.0\nexit=0\n");
            fake.answer("condor_q", &ads::column::text("RemoteHost", 1024), &line);
            let silent = watch(&["gone", "other"]);
            let view = pool(&fake).observe(&silent, Deadline::within(LIMIT));
            let running_on = &local(&view).unwrap().running_on;
            let jobs: Vec<u64> = running_on.values().map(|jobs| jobs.jobs).collect();
            assert_eq!(jobs, [1, 0], "{odd}: listed on both, counted on one");
        }
    }

    #[test]
    fn leases_that_are_not_known_are_not_made_up() {
        let lease_left = |columns: &str| {
            let fake = recorded();
            let line = format!("out|slot1@gone\t{columns}\t3.0\nout|\nexit=0\n");
            fake.answer("condor_q", &ads::column::text("RemoteHost", 1024), &line);
            let view = pool(&fake).observe(&watch(&["gone"]), Deadline::within(LIMIT));
            let jobs = local(&view).unwrap().running_on["gone"].clone();
            let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
            (seconds(jobs.lease), seconds(jobs.lease_left))
        };
        // The schedd has not lost the connection yet, or lost that of an earlier run.
        let connected = (Some(2400), None);
        assert_eq!(lease_left("2400\tundefined\t1795350000"), connected);
        assert_eq!(lease_left("2400\t1795340000\t1795350000"), connected);
        // Over already.
        let over = (Some(60), Some(0));
        assert_eq!(lease_left("60\t1795351000\t1795350000"), over);
        assert_eq!(lease_left("60\t1795351000\tundefined"), over);
        // None, or nothing that is one.
        for odd in [
            "undefined",
            "error",
            "-5",
            "{1,2}",
            "9223372036854775807",
            "",
        ] {
            let columns = format!("{odd}\t1795353000\t1795350000");
            assert_eq!(lease_left(&columns), (None, None), "{odd}");
        }
    }

    #[test]
    fn each_schedd_is_asked_by_name_and_pool() {
        let fake = recorded();
        let mut settings = fake.settings();
        settings.pool = Some("cm.example".to_owned());
        settings.schedds = vec!["a@".to_owned(), "b@".to_owned()];
        let pool = CondorPool::new(&settings, LIMIT, LIMIT, LIMIT);
        let view = pool.observe(&TrackedMachines::default(), Deadline::within(LIMIT));
        assert_eq!(view.schedds.keys().collect::<Vec<_>>(), ["a@", "b@"]);
        let calls = fake.calls();
        assert!(
            calls.contains("condor_q -name b@ -pool cm.example -allusers -totals"),
            "{calls}"
        );
        assert!(
            calls.contains("condor_status -pool cm.example -collector"),
            "{calls}"
        );
    }

    #[test]
    fn a_last_look_is_one_call_with_the_clock_of_the_observation() {
        let fake = recorded();
        let pool = pool(&fake);
        let deadline = Deadline::within(LIMIT);
        pool.observe(&TrackedMachines::default(), deadline);
        let before = fake.calls().lines().count();
        // The collector answers with what the constraint leaves; here with all of it.
        let found = pool.look(&identity(Some("uuid-\"a"), "n-1", Some("n1")), deadline);
        let found = found.unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].machine.as_str(), found[0].claims()), ("n1", 2));
        assert!(
            found[0].heard_ago < Duration::from_secs(30),
            "{:?}",
            found[0]
        );
        let calls = fake.calls();
        assert_eq!(calls.lines().count(), before + 1, "{calls}");
        let asked = calls.lines().last().unwrap();
        assert!(
            asked.contains(
                "SlotType =!= \"Dynamic\" && Offline =!= true && (EhosNode =?= \"n-1\" || CloudInstanceID =?= \"uuid-\\\"a\" || \
                 Machine =?= \"n1\")"
            ),
            "{asked}"
        );
        // Nobody is an answer; no answer is none.
        fake.answer("condor_status", "any", "exit=0\n");
        let never_seen = identity(None, "n-1", None);
        assert_eq!(pool.look(&never_seen, deadline), Ok(Vec::new()));
        let asked = fake.calls();
        assert!(
            asked
                .lines()
                .last()
                .unwrap()
                .contains("&& (EhosNode =?= \"n-1\")")
        );
        for answer in [
            "err|Error: communication error\nexit=1\n",
            "out|half\nexit=0\n",
        ] {
            fake.answer("condor_status", "any", answer);
            assert!(pool.look(&never_seen, deadline).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_startd_is_asked_at_its_address_and_says_how_it_is() {
        let fake = recorded();
        let pool = pool(&fake);
        let deadline = Deadline::within(LIMIT);
        let address = "<10.0.0.1:9618?addrs=10.0.0.1-9618&sock=startd_1_43af>";
        fake.replay("condor_status", "-direct", "status-direct.txt");
        let said = pool.ask(address, deadline).unwrap();
        let [startd] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert_eq!((startd.machine.as_str(), startd.claims()), ("n1", 0));
        assert_eq!(startd.heard_ago, Duration::ZERO);
        assert_eq!(startd.node, Some(NodeId("t1".into())));
        let asked = fake.calls();
        assert!(
            asked.contains(&format!(
                "condor_status -direct {address} -constraint SlotType"
            )),
            "{asked}"
        );
        assert_eq!(asked.lines().count(), 1, "no clock is needed: {asked}");
        // A client that must prove who it is cannot ask a node: nodes have no key of the pool.
        fake.script(
            "condor_status",
            "-direct",
            "test \"$_CONDOR_SEC_CLIENT_AUTHENTICATION$_CONDOR_SEC_CLIENT_ENCRYPTION$_CONDOR_SEC_CLIENT_INTEGRITY\" = \
             OPTIONALOPTIONALOPTIONAL || exit 1",
        );
        assert_eq!(pool.ask(address, deadline), Ok(Vec::new()));
        for fixture in ["status-direct-gone.txt", "status-direct-refused.txt"] {
            fake.replay("condor_status", "-direct", fixture);
            let failure = pool.ask(address, deadline).unwrap_err();
            assert!(
                failure.message.contains("the startd at <10.0.0.1"),
                "{failure:?}"
            );
        }
    }

    /// Their ads are the collector's own (`Offline = true`): it says that they would be there.
    #[test]
    fn machines_that_sleep_are_not_asked_for() {
        let fake = recorded();
        observe(&fake);
        let calls = fake.calls();
        let slots = calls.lines().find(|call| call.contains("TotalSlotCpus"));
        assert!(
            slots
                .unwrap()
                .contains("-constraint SlotType =!= \"Dynamic\" && Offline =!= true -af"),
            "{calls}"
        );
    }

    #[test]
    fn one_daemon_ad_that_cannot_be_read_costs_itself_alone() {
        let fake = recorded();
        let good = "out|\"Negotiator\"\t\"ehos-cm\"\tundefined\t5\t1795353040\t\"<127.0.0.1:9618>\"\nexit=0\n";
        for bad in [
            "{",
            "error\terror\terror\terror\terror\terror",
            "\"Negotiator\"\t\"x\"\tundefined\terror\terror\terror",
            "",
        ] {
            fake.answer("condor_status", "-any", &format!("out|{bad}\n{good}"));
            let view = observe(&fake);
            let view = view.collector.known().unwrap();
            assert_eq!(
                view.negotiation_period,
                Some(Duration::from_secs(5)),
                "{bad}"
            );
            fake.answer(
                "condor_status",
                "-collector",
                &format!("out|{bad}\nout|1795353048\t34\t\"ehos-cm\"\nexit=0\n"),
            );
            assert!(observe(&fake).collector.is_known(), "{bad}");
        }
    }

    #[test]
    fn machines_that_publish_lists_records_and_megabytes_cost_themselves_alone() {
        let fake = recorded();
        fake.replay("condor_status", "any", "status-odd-slots.txt");
        let view = observe(&fake);
        let view = view.collector.known().unwrap();
        assert_eq!(view.startds.len(), 25);
        for startd in &view.startds {
            let odd = startd.machine != "n1";
            // The one whose Start is a string takes no jobs, and that can be read.
            let closed = startd.machine == "odd8";
            assert_eq!(startd.claims() > 0, odd && !closed, "{startd:?}");
            assert_eq!(startd.slots[0].accepts_jobs, !odd, "{startd:?}");
        }
        assert_eq!(view.unreadable.len(), 23);
        assert!(view.unreadable.iter().all(|ad| ad.owner_known));
        assert!(view.unreadable[0].slot_name().starts_with("slot1@odd"));
    }

    #[test]
    fn one_slot_that_cannot_be_read_costs_itself_alone() {
        let fake = recorded();
        let recorded = std::fs::read_to_string(fake.path().join("condor_status.any")).unwrap();
        let bad = "out|\"odd\"\t\"slot1@odd\"\terror\n";
        fake.answer("condor_status", "any", &format!("{bad}{recorded}"));
        let view = observe(&fake);
        let view = view.collector.known().unwrap();
        assert_eq!((view.startds.len(), view.unreadable.len()), (3, 1));
        // All of them: this is no answer.
        fake.answer("condor_status", "any", &format!("{bad}exit=0\n"));
        assert!(!observe(&fake).collector.is_known());
    }

    #[test]
    fn a_last_look_without_an_observation_asks_for_the_clock_too() {
        let fake = recorded();
        let pool = pool(&fake);
        let one = identity(None, "n-1", Some("n1"));
        assert_eq!(pool.look(&one, Deadline::within(LIMIT)).unwrap().len(), 3);
        assert!(fake.calls().contains("-collector"), "{}", fake.calls());
        fake.answer("condor_status", "-collector", "exit=0\n");
        assert!(pool.look(&one, Deadline::within(LIMIT)).is_err());
    }

    #[test]
    fn actions_are_what_the_tools_are_told() {
        let fake = recorded();
        let pool = pool(&fake);
        let node = NodeId("n".into());
        let perform = |action: &PoolAction| pool.perform(action, Deadline::within(LIMIT));
        let drain = PoolAction::Drain {
            node: node.clone(),
            startd: identity(Some("uuid-a"), "n", Some("n1")),
            slot: "slot1@n1".to_owned(),
            reason: "ehos c: idle".to_owned(),
        };
        fake.replay("condor_drain", "any", "drain.txt");
        assert_eq!(perform(&drain), Ok(Done::Accepted));
        assert!(
            fake.calls().contains(
                "condor_drain -debug -graceful -check State == \"Unclaimed\" && (CloudInstanceID =?= undefined || \
                 CloudInstanceID == \"uuid-a\") -reason ehos c: idle slot1@n1"
            ),
            "{}",
            fake.calls()
        );
        fake.answer("condor_drain", "any", "exit=0\n");
        assert_eq!(perform(&drain).unwrap_err().kind, FailureKind::Unknown);
        fake.replay("condor_drain", "any", "drain-claimed.txt");
        assert_eq!(perform(&drain).unwrap_err().kind, FailureKind::NotIdle);

        let cancel = |request_id: &str| PoolAction::CancelDrain {
            node: node.clone(),
            slot: "slot1@n1".to_owned(),
            request_id: request_id.to_owned(),
        };
        fake.replay("condor_drain", "-cancel", "drain-cancel.txt");
        assert_eq!(perform(&cancel("1")), Ok(Done::Accepted));
        assert!(fake.calls().contains("-cancel -request-id 1 slot1@n1"));
        assert_eq!(
            perform(&cancel("")).unwrap_err().kind,
            FailureKind::Rejected
        );

        fake.script(
            "condor_advertise",
            "any",
            "cat >>\"$(dirname \"$0\")/ads\"\ncase \"$*\" in *STARTD*) echo 'Sent 2 of 2 ads to x.';; *) echo 'Sent 1 of 1 ad to x.';; esac",
        );
        let invalidate = PoolAction::Invalidate {
            node,
            machine: "a\"b.example".to_owned(),
        };
        assert_eq!(perform(&invalidate), Ok(Done::Accepted));
        let ads = std::fs::read_to_string(fake.path().join("ads")).unwrap();
        assert_eq!(
            ads.matches("Requirements = Machine == \"a\\\"b.example\"\n")
                .count(),
            3
        );
        fake.replay(
            "condor_advertise",
            "INVALIDATE_MASTER_ADS",
            "advertise-denied.txt",
        );
        let failure = perform(&invalidate).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotAuthorized);
    }

    #[test]
    fn the_negotiator_itself_is_asked_for_a_cycle() {
        let fake = recorded();
        let pool = pool(&fake);
        let deadline = Deadline::within(LIMIT);
        let action = PoolAction::Reschedule {
            node: NodeId("n".into()),
        };
        let failure = pool.perform(&action, deadline).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotDone, "no ad was read yet");
        pool.observe(&TrackedMachines::default(), deadline);
        fake.answer("condor_reschedule", "-addr", "out|Sent\nexit=0\n");
        assert_eq!(pool.perform(&action, deadline), Ok(Done::Accepted));
        let asked = "condor_reschedule -addr <127.0.0.1:9618?sock=negotiator>";
        assert!(fake.calls().contains(asked), "{}", fake.calls());
        let denied = "err|ERROR\nerr|SECMAN:2010:Received \"DENIED\" from server\nexit=1\n";
        fake.answer("condor_reschedule", "-addr", denied);
        let failure = pool.perform(&action, deadline).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotAuthorized);
    }

    #[test]
    fn a_token_is_signed_with_the_key_that_is_named() {
        let fake = FakeTools::new();
        fake.script(
            "condor_token_create",
            "any",
            "echo \"$_CONDOR_SEC_PASSWORD_DIRECTORY\" >\"$(dirname \"$0\")/folder\"; echo eyJh.eyJi.c",
        );
        let create = |signing| {
            token::create(
                &fake.tools(LIMIT),
                "execute@testbed",
                &token::NODE_AUTHORIZATIONS,
                Duration::from_secs(60),
                signing,
                Deadline::within(LIMIT),
            )
            .unwrap();
            let folder = std::fs::read_to_string(fake.path().join("folder")).unwrap();
            (fake.calls(), folder)
        };
        let (calls, folder) = create(token::Signing::default());
        assert!(!calls.contains("-key"), "{calls}");
        assert_eq!(folder, "\n");
        let (calls, folder) = create(token::Signing {
            key: Some("EHOS"),
            directory: Some(std::path::Path::new("/etc/ehos/keys")),
        });
        assert!(
            calls.contains(
                "condor_token_create -identity execute@testbed -lifetime 60 -key EHOS -authz ADVERTISE_STARTD -authz \
                 ADVERTISE_MASTER -authz READ\n"
            ),
            "{calls}"
        );
        assert_eq!(folder, "/etc/ehos/keys\n");
    }

    #[test]
    fn a_token_says_of_itself_whose_it_is_and_when_it_ends() {
        use base64::Engine;
        let of = |claims: &str| {
            let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
            token::claims(&format!("eyJh.{claims}.sig\n").into())
        };
        let claims = of(r#"{"exp":1795659873,"iss":"d","jti":"c4c9","sub":"execute@d"}"#).unwrap();
        assert_eq!(claims.exp, Some(1_795_659_873));
        assert_eq!(claims.jti.as_deref(), Some("c4c9"));
        assert_eq!(of("{}").unwrap().exp, None);
        for none in [
            of("no JSON"),
            token::claims(&"a.b".into()),
            token::claims(&"a.e30.c.d".into()),
        ] {
            assert!(none.is_none(), "{none:?}");
        }
    }

    #[test]
    fn a_token_is_a_secret() {
        let fake = FakeTools::new();
        fake.answer("condor_token_create", "any", "out|eyJh.eyJi.c-_d\nexit=0\n");
        let create = || {
            token::create(
                &fake.tools(LIMIT),
                "execute@testbed",
                &token::NODE_AUTHORIZATIONS,
                Duration::from_secs(3600),
                token::Signing::default(),
                Deadline::within(LIMIT),
            )
        };
        let token = create().unwrap();
        assert_eq!(
            secrecy::ExposeSecret::expose_secret(&token),
            "eyJh.eyJi.c-_d"
        );
        assert!(!format!("{token:?}").contains("eyJ"));
        assert!(
            fake.calls()
                .contains("-identity execute@testbed -lifetime 3600 -authz ADVERTISE_STARTD")
        );
        for answer in [
            "out|eyJh.secret\nexit=0\n",
            "exit=0\n",
            "out|eyJh.eyJi.c\nexit=2\n",
        ] {
            fake.answer("condor_token_create", "any", answer);
            let error = create().unwrap_err().to_string();
            assert!(!error.contains("eyJ"), "{error}");
        }
        fake.answer(
            "condor_config_val",
            "any",
            "err|Not defined: TRUST_DOMAIN\nexit=1\n",
        );
        assert!(token::trust_domain(&fake.tools(LIMIT), Deadline::within(LIMIT)).is_err());
    }
}
