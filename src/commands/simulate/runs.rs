//! The runs of a simulation: the configuration, each point of a sweep, and other rules, on all cores of this machine.
//!
//! Owns: the memory of a large sweep. Only some of its runs keep their time series; those that the page shows run again, and
//! give the same figures.

use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;

use config::Config;
use keys::duration;
use replay::comparison::{Interrupted, Run, charted, mark_frontier};
use replay::figures::{Figures, Series};
use replay::model::Model;
use replay::rule::Rule;
use replay::rule::ehos::Ehos;
use replay::rule::peers::{Peer, PeerRule};
use replay::run;
use replay::site::Site;
use replay::workload::Workload;
use report::text::count;
use scaling::policy::Policy;
use scaling::sorting;
use system::interrupt::Interrupt;
use system::progress::Progress;

use super::cores::{Tally, on_all_cores};
use super::site::Sizes;

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
        let key = key.trim();
        if points.iter().flatten().any(|(there, _)| there == key) {
            return Err(anyhow!(
                "--sweep {sweep}: {key} is given twice; name all of its values in one --sweep"
            ));
        }
        if points.len().saturating_mul(values.len()) > POINTS_MAX {
            return Err(anyhow!(
                "--sweep: {} points are more than {POINTS_MAX}; give fewer values",
                points.len().saturating_mul(values.len())
            ));
        }
        let with = |point: &Vec<Change>| -> Vec<Vec<Change>> {
            let with = |value: &String| {
                let mut point = point.clone();
                point.push((key.to_owned(), value.clone()));
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
    /// Sizes of the flavors that the configurations name.
    pub sizes: &'a Sizes,
    /// The behaviour of the services.
    pub model: &'a Model,
    /// The seed of boot times and failures.
    pub seed: u64,
    /// The result shows time series.
    pub has_series: bool,
}

/// A run to do.
enum Task<'a> {
    Ehos(&'a [Change]),
    Peer(&'a str, Peer),
}

impl Task<'_> {
    /// The configuration as it is.
    fn is_current(&self) -> bool {
        matches!(self, Task::Ehos([]))
    }
}

/// The configuration with these changes.
type Configure<'a> = dyn Fn(&[Change]) -> anyhow::Result<Config> + Sync + 'a;

/// The runs that were done.
pub struct Runs {
    /// The configuration, the sweep and the other rules, in that order.
    pub runs: Vec<Run>,
    /// An interrupt left out some of them, or their time series.
    pub interrupted: Option<Interrupted>,
}

impl Runner<'_> {
    /// Runs the configuration, the other rules and the sweep. An interrupt leaves out what has not ended.
    ///
    /// # Errors
    /// What is wrong with a point of the sweep: runs that have not begun by then are left out.
    pub fn all(
        &self,
        config: &Config,
        sweep: &[Vec<Change>],
        configure: &Configure<'_>,
        peers: &Peers,
    ) -> anyhow::Result<Runs> {
        let mut tasks = vec![Task::Ehos(&[])];
        tasks.extend(peers.0.iter().map(|(name, peer)| Task::Peer(name, *peer)));
        tasks.extend(sweep.iter().map(|point| Task::Ehos(point)));
        let interrupt = Interrupt::begin();
        let progress = Progress::new();
        let line = progress.line("simulate");
        line.doing(&count(tasks.len() as u64, "run"));
        let tally = Tally::new(tasks.len(), &line, &interrupt);
        let run = |task: &Task<'_>| {
            let run = self.one(task, config, configure, &tally)?;
            Ok(run.map(|mut run| {
                if tasks.len() > SERIES_MAX && matches!(task, Task::Ehos([_, ..])) {
                    run.figures.series = Series::default();
                }
                run
            }))
        };
        let done = on_all_cores(&tasks, &tally, run)?;
        let finished = done.len();
        // Other rules come last, and all else stays in its order.
        let mut done: Vec<(usize, Run)> = done.into_iter().collect();
        sorting::by_key(&mut done, |(_, run)| !run.is_of_ehos());
        let (numbers, mut runs): (Vec<usize>, Vec<Run>) = done.into_iter().unzip();
        mark_frontier(&mut runs);
        let lacks = |run: &Run| run.figures.series == Series::default();
        let again: Vec<usize> = charted(&runs)
            .into_iter()
            .filter(|place| self.has_series && runs.get(*place).is_some_and(lacks))
            .collect();
        if !again.is_empty() && !interrupt.has_come() {
            line.doing(&format!(
                "time series of {}",
                count(again.len() as u64, "run")
            ));
            let wanted = again.iter().filter_map(|place| numbers.get(*place));
            let wanted: Vec<&Task<'_>> = wanted.filter_map(|number| tasks.get(*number)).collect();
            let tally = Tally::new(wanted.len(), &line, &interrupt);
            let run = |task: &&Task<'_>| self.one(task, config, configure, &tally);
            for (number, repeated) in on_all_cores(&wanted, &tally, run)? {
                let first = again.get(number).and_then(|place| runs.get_mut(*place));
                if let Some(first) = first {
                    first.figures.series = repeated.figures.series;
                }
            }
        }
        let interrupted = interrupt.has_come().then_some(Interrupted {
            finished_runs: finished as u64,
            planned_runs: tasks.len() as u64,
        });
        match &interrupted {
            Some(interrupted) => line.done(&interrupted.to_string()),
            None => line.done("done"),
        }
        Ok(Runs { runs, interrupted })
    }

    /// The run of a task; nothing if it was abandoned.
    fn one(
        &self,
        task: &Task<'_>,
        config: &Config,
        configure: &Configure<'_>,
        tally: &Tally<'_>,
    ) -> anyhow::Result<Option<Run>> {
        let changed;
        let config = match task {
            Task::Ehos(change @ [_, ..]) => {
                changed = configure(change)?;
                &changed
            }
            _ => config,
        };
        let clouds = self.sizes.clouds(config)?;
        let (name, mut rule): (&str, Box<dyn Rule>) = match task {
            Task::Ehos(_) => {
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
        let mut site = Site::new(self.workload, clouds.clone(), self.model.clone(), self.seed);
        let has_ended = run::run(&mut site, &mut *rule, &mut |share| {
            tally.tell(share);
            !tally.abandons(task.is_current())
        });
        if !has_ended {
            return Ok(None);
        }
        let figures = Figures::of(name, self.workload, &clouds, &site.record);
        Ok(Some(match task {
            Task::Ehos(change) => Run::of_ehos(change.iter().cloned().collect(), figures),
            Task::Peer(..) => Run::of_peer(figures),
        }))
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
