//! The site of a simulation: clouds with the sizes of their flavors, and the jobs of its schedds.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::Timestamp;

use crate::cli::Simulate;
use crate::commands::state_directory;
use crate::commands::tick::backends;
use condor::history::write_history;
use condor::inspect;
use condor::{MatchFile, Tools};
use config::Config;
use replay::site::{SiteCloud, SiteFlavor};
use replay::workload::{Format, ReadOptions, Workload, attribute_names, read_from};
use scaling::observation::Flavor;
use scaling::policy::CloudPolicy;
use scaling::signing::SigningKeys;
use simulation::{Scenario, ScenarioCloud, ScenarioFlavor};
use system::deadline::Deadline;
use system::environment::Environment;
use tick::cloud::LeftoverQuery;
use userdata::node::NodeUserData;

/// A history of months is read in minutes.
const HISTORY_LIMIT: Duration = Duration::from_secs(600);
/// The largest sizes and the highest price of a flavor.
const CORES_MAX: u64 = 1 << 20;
const RAM_MB_MAX: u64 = 1 << 30;
const DISK_GB_MAX: u64 = 1 << 20;
const PRICE_MAX: f64 = 1e9;
/// The time for all clouds together.
const CLOUDS_LIMIT: Duration = Duration::from_secs(60);

/// The jobs that left the queues of the configuration's schedds in the last days.
///
/// # Errors
/// condor_history, or a job history without any job.
pub fn jobs(args: &Simulate, config: &Config) -> anyhow::Result<(String, Workload)> {
    let tools = Tools::new(config.condor.bin.clone(), HISTORY_LIMIT);
    let tools = tools.of_pool(config.condor.pool.as_deref());
    let attributes = attribute_names().join(",");
    let seconds = i64::try_from(args.days.saturating_mul(86_400)).unwrap_or(i64::MAX);
    let now = Timestamp::now().as_second();
    let since = now.saturating_sub(seconds);
    let mut file = tempfile::tempfile().context("no temporary file for the job history")?;
    let mut sink = BufWriter::new(&mut file);
    let schedds: Vec<Option<&str>> = match config.condor.schedds.as_slice() {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let deadline = Deadline::within(HISTORY_LIMIT);
    let mut gaps = Vec::new();
    for schedd in schedds {
        let extent = write_history(&tools, schedd, &attributes, since, deadline, &mut sink)?;
        gaps.extend(extent.gap(since, now).map(|gap| (schedd, gap)));
    }
    sink.flush()?;
    drop(sink);
    file.rewind()?;
    let options = ReadOptions {
        format: Some(Format::CondorJson),
        split: false,
        seed: args.seed,
    };
    let mut workload = read_from("condor_history", BufReader::new(file), &options)?;
    for (schedd, gap) in gaps {
        let place = schedd.unwrap_or("this machine");
        let notes = &mut workload.notes;
        notes.count(gap.problem(), || format!("{place}: {gap}"));
    }
    let days = if args.days == 1 { "day" } else { "days" };
    Ok((format!("condor_history of {} {days}", args.days), workload))
}

/// A setting of the negotiator in whole seconds; `None` where it is not defined, or no such number.
///
/// # Errors
/// condor_config_val failed.
pub fn negotiator_setting(config: &Config, name: &str) -> anyhow::Result<Option<u32>> {
    if config.condor.pool.is_some() {
        log::warn!(
            "condor.pool is set: {name} of that pool is not known, and the default of --help counts"
        );
        return Ok(None);
    }
    let limit = config.timeouts.command;
    let tools = Tools::new(config.condor.bin.clone(), limit);
    let value = inspect::setting(&tools, "NEGOTIATOR", name, Deadline::within(limit))?;
    Ok(value.and_then(|value| value.parse().ok()))
}

/// Sizes of flavors, and quotas, besides those of a `simulation:` section.
#[derive(Default)]
pub struct Sizes {
    given: BTreeMap<String, SiteFlavor>,
    observed: BTreeMap<String, SiteCloud>,
}

impl Sizes {
    /// Those of `--flavor`, and with `--site` those of the clouds themselves.
    ///
    /// # Errors
    /// A size that is not understood, or a cloud that does not answer.
    pub fn new(
        args: &Simulate,
        config: &Config,
        environment: &Environment,
    ) -> anyhow::Result<Sizes> {
        Ok(Sizes {
            given: sizes(&args.flavors)?,
            observed: match args.site {
                true => observed(args, config, environment)?,
                false => BTreeMap::new(),
            },
        })
    }

    /// The clouds of a configuration, with quotas and flavors.
    ///
    /// # Errors
    /// A flavor whose size nothing tells.
    pub fn clouds(&self, config: &Config) -> anyhow::Result<Vec<SiteCloud>> {
        match &config.simulation {
            Some(scenario) => simulated(scenario),
            None => {
                let clouds = config.policy.clouds.iter();
                clouds.map(|policy| self.cloud(policy)).collect()
            }
        }
    }

    fn cloud(&self, policy: &CloudPolicy) -> anyhow::Result<SiteCloud> {
        let observed = self.observed.get(&policy.name);
        let known = |name: &String| {
            let mut flavors = observed?.flavors.iter();
            flavors.find(|known| known.name == *name)
        };
        let flavor = |name: &String| {
            let given = self.given.get(name);
            let size = given.or_else(|| known(name)).ok_or_else(|| {
                anyhow!(
                    "cloud {}: the size of flavor {name} is not known; say it with --flavor {name}=CORES,GB, or run \
                     this with --site on the central manager",
                    policy.name
                )
            })?;
            let price = policy.prices.get(name).copied();
            let price = price.or_else(|| given.and_then(|size| size.price));
            let size = size.flavor.clone();
            site_flavor(name, size, price, policy.billing_period)
        };
        Ok(SiteCloud {
            name: policy.name.clone(),
            flavors: policy
                .flavors
                .iter()
                .map(flavor)
                .collect::<anyhow::Result<_>>()?,
            ..observed.cloned().unwrap_or_default()
        })
    }
}

/// The clouds of a `simulation:` section.
fn simulated(scenario: &Scenario) -> anyhow::Result<Vec<SiteCloud>> {
    let cloud = |(name, cloud): (&String, &ScenarioCloud)| {
        let period = cloud.billing_period_seconds.map(Duration::from_secs);
        let flavor = |(name, flavor): (&String, &ScenarioFlavor)| {
            let size = Flavor {
                id: name.clone(),
                vcpus: flavor.vcpus,
                ram_mb: flavor.ram_mb,
                disk_gb: flavor.disk_gb,
                gpus: flavor.gpus,
            };
            site_flavor(name, size, flavor.price, period)
        };
        Ok(SiteCloud {
            name: name.clone(),
            instances: cloud.instances,
            cores: cloud.cores,
            ram_mb: cloud.ram_mb,
            flavors: cloud
                .flavors
                .iter()
                .map(flavor)
                .collect::<anyhow::Result<_>>()?,
        })
    };
    scenario.clouds.iter().map(cloud).collect()
}

/// A flavor with a size whose sums do not overflow.
fn site_flavor(
    name: &str,
    flavor: Flavor,
    price: Option<f64>,
    period: Option<Duration>,
) -> anyhow::Result<SiteFlavor> {
    let is_small = flavor.vcpus <= CORES_MAX
        && flavor.gpus <= CORES_MAX
        && flavor.ram_mb <= RAM_MB_MAX
        && flavor.disk_gb <= DISK_GB_MAX;
    if !is_small || price.is_some_and(|price| !(0.0..=PRICE_MAX).contains(&price)) {
        return Err(anyhow!(
            "flavor {name}: a size or the price is out of range; write at most {CORES_MAX} cores or GPUs, 1 PiB of \
             memory or disk, and a price from 0 to {PRICE_MAX}"
        ));
    }
    Ok(SiteFlavor {
        name: name.to_owned(),
        capacity: flavor.expected_capacity(),
        flavor,
        price,
        billing_period: period.map(|period| u32::try_from(period.as_secs()).unwrap_or(u32::MAX)),
    })
}

/// Flavors of the command line: `NAME=CORES,GB[,PRICE]`.
fn sizes(given: &[String]) -> anyhow::Result<BTreeMap<String, SiteFlavor>> {
    let parse = |text: &String| {
        let (name, size) = text.split_once('=')?;
        let mut numbers = size.split(',').map(str::trim);
        let vcpus: u64 = numbers.next()?.parse().ok().filter(|cores| *cores > 0)?;
        let gigabytes: f64 = numbers.next()?.parse().ok().filter(|gb| *gb > 0.0)?;
        let price: Option<f64> = match numbers.next() {
            Some(price) => Some(price.parse().ok()?),
            None => None,
        };
        let flavor = Flavor {
            id: name.to_owned(),
            vcpus,
            ram_mb: (gigabytes * 1024.0) as u64,
            disk_gb: 0,
            gpus: 0,
        };
        Some((name.to_owned(), flavor, price))
    };
    let size = |text: &String| {
        let (name, flavor, price) = parse(text).ok_or_else(|| {
            anyhow!(
                "--flavor {text}: not understood; write it as NAME=CORES,GB[,PRICE], such as m1.large=4,16,0.20"
            )
        })?;
        let flavor = site_flavor(&name, flavor, price, None)?;
        anyhow::Ok((name, flavor))
    };
    let mut sizes = BTreeMap::new();
    for one in given {
        let (name, flavor) = size(one)?;
        sizes.insert(name, flavor);
    }
    Ok(sizes)
}

/// What the clouds say of quotas and flavors. Nothing is changed.
fn observed(
    args: &Simulate,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<BTreeMap<String, SiteCloud>> {
    let directory = state_directory(&args.common, config, environment)?;
    let user_data = NodeUserData::new(&config.condor, &config.policy, config.timeouts.command);
    let matches = MatchFile::new(&directory, false);
    let keys = SigningKeys::default();
    let backends = backends::real(config, &user_data, None, matches, &keys)?;
    let deadline = Deadline::within(CLOUDS_LIMIT);
    let mut all = BTreeMap::new();
    for cloud in &backends.clouds {
        let view = cloud
            .observe(&LeftoverQuery::default(), deadline)
            .map_err(|failure| anyhow!("cloud {}: {}", cloud.name(), failure.message))?;
        let flavors = view.flavors.into_iter();
        let site = SiteCloud {
            name: cloud.name().to_owned(),
            instances: view.quota.instances.limit,
            cores: view.quota.cores.limit,
            ram_mb: view.quota.ram_mb.limit,
            flavors: flavors
                .map(|(name, flavor)| site_flavor(&name, flavor, None, None))
                .collect::<anyhow::Result<_>>()?,
        };
        all.insert(site.name.clone(), site);
    }
    Ok(all)
}
