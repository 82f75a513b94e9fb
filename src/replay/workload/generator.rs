//! Makes workloads from a text such as `poisson:rate=30/h,days=7,runs=lognormal(20m,2.0),cpus=1|2|8`.
//!
//! | generator | jobs | keys |
//! | --- | --- | --- |
//! | `poisson` | independent of each other, at the same rate all the time | `rate` (such as `30/h`) |
//! | `bursts` | many at once | `every` (mean time between bursts), `jobs` (of a burst, a number or distribution), `over` (time over which a burst spreads, default 1m) |
//! | `week` | more by day than by night and on weekends, from a Monday, 00:00 | `rate` (mean), `peak` (hour, default 14), `swing` (0 to 1, default 0.8), `weekend` (rate there against other days, default 0.2) |
//!
//! | key of all | meaning | default |
//! | --- | --- | --- |
//! | `days` | length of the workload | 7 |
//! | `runs` | distribution of run times, such as `pareto(1m,1.2)` | `lognormal(20m,1.5)` |
//! | `runs_max` | longest run time: longer ones are cut | 7d |
//! | `cpus`, `gpus` | request, a choice such as `1\|2\|8` or `1:8\|8:1` | 1, 0 |
//! | `memory_per_cpu_mb`, `disk_mb` | request, a choice, memory for each requested core | 1024, 1024 |
//! | `owners` | number of users | 1 |
//!
//! The same text and seed make the same jobs.

use scaling::observation::Resources;

use super::distribution::{self, Choice, Distribution};
use super::{Builder, JOBS_MAX, JobClass, RUNS_MAX, Seconds, WorkloadError};
use crate::random::Random;

/// The generators.
pub const KINDS: [&str; 3] = ["poisson", "bursts", "week"];

/// For messages.
const DISTRIBUTIONS: &str = "20, uniform(1,60), exponential(20), lognormal(20,2.0) or pareto(1,1.2), durations with s, m, h, d";

const DAYS_MAX: f64 = 3660.0;
const DAY: f64 = 86_400.0;
const HOUR: f64 = 3600.0;

/// Whether this is the text of a generator, and not the name of a file.
pub fn is_generator(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
    text.split_once(':')
        .is_some_and(|(name, keys)| is_name(name) && (keys.contains('=') || KINDS.contains(&name)))
}

/// The times of submissions.
enum Arrivals {
    Poisson {
        rate: f64,
    },
    Bursts {
        every: f64,
        jobs: Distribution,
        over: f64,
    },
    Week(Week),
}

struct Week {
    rate: f64,
    peak: f64,
    swing: f64,
    weekend: f64,
}

/// The properties of each job.
struct Jobs {
    runs: Distribution,
    runs_max: f64,
    cpus: Choice,
    memory_per_cpu_mb: Choice,
    disk_mb: Choice,
    gpus: Choice,
    owners: u64,
}

/// Adds the jobs of a generator.
///
/// # Errors
/// Unknown generators and keys, wrong values, and more jobs than [`JOBS_MAX`].
pub(super) fn generate(text: &str, seed: u64, builder: &mut Builder) -> Result<(), WorkloadError> {
    let (kind, keys) = text.split_once(':').unwrap_or((text, ""));
    let mut settings = Settings::parse(text, keys)?;
    let end = settings.number("days", 7.0, 0.0..=DAYS_MAX)? * DAY;
    let jobs = Jobs::parse(&mut settings)?;
    let arrivals = Arrivals::parse(kind, &mut settings)?;
    settings.check_rest(kind)?;
    let expected = arrivals.expected(end);
    if expected > JOBS_MAX as f64 {
        let problem = format!("about {expected:.0} jobs, more than {JOBS_MAX}");
        return Err(settings.wrong(problem, "lower the rate or `days`"));
    }
    let mut random = Random::new(seed);
    arrivals.submit(end, &mut random, |submitted, random| {
        builder.notes.records += 1;
        jobs.add(submitted, random, builder);
        let is_full = builder.len() >= JOBS_MAX;
        if is_full {
            let what = format!("stopped at {JOBS_MAX} jobs");
            builder.notes.count(&what, || text.to_owned());
        }
        !is_full
    });
    Ok(())
}

impl Jobs {
    fn parse(settings: &mut Settings) -> Result<Jobs, WorkloadError> {
        let runs = Distribution::Lognormal(1200.0, 1.5);
        let cpus = settings.choice("cpus", 1)?;
        if cpus.values().any(|cpus| cpus == 0) {
            return Err(settings.wrong("`cpus` is 0".to_owned(), "request at least 1"));
        }
        let longest = settings.duration("runs_max", 7.0 * DAY)?;
        Ok(Jobs {
            runs: settings.distribution("runs", Some(runs), distribution::duration)?,
            runs_max: longest.clamp(1.0, RUNS_MAX as f64),
            cpus,
            memory_per_cpu_mb: settings.choice("memory_per_cpu_mb", 1024)?,
            disk_mb: settings.choice("disk_mb", 1024)?,
            gpus: settings.choice("gpus", 0)?,
            owners: settings.number("owners", 1.0, 1.0..=10_000.0)? as u64,
        })
    }

    fn add(&self, submitted: f64, random: &mut Random, builder: &mut Builder) {
        let runs = self.runs.draw(random).clamp(1.0, self.runs_max).round();
        let cpus = self.cpus.draw(random);
        let request = Resources {
            cpus,
            memory_mb: self.memory_per_cpu_mb.draw(random).saturating_mul(cpus),
            disk_kb: self.disk_mb.draw(random).saturating_mul(1024),
            gpus: self.gpus.draw(random),
        };
        let owner = match self.owners {
            1 => 1,
            owners => random.draw() % owners + 1,
        };
        let class = JobClass {
            owner: format!("user{owner}"),
            accounting_group: None,
            request: request.rounded(),
        };
        // Below 366 days, as `runs_max` says.
        builder.add(submitted as i64, runs as Seconds, None, &class);
    }
}

impl Arrivals {
    fn parse(kind: &str, settings: &mut Settings) -> Result<Arrivals, WorkloadError> {
        Ok(match kind {
            "poisson" => Arrivals::Poisson {
                rate: settings.rate()?,
            },
            "bursts" => Arrivals::Bursts {
                every: settings.duration("every", 0.0)?,
                jobs: settings.distribution("jobs", None, distribution::positive)?,
                over: settings.duration("over", 60.0)?,
            },
            "week" => Arrivals::Week(Week {
                rate: settings.rate()?,
                peak: settings.number("peak", 14.0, 0.0..=24.0)?,
                swing: settings.number("swing", 0.8, 0.0..=1.0)?,
                weekend: settings.number("weekend", 0.2, 0.0..=10.0)?,
            }),
            _ => {
                let problem = format!("unknown generator `{kind}`");
                return Err(settings.wrong(problem, &format!("use one of {}", KINDS.join(", "))));
            }
        })
    }

    /// The jobs to expect, as far as they can be told: a burst counts once.
    fn expected(&self, end: f64) -> f64 {
        match self {
            Arrivals::Poisson { rate } | Arrivals::Week(Week { rate, .. }) => rate * end,
            Arrivals::Bursts { every, jobs, .. } => {
                let each = match *jobs {
                    Distribution::Fixed(jobs) | Distribution::Exponential(jobs) => jobs,
                    Distribution::Uniform(low, high) => f64::midpoint(low, high),
                    Distribution::Lognormal(low, _) | Distribution::Pareto(low, _) => low,
                };
                each.max(1.0) * end / every
            }
        }
    }

    /// Submits jobs, until `submit` says that there are enough.
    fn submit(
        &self,
        end: f64,
        random: &mut Random,
        mut submit: impl FnMut(f64, &mut Random) -> bool,
    ) {
        let mut now = 0.0;
        loop {
            let mean = match self {
                Arrivals::Poisson { rate } => 1.0 / rate,
                Arrivals::Bursts { every, .. } => *every,
                Arrivals::Week(week) => 1.0 / week.highest_rate(),
            };
            now += Distribution::Exponential(mean).draw(random);
            if now >= end {
                return;
            }
            let mut size = 1.0;
            match self {
                Arrivals::Poisson { .. } => {}
                Arrivals::Bursts { jobs, .. } => size = jobs.draw(random).round(),
                // Thinning: Lewis and Shedler, "Simulation of nonhomogeneous Poisson processes" (1979).
                Arrivals::Week(week) => {
                    if random.unit() * week.highest_rate() >= week.rate_at(now) {
                        continue;
                    }
                }
            }
            while size >= 1.0 {
                size -= 1.0;
                let at = match self {
                    Arrivals::Bursts { over, .. } => now + over * random.unit(),
                    _ => now,
                };
                if !submit(at, random) {
                    return;
                }
            }
        }
    }
}

impl Week {
    /// The rate of a working day without its swing.
    fn level(&self) -> f64 {
        self.rate * 7.0 / (5.0 + 2.0 * self.weekend)
    }

    fn highest_rate(&self) -> f64 {
        self.level() * (1.0 + self.swing) * self.weekend.max(1.0)
    }

    fn rate_at(&self, second: f64) -> f64 {
        let is_weekend = (second / DAY) % 7.0 >= 5.0;
        let hour = second / HOUR - self.peak;
        let swing = self.swing * (hour / 24.0 * std::f64::consts::TAU).cos();
        let day = if is_weekend { self.weekend } else { 1.0 };
        self.level() * day * (1.0 + swing)
    }
}

/// The keys of a generator that are not read yet.
struct Settings<'a> {
    text: &'a str,
    left: Vec<(&'a str, &'a str)>,
    known: Vec<&'static str>,
}

impl<'a> Settings<'a> {
    fn parse(text: &'a str, keys: &'a str) -> Result<Settings<'a>, WorkloadError> {
        let mut settings = Settings {
            text,
            left: Vec::new(),
            known: Vec::new(),
        };
        for part in split(keys) {
            let Some((key, value)) = part.split_once('=') else {
                let problem = format!("`{part}` has no value");
                return Err(settings.wrong(problem, "write KEY=VALUE, separated by commas"));
            };
            let key = key.trim();
            if settings.left.iter().any(|(other, _)| *other == key) {
                return Err(settings.wrong(format!("`{key}` is there twice"), "delete one of them"));
            }
            settings.left.push((key, value.trim()));
        }
        Ok(settings)
    }

    fn wrong(&self, problem: String, remedy: &str) -> WorkloadError {
        WorkloadError::Generator {
            place: self.text.to_owned(),
            problem,
            remedy: remedy.to_owned(),
        }
    }

    /// The value of a key, read by `parse`.
    fn take<T>(
        &mut self,
        key: &'static str,
        default: Option<T>,
        parse: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<T, WorkloadError> {
        self.known.push(key);
        let Some(place) = self.left.iter().position(|(name, _)| *name == key) else {
            let missing = || self.wrong(format!("no `{key}`"), &format!("add {key}={expected}"));
            return default.ok_or_else(missing);
        };
        let (_, value) = self.left.swap_remove(place);
        parse(value).ok_or_else(|| {
            let problem = format!("`{key}={value}` is not understood");
            self.wrong(problem, &format!("write {key}={expected}"))
        })
    }

    fn number(
        &mut self,
        key: &'static str,
        default: f64,
        range: std::ops::RangeInclusive<f64>,
    ) -> Result<f64, WorkloadError> {
        let expected = format!("N, a number from {} to {}", range.start(), range.end());
        let parse =
            |text: &str| distribution::positive(text).filter(|number| range.contains(number));
        self.take(key, Some(default), parse, &expected)
    }

    fn rate(&mut self) -> Result<f64, WorkloadError> {
        let parse = |text: &str| distribution::rate(text).filter(|rate| *rate > 0.0);
        self.take("rate", None, parse, "30/h (units: s, min, h, d)")
    }

    /// A duration; a default of 0: required.
    fn duration(&mut self, key: &'static str, default: f64) -> Result<f64, WorkloadError> {
        let parse = |text: &str| distribution::duration(text).filter(|value| *value > 0.0);
        let default = (default > 0.0).then_some(default);
        self.take(key, default, parse, "20m (units: s, m, h, d)")
    }

    fn distribution(
        &mut self,
        key: &'static str,
        default: Option<Distribution>,
        unit: impl Fn(&str) -> Option<f64> + Copy,
    ) -> Result<Distribution, WorkloadError> {
        let parse = |text: &str| Distribution::parse(text, unit);
        let expected = format!("DISTRIBUTION, such as {DISTRIBUTIONS}");
        self.take(key, default, parse, &expected)
    }

    fn choice(&mut self, key: &'static str, default: u64) -> Result<Choice, WorkloadError> {
        let default = Choice::parse(&default.to_string());
        self.take(
            key,
            default,
            Choice::parse,
            "1, 1|2|8 or, with weights, 1:8|2:1",
        )
    }

    /// Names a key that the generator does not have.
    fn check_rest(&self, kind: &str) -> Result<(), WorkloadError> {
        let Some((key, _)) = self.left.first() else {
            return Ok(());
        };
        let remedy = format!("the keys of {kind} are {}", self.known.join(", "));
        Err(self.wrong(format!("unknown key `{key}`"), &remedy))
    }
}

/// The parts between commas that stand in no bracket.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i64;
    let is_separator = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0
    };
    let parts = text.split(is_separator).map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{ReadOptions, Workload, read};

    fn made(text: &str, seed: u64) -> Result<Workload, String> {
        let options = ReadOptions {
            seed,
            ..ReadOptions::default()
        };
        read(&[text.into()], &options).map_err(|error| error.to_string())
    }

    #[test]
    fn the_same_seed_makes_the_same_jobs() {
        for text in [
            "poisson:rate=30/h,days=7,runs=lognormal(20m,2.0),cpus=1|2|8",
            "bursts:every=6h,jobs=lognormal(200,1.5),over=5m,owners=4",
            "week:rate=100/h,days=14,runs=pareto(1m,1.2),gpus=0:9|1:1",
        ] {
            let workload = made(text, 1).unwrap();
            assert_eq!(Ok(&workload), made(text, 1).as_ref());
            assert_ne!(Ok(&workload), made(text, 2).as_ref());
            assert_eq!(workload.notes.records, workload.jobs.len() as u64);
            assert_eq!(workload.start, None);
            assert!(workload.jobs.is_sorted_by_key(|job| job.submitted));
            assert!(workload.jobs.iter().all(|job| job.runs >= 1));
        }
    }

    #[test]
    fn the_rates_are_those_that_were_asked_for() {
        let near = |jobs: usize, expected: usize| jobs.abs_diff(expected) < expected / 20;
        assert!(near(
            made("poisson:rate=100/h,days=28", 3).unwrap().jobs.len(),
            67_200
        ));
        assert!(near(
            made("bursts:every=1h,jobs=100,days=56", 3)
                .unwrap()
                .jobs
                .len(),
            134_400
        ));
        let week = made("week:rate=100/h,days=28,peak=12,swing=1,weekend=0.5", 3).unwrap();
        assert!(near(week.jobs.len(), 67_200), "{}", week.jobs.len());
        let weekend = week
            .jobs
            .iter()
            .filter(|job| job.submitted / 86_400 % 7 >= 5);
        assert!(near(weekend.count(), 67_200 / 6));
        // With a full swing the half of a day around its peak has (1/2 + 1/π) of the jobs.
        let noon = week
            .jobs
            .iter()
            .filter(|job| (6..18).contains(&(job.submitted / 3600 % 24)));
        assert!(near(noon.count(), 67_200 * 818 / 1000));
    }

    #[test]
    fn requests_follow_the_keys() {
        let text = "poisson:rate=60/h,days=1,cpus=4,memory_per_cpu_mb=2000,disk_mb=10,gpus=1,runs=pareto(1h,0.5),runs_max=2h";
        let workload = made(text, 1).unwrap();
        let expected = Resources {
            cpus: 4,
            memory_mb: 8064,
            disk_kb: 10_240,
            gpus: 1,
        };
        assert_eq!(workload.classes.len(), 1);
        assert_eq!(workload.classes[0].request, expected);
        assert!(
            workload
                .jobs
                .iter()
                .all(|job| (3600..=7200).contains(&job.runs))
        );
    }

    #[test]
    fn wrong_texts_are_told_with_a_remedy() {
        for (text, expected) in [
            (
                "poison:rate=1/h",
                "unknown generator `poison`; use one of poisson, bursts, week",
            ),
            ("poisson:", "no `rate`; add rate=30/h (units: s, min, h, d)"),
            (
                "poisson:rate=30",
                "`rate=30` is not understood; write rate=30/h (units: s, min, h, d)",
            ),
            ("poisson:rate=1/h,cpus=0", "`cpus` is 0; request at least 1"),
            (
                "poisson:rate=1/h,cpus=x",
                "`cpus=x` is not understood; write cpus=1, 1|2|8 or, with weights, 1:8|2:1",
            ),
            (
                "poisson:rate=1/h,rate=2/h",
                "`rate` is there twice; delete one of them",
            ),
            (
                "poisson:rate=1/h,week",
                "`week` has no value; write KEY=VALUE, separated by commas",
            ),
            (
                "poisson:rate=1/h,peak=3",
                "unknown key `peak`; the keys of poisson are days, cpus, runs_max, runs, memory_per_cpu_mb, disk_mb, gpus, owners, rate",
            ),
            (
                "bursts:every=1h,jobs=normal(1,2)",
                "`jobs=normal(1,2)` is not understood; write jobs=DISTRIBUTION, such as 20, uniform(1,60), exponential(20), lognormal(20,2.0) or pareto(1,1.2), durations with s, m, h, d",
            ),
            (
                "week:rate=1/h,swing=2",
                "`swing=2` is not understood; write swing=N, a number from 0 to 1",
            ),
            (
                "poisson:rate=1e9/s",
                "about 604800000000000 jobs, more than 20000000; lower the rate or `days`",
            ),
        ] {
            assert_eq!(
                made(text, 1),
                Err(format!("{text}: cannot be used: {expected}"))
            );
        }
        // Nothing is submitted within the time.
        assert!(
            made("poisson:rate=1/d,days=0", 1)
                .unwrap_err()
                .contains("no jobs: 0 records;")
        );
    }
}
