//! Allocation policies: the choice between clouds and flavors by cost and use of a node.
//!
//! Pure arithmetic. A new policy is a file and a line in each list here.

mod cheapest;
mod fill_first;
mod least_waste;
mod random;
mod round_robin;

use std::collections::BTreeMap;
use std::fmt;

use keys::words;
use serde::{Deserialize, Serialize, Serializer};

use super::limits::Limit;
use super::observation::CloudName;
use super::policy::Policy;
use super::sentence::sentences;

/// Of a core, when nothing is configured: the memory that the system of a node takes (512 MB, where a core comes with
/// 2 GB), its boot and its part of the API.
const CORES_OF_A_NODE: f64 = 0.25;

/// Money, cores or a share, to six decimals: as what is judged is a plan's reason, it must be equal to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u64);

impl Amount {
    /// As near as six decimals are; nothing for what is less than 0, or no number.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Such casts saturate.
    pub fn new(value: f64) -> Amount {
        Amount((value * 1e6).round() as u64)
    }

    /// As a number.
    #[allow(clippy::cast_precision_loss)] // Nothing costs that much.
    pub fn value(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.value())
    }
}

impl fmt::Display for Amount {
    /// With the three digits that matter, two decimals at least: `0.00125`, `0.04`, `12.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.0 {
            0..1_000 => 6,
            1_000..10_000 => 5,
            10_000..100_000 => 4,
            100_000..1_000_000 => 3,
            _ => 2,
        };
        let text = format!("{:.decimals$}", self.value());
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// By what a (cloud, flavor) is judged, of which less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// What the node costs for each core of the demand that it would take, an hour.
    CostPerCpuHour(Amount),
    /// How much of it, and of what it costs beside its price, that demand would leave unused.
    UnusedShare(Amount),
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::CostPerCpuHour(cost) => cost.fmt(f),
            Figure::UnusedShare(share) => write!(f, "{:.0} %", share.value() * 100.0),
        }
    }
}

/// How the next cloud and flavor is chosen among those that may grow (`node_allocation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // Each has its file.
pub enum Allocation {
    #[default]
    RoundRobin,
    Random,
    FillFirst,
    Cheapest,
    LeastWaste,
}

words!(Allocation:
    RoundRobin "round-robin",
    Random "random",
    FillFirst "fill-first",
    Cheapest "cheapest",
    LeastWaste "least-waste",
);

impl Allocation {
    /// Returns what the policy does.
    pub(super) fn strategy(self) -> &'static dyn Strategy {
        match self {
            Allocation::RoundRobin => &round_robin::RoundRobin,
            Allocation::Random => &random::Random,
            Allocation::FillFirst => &fill_first::FillFirst,
            Allocation::Cheapest => &cheapest::Cheapest,
            Allocation::LeastWaste => &least_waste::LeastWaste,
        }
    }

    /// Whether prices and sizes of flavors decide.
    pub fn judges(self) -> bool {
        self.strategy().judges()
    }
}

/// An allocation policy.
pub(super) trait Strategy {
    /// The basis of a choice in a cloud of this weight, among clouds with this sum of weights.
    fn basis(&self, weight: u64, weights: u64) -> Basis;

    /// The cloud whose turn it is, by its position among `open` (names with their weights); `None`: clouds have no turns.
    fn turn(&self, _turns: &mut Turns<'_>, _open: &[(&str, u64)]) -> Option<usize> {
        None
    }

    /// Whether prices and sizes of flavors decide, and not the order of the configuration.
    fn judges(&self) -> bool {
        false
    }

    /// How good a node is that costs so much for a core of the demand, an hour, and the share of it that is left unused:
    /// without demand that is not known, and the cost is that of the node.
    fn judge(&self, _cost: f64, _unused: Option<f64>) -> (Option<Figure>, Rank) {
        (None, (0, 0))
    }
}

/// The less, the better.
pub(super) type Rank = (i128, i128);

/// The turns, kept in the state.
pub(super) struct Turns<'s> {
    /// What `round-robin` owes each cloud, in parts of a turn.
    pub(super) owed: &'s mut BTreeMap<CloudName, i64>,
    /// The seed of `random`.
    pub(super) seed: &'s mut u64,
}

/// Rounds to nine decimals, so that the order of a sum makes no difference.
#[allow(clippy::cast_possible_truncation)] // Such casts saturate.
fn rank(value: f64) -> i128 {
    (value * 1e9).round() as i128
}

sentences! {
/// The basis of the choice between clouds and flavors.
#[serde(tag = "by")]
pub enum Basis {
    RoundRobin "round-robin" { weight: u64, weights: u64 } => "round-robin{}", turn(*weight, *weights);
    Random "random" { weight: u64, weights: u64 } => "random{}", turn(*weight, *weights);
    FillFirst "fill-first" => "fill-first";
    Cheapest "cheapest" => "cheapest";
    LeastWaste "least-waste" => "least-waste";
    /// In the place of a node of an older image.
    Replacement "replacement" => "replaces a node with an outdated image";
}
}

fn turn(weight: u64, weights: u64) -> String {
    if weights > weight && weight > 0 {
        format!(" (weight {weight} of {weights})")
    } else {
        String::new()
    }
}

/// The cloud and flavor of a new node, and the basis of the choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    pub cloud: CloudName,
    pub flavor: String,
    #[serde(flatten)]
    pub basis: Basis,
    /// The figure that was compared, if flavors are compared.
    #[serde(flatten)]
    pub figure: Option<Figure>,
    /// The alternatives, the best first: at most two.
    pub others: Vec<Other>,
    /// The number of further alternatives.
    pub others_not_named: u64,
}

/// A (cloud, flavor) that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Other {
    pub cloud: CloudName,
    pub flavor: String,
    /// The figure that was compared, if flavors are compared.
    #[serde(flatten)]
    pub figure: Option<Figure>,
    /// The limit that blocked it; `None` if it only was not the best.
    pub limit: Option<Limit>,
}

/// The basis of the choice and the alternatives, without the node type itself.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.basis)?;
        match &self.figure {
            Some(Figure::CostPerCpuHour(cost)) => write!(f, ", {cost} per CPU-hour")?,
            Some(figure) => write!(f, ", {figure} unused")?,
            None => {}
        }
        let mut others: Vec<String> = self.others.iter().map(ToString::to_string).collect();
        match self.others_not_named {
            0 => {}
            1 => others.push("and 1 other".to_owned()),
            count => others.push(format!("and {count} others")),
        }
        if others.is_empty() {
            return Ok(());
        }
        write!(f, " (others: {})", others.join("; "))
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.flavor, self.cloud)?;
        if let Some(figure) = &self.figure {
            write!(f, " {figure}")?;
        }
        match &self.limit {
            Some(limit) => write!(f, ": {limit}"),
            None => Ok(()),
        }
    }
}

/// What nodes cost where nothing else is said of a flavor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Of a core of a flavor without a price, an hour.
    pub core_price: f64,
    /// Of each node beside its price, an hour.
    pub node_cost: f64,
    /// The same in cores.
    node_cores: f64,
    /// See [`Policy::straggler_overhead`].
    pub straggler_overhead: f64,
}

impl Rates {
    /// What is configured; else from `prices_per_core`, those of all flavors that have a price: a flavor without one
    /// counts as the dearest of them, so that none is taken for want of a price, and a node costs a quarter of the
    /// cheapest core. Without any price a core is the unit.
    pub fn new(policy: &Policy, prices_per_core: &[f64]) -> Rates {
        let given = prices_per_core.iter().copied().filter(|price| *price > 0.0);
        let dearest = given.clone().reduce(f64::max);
        let cheapest = given.reduce(f64::min);
        let nothing_known = if prices_per_core.is_empty() { 1.0 } else { 0.0 };
        let core_price = policy.core_price.or(dearest).unwrap_or(nothing_known);
        let core = cheapest.unwrap_or(core_price);
        let node_cost = policy.node_cost.unwrap_or(CORES_OF_A_NODE * core);
        Rates {
            core_price,
            node_cost,
            node_cores: if core > 0.0 {
                node_cost / core
            } else {
                CORES_OF_A_NODE
            },
            straggler_overhead: policy.straggler_overhead,
        }
    }

    /// How much longer a node is kept that runs `jobs` side by side than each of them needs it, as a factor.
    #[allow(clippy::cast_precision_loss)] // Nobody has a node for 2^53 jobs.
    fn held_up(&self, jobs: u64) -> f64 {
        1.0 + self.straggler_overhead * (jobs.max(1) as f64).log2()
    }

    /// What a node that costs `price` costs for each core of demand, an hour, when it runs `jobs` that are worth
    /// `demand_cores`.
    pub fn cost_per_cpu_hour(&self, price: f64, jobs: u64, demand_cores: f64) -> f64 {
        (price + self.node_cost) * self.held_up(jobs) / demand_cores
    }

    /// The share of a node of `cores` that is there and not used, when `jobs` use the share `used` of it.
    pub fn unused_share(&self, cores: f64, jobs: u64, used: f64) -> f64 {
        1.0 - used * cores / ((cores + self.node_cores) * self.held_up(jobs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_with_the_digits_that_matter() {
        let told = |value: f64| Amount::new(value).to_string();
        let all = [0.0, 0.000_123, 0.001_25, 0.04, 0.333_333, 12.5, 100.0];
        assert_eq!(
            all.map(told),
            ["0", "0.000123", "0.00125", "0.04", "0.333", "12.5", "100"]
        );
        assert_eq!(Amount::new(-1.0), Amount::new(f64::NAN));
    }

    fn rates(core_price: Option<f64>, node_cost: Option<f64>, prices: &[f64]) -> Rates {
        let policy = Policy {
            core_price,
            node_cost,
            straggler_overhead: 0.0,
            ..Policy::new("c")
        };
        Rates::new(&policy, prices)
    }

    #[test]
    fn without_prices_a_core_is_the_unit() {
        let none = rates(None, None, &[]);
        assert_eq!((none.core_price, none.node_cost), (1.0, 0.25));
        let some = rates(None, None, &[0.02, 0.05]);
        assert_eq!((some.core_price, some.node_cost), (0.05, 0.005));
        let given = rates(Some(0.1), Some(0.0), &[0.02]);
        assert_eq!((given.core_price, given.node_cost), (0.1, 0.0));
        let nothing_costs = rates(None, None, &[0.0]);
        assert_eq!(
            (nothing_costs.core_price, nothing_costs.node_cost),
            (0.0, 0.0)
        );
    }

    #[test]
    fn many_small_nodes_cost_more_than_a_large_one_and_many_jobs_hold_it_up() {
        let rates = rates(None, None, &[]);
        let small = rates.cost_per_cpu_hour(1.0, 1, 1.0);
        let large = rates.cost_per_cpu_hour(100.0, 100, 100.0);
        assert!(large < small, "{large} {small}");
        assert!(rates.unused_share(100.0, 100, 1.0) < rates.unused_share(1.0, 1, 1.0));
        let held_up = Rates {
            straggler_overhead: 0.1,
            ..rates
        };
        let large = held_up.cost_per_cpu_hour(100.0, 100, 100.0);
        assert!(large > small, "{large} {small}");
        assert!(held_up.unused_share(8.0, 8, 1.0) > rates.unused_share(8.0, 8, 1.0));
    }
}
