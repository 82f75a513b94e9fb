//! The runs of a simulation: the configuration, each point of a sweep, and other rules, on all cores of this machine.
//!
//! Owns: the memory of a large sweep. Only some of its runs keep their time series; those that the page shows run again, and
//! give the same figures.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;

use config::Config;
use keys::duration;
use replay::comparison::{Run, charted, mark_frontier};
use replay::figures::{Figures, Series};
use replay::model::Model;
use replay::rule::Rule;
use replay::rule::ehos::Ehos;
use replay::rule::peers::{Peer, PeerRule};
use replay::run;
use replay::site::{Site, SiteCloud};
use replay::workload::Workload;
use scaling::policy::Policy;
use system::progress::{Line, Progress};

/// A key and its value.
pub type Change = (String, String);

/// The most points of a sweep.
const POINTS_MAX: usize = 10_000;
/// Of more runs than these the points of the sweep keep no time series.
const SERIES_MAX: usize = 50;

/// Other rules to compare with.
#[derive(Debug, Default)]
pub struct Peers(Vec<(String, Peer)>);

impl Peers {
    /// The rules that `--against` names.
    ///
    /// # Errors
    /// A rule that is not known.
    pub fn parse(names: &[String]) -> anyhow::Result<Peers> {
        let mut peers = Peers::default();
        for name in names {
            match name.as_str() {
                "all" => peers.0.extend(all()),
                _ => peers.0.push((name.clone(), peer(name)?)),
            }
        }
        Ok(peers)
    }
}

/// The time-out of `idle-timeout`, where none is given: that of the Kubernetes cluster autoscaler.
const IDLE_TIMEOUT: u32 = 600;

fn all() -> Vec<(String, Peer)> {
    [
        ("original-ehos", Peer::OriginalEhos),
        ("queue-cores", Peer::QueueCores),
        ("utilization-feedback", Peer::UtilizationFeedback),
        ("idle-timeout", Peer::IdleTimeout(IDLE_TIMEOUT)),
    ]
    .map(|(name, peer)| (name.to_owned(), peer))
    .into()
}

fn peer(name: &str) -> anyhow::Result<Peer> {
    let (word, number) = match name.split_once(':') {
        Some((word, number)) => (word, Some(number)),
        None => (name, None),
    };
    let unknown = || {
        anyhow!(
            "--against {name}: not known; write original-ehos, queue-cores, utilization-feedback, idle-timeout[:TIME], \
             fixed:NODES or all"
        )
    };
    Ok(match (word, number) {
        ("idle-timeout", Some(time)) => {
            let time: Duration = duration(time).map_err(|_| unknown())?;
            Peer::IdleTimeout(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
        }
        ("fixed", Some(nodes)) => Peer::Fixed(nodes.parse().map_err(|_| unknown())?),
        (_, Some(_)) => return Err(unknown()),
        (word, None) => {
            let peers = all().into_iter();
            let mut found = peers.filter(|(name, _)| name == word);
            found.next().ok_or_else(unknown)?.1
        }
    })
}

/// The points of a sweep: each value of each `--sweep KEY=V1,V2,…` with each of the others.
///
/// # Errors
/// A sweep that is not understood, or has too many points.
pub fn grid(sweeps: &[String]) -> anyhow::Result<Vec<Vec<Change>>> {
    let mut points: Vec<Vec<Change>> = vec![Vec::new()];
    for sweep in sweeps {
        let parts = sweep.split_once('=');
        let (key, values) = parts
            .filter(|(key, values)| !key.trim().is_empty() && !values.trim().is_empty())
            .ok_or_else(|| {
                anyhow!("--sweep {sweep}: not understood; write it as KEY=V1,V2, such as daemon.idle_timeout=1m,5m")
            })?;
        let values = split(values);
        if points.len().saturating_mul(values.len()) > POINTS_MAX {
            return Err(anyhow!(
                "--sweep: {} points are more than {POINTS_MAX}; give fewer values",
                points.len().saturating_mul(values.len())
            ));
        }
        let with = |point: &Vec<Change>| -> Vec<Vec<Change>> {
            let with = |value: &String| {
                let mut point = point.clone();
                point.push((key.trim().to_owned(), value.clone()));
                point
            };
            values.iter().map(with).collect()
        };
        points = points.iter().flat_map(with).collect();
    }
    points.retain(|point| !point.is_empty());
    Ok(points)
}

/// Values at commas that are in no brackets: `[a, b],[c]` are two.
fn split(values: &str) -> Vec<String> {
    let mut depth = 0_i32;
    let mut all = vec![String::new()];
    for letter in values.chars() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(value) = all.last_mut() {
            value.push(letter);
        }
    }
    all.iter().map(|value| value.trim().to_owned()).collect()
}

/// What all runs share.
pub struct Runner<'a> {
    /// The jobs.
    pub workload: &'a Workload,
    /// The clouds.
    pub clouds: &'a [SiteCloud],
    /// The behaviour of the services.
    pub model: &'a Model,
    /// The seed of boot times and failures.
    pub seed: u64,
}

/// A run to do.
enum Task<'a> {
    Ehos(&'a [Change]),
    Peer(&'a str, Peer),
}

/// The configuration with these changes.
type Configure<'a> = dyn Fn(&[Change]) -> anyhow::Result<Config> + Sync + 'a;

impl Runner<'_> {
    /// Runs the configuration, the sweep and the other rules, in that order.
    ///
    /// # Errors
    /// What is wrong with a point of the sweep: runs that have not begun by then are left out.
    pub fn all(
        &self,
        config: &Config,
        sweep: &[Vec<Change>],
        configure: &Configure<'_>,
        peers: &Peers,
    ) -> anyhow::Result<Vec<Run>> {
        let mut tasks = vec![Task::Ehos(&[])];
        tasks.extend(sweep.iter().map(|point| Task::Ehos(point)));
        tasks.extend(peers.0.iter().map(|(name, peer)| Task::Peer(name, *peer)));
        let progress = Progress::new();
        let line = progress.line("simulate");
        line.doing(&format!("{} runs", tasks.len()));
        let run = |task: &Task<'_>, told: &dyn Fn(f64)| {
            let mut run = self.one(task, config, configure, told)?;
            if tasks.len() > SERIES_MAX && matches!(task, Task::Ehos([_, ..])) {
                run.figures.series = Series::default();
            }
            Ok(run)
        };
        let all: Vec<&Task<'_>> = tasks.iter().collect();
        let mut runs = on_all_cores(&all, &line, run)?;
        let lacks = |run: &Run| run.figures.series == Series::default();
        mark_frontier(&mut runs);
        let again = charted(&runs).into_iter();
        let again: Vec<usize> = again
            .filter(|place| runs.get(*place).is_some_and(lacks))
            .collect();
        if !again.is_empty() {
            line.doing(&format!("time series of {} runs", again.len()));
            let wanted: Vec<&Task<'_>> =
                again.iter().filter_map(|place| tasks.get(*place)).collect();
            let run = |task: &Task<'_>, told: &dyn Fn(f64)| self.one(task, config, configure, told);
            let repeated = on_all_cores(&wanted, &line, run)?;
            for (place, run) in again.into_iter().zip(repeated) {
                if let Some(first) = runs.get_mut(place) {
                    first.figures.series = run.figures.series;
                }
            }
        }
        line.done("done");
        Ok(runs)
    }

    fn one(
        &self,
        task: &Task<'_>,
        config: &Config,
        configure: &Configure<'_>,
        told: &dyn Fn(f64),
    ) -> anyhow::Result<Run> {
        let (name, mut rule): (&str, Box<dyn Rule>) = match task {
            Task::Ehos(change) => {
                let changed;
                let config = match change.is_empty() {
                    true => config,
                    false => {
                        changed = configure(change)?;
                        &changed
                    }
                };
                let start = self.workload.start.unwrap_or(Timestamp::UNIX_EPOCH);
                let policy = policy(config);
                (
                    "ehos",
                    Box::new(Ehos::new(policy, config.event_interval, start)),
                )
            }
            Task::Peer(name, peer) => {
                let nodes_max = config.policy.nodes_max;
                (name, Box::new(PeerRule::new(*peer, nodes_max)))
            }
        };
        let mut site = Site::new(
            self.workload,
            self.clouds.to_vec(),
            self.model.clone(),
            self.seed,
        );
        run::run(&mut site, &mut *rule, &mut |share| {
            told(share);
            true
        });
        let figures = Figures::of(name, self.workload, self.clouds, &site.record);
        Ok(match task {
            Task::Ehos(change) => Run::of_ehos(change.iter().cloned().collect(), figures),
            Task::Peer(..) => Run::of_peer(figures),
        })
    }
}

/// The policy of a configuration; that of a simulated site has its clouds.
fn policy(config: &Config) -> Policy {
    let mut policy = config.policy.clone();
    if let Some(scenario) = &config.simulation {
        policy.clouds = scenario.cloud_policies();
    }
    policy
}

/// The results of all tasks in their order, or the first error.
fn on_all_cores<'t>(
    tasks: &[&Task<'t>],
    line: &Line,
    run: impl Fn(&Task<'t>, &dyn Fn(f64)) -> anyhow::Result<Run> + Sync,
) -> anyhow::Result<Vec<Run>> {
    let done = Mutex::new(BTreeMap::new());
    let (next, ended, failed) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(number) else {
                return;
            };
            let told = |share: f64| {
                let ended = ended.load(Ordering::Relaxed);
                tell(line, ended, tasks.len(), share);
            };
            let result = run(task, &told);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            ended.fetch_add(1, Ordering::Relaxed);
            told(0.0);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.insert(number, result);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(tasks.len()) {
            scope.spawn(work);
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}

fn tell(line: &Line, ended: usize, all: usize, share: f64) {
    line.detail(&format!(
        "{ended} done, {:.0} % of one of {all}",
        share * 100.0
    ));
}
