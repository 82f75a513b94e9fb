//! The cost of nodes, per hour and in this month.
//!
//! Costs are counted from the age of each server by the clock of its cloud. A budget deletes idle nodes only.
//!
//! A month's budget counts the money spent and the cost of the next hour of all that runs. The
//! state keeps a meter for each node until its departure is forgotten, then a sum by month and
//! cloud, twelve of them: a clock that jumps and returns forgets none.
//!
//! A `billing_period` keeps a surplus node until the last five minutes that are paid, at most one
//! period longer than `idle_timeout`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::sorting::IntoSet;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::money::Money;
use super::node::Node;
use super::observation::{CloudName, NodeId};
use super::policy::{CloudPolicy, Policy};
use super::state::{State, TickInstant};
use super::submitter::{Submitter, Submitters};
use keys::settings;

settings! {
    /// A budget.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Budget {
        /// Nodes that run at the same time cost at most this for an hour.
        per_hour: Option<Money> = None, "no limit";
        /// Cost of a calendar month.
        per_month: Option<Money> = None, "no limit";
    }
    beside {}
}

/// Running nodes are counted this far ahead before further creates, for no budget ends a job.
const AHEAD: Duration = Duration::from_secs(3600);

/// Months that are remembered: a clock that jumps, and back, forgets none.
const MONTHS: usize = 12;

/// How long a node has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    pub cloud: CloudName,
    /// What it costs an hour.
    pub price: Money,
    /// How old its server was …
    pub age: Duration,
    /// … at this time.
    pub until: Timestamp,
    /// The submitters that it is charged to.
    #[serde(default, skip_serializing_if = "Submitters::is_empty")]
    pub submitters: Submitters,
}

/// What is remembered of money.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Since when this state has counted.
    pub since: Option<Timestamp>,
    /// Nodes that are there, and those that went a short while ago and may be seen once more.
    pub meters: BTreeMap<NodeId, Meter>,
    /// What those that are gone have cost, by month (`2026-11`) and cloud.
    pub months: BTreeMap<String, BTreeMap<CloudName, Money>>,
    /// The same by submitter, of the latest month.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub submitters: BTreeMap<String, BTreeMap<Submitter, Money>>,
}

/// A calendar month.
struct Month {
    /// `2026-11`.
    name: String,
    begins: Timestamp,
    ends: Timestamp,
}

impl Month {
    fn of(at: Timestamp, time_zone: &TimeZone) -> Month {
        let now = at.to_zoned(time_zone.clone());
        let first = now.first_of_month().and_then(|day| day.start_of_day());
        let first = first.unwrap_or_else(|_| now.clone());
        let next = first.checked_add(1.month()).unwrap_or_else(|_| now.clone());
        Month {
            name: now.strftime("%Y-%m").to_string(),
            begins: first.timestamp(),
            ends: next.timestamp(),
        }
    }
}

fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// What a server of this age has cost, where a started period is paid.
pub fn paid(price: Money, age: Duration, period: Option<Duration>) -> Money {
    match period.map(|period| period.as_millis()) {
        None | Some(0) => price.over(age),
        Some(period) => {
            let whole = age.as_millis().div_ceil(period) * period;
            price.over(Duration::from_millis(
                u64::try_from(whole).unwrap_or(u64::MAX),
            ))
        }
    }
}

impl Meter {
    /// What of it falls into this month.
    fn spent(&self, month: &Month, period: Option<Duration>) -> Money {
        let here = between(month.begins, self.until).min(self.age);
        let before = paid(self.price, self.age.saturating_sub(here), period);
        paid(self.price, self.age, period).minus(before)
    }
}

impl Spending {
    /// Reads the meters: of nodes whose servers are listed by their ages, of others that are there by the time since the
    /// last tick.
    fn read(
        &mut self,
        at: Timestamp,
        step: Duration,
        policy: &Policy,
        nodes: &[Node<'_>],
        now: TickInstant,
    ) {
        self.since.get_or_insert(at);
        if self.meters.is_empty() && policy.clouds.iter().all(|cloud| cloud.prices.is_empty()) {
            return;
        }
        for node in nodes.iter().filter(|node| node.exists()) {
            let old = self.meters.get(&node.id);
            let Some(price) = price_of(policy, node, old) else {
                continue;
            };
            let age = match (node.server, old) {
                (Some(server), _) => Some(server.record().age),
                (None, Some(old)) => Some(old.age + step),
                // One that the cloud has said to make or that is in the pool, before any list has it.
                (None, None) => {
                    let made = node.memory.server_id.is_some() || node.startd.is_some();
                    made.then(|| now.since(node.memory.started))
                }
            };
            let Some(age) = age else { continue };
            let cloud = &node.node_type().cloud;
            match self.meters.get_mut(&node.id) {
                Some(meter) if meter.cloud == *cloud => {
                    (meter.price, meter.age, meter.until) = (price, age, at);
                    meter.submitters.clone_from(&node.memory.submitters);
                }
                _ => {
                    let meter = Meter {
                        cloud: cloud.clone(),
                        price,
                        age,
                        until: at,
                        submitters: node.memory.submitters.clone(),
                    };
                    self.meters.insert(node.id.clone(), meter);
                }
            }
        }
    }

    /// What a server of this node costs an hour, as far as it was ever known.
    pub fn price_of(&self, node: &NodeId) -> Option<Money> {
        self.meters.get(node).map(|meter| meter.price)
    }

    /// Adds up those that are gone for good.
    fn settle(&mut self, policy: &Policy, may_come_back: impl Fn(&NodeId, &Meter) -> bool) {
        let gone: Vec<NodeId> = self
            .meters
            .iter()
            .filter(|(id, meter)| !may_come_back(id, meter))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            if let Some(meter) = self.meters.remove(&id) {
                let month = Month::of(meter.until, &policy.time_zone);
                let spent = meter.spent(&month, period(policy, &meter.cloud));
                for submitter in meter.submitters.0 {
                    let all = self.submitters.entry(month.name.clone()).or_default();
                    let sum = all.entry(submitter).or_default();
                    *sum = sum.plus(spent);
                }
                let clouds = self.months.entry(month.name).or_default();
                let sum = clouds.entry(meter.cloud).or_default();
                *sum = sum.plus(spent);
            }
        }
        while self.submitters.len() > 1 {
            self.submitters.pop_first();
        }
        while self.months.len() > MONTHS {
            self.months.pop_first();
        }
    }
}

/// The price of a node an hour: that of its flavor, or else the one that it had before.
fn price_of(policy: &Policy, node: &Node<'_>, meter: Option<&Meter>) -> Option<Money> {
    let cloud = node.cloud(policy);
    let price = cloud.and_then(|cloud| cloud.price(&node.node_type().flavor));
    price.or(meter.map(|meter| meter.price))
}

fn period(policy: &Policy, cloud: &str) -> Option<Duration> {
    policy.cloud(cloud)?.billing_period
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CloudCost {
    pub cloud: CloudName,
    /// The cost per hour of all nodes in the cloud.
    pub per_hour: Money,
    /// This month until now.
    pub spent_this_month: Money,
    /// What runs, in the hour that comes, as far as it belongs to this month.
    #[serde(rename = "committed", alias = "coming")]
    pub coming: Money,
    /// Nodes whose flavors have no price: not counted.
    pub nodes_without_price: u64,
}

/// What the nodes for the jobs of one submitter cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubmitterCost {
    pub per_hour: Money,
    /// This month until now.
    pub spent_this_month: Money,
    /// The coming hour, as far as it belongs to this month.
    #[serde(rename = "committed", alias = "coming")]
    pub coming: Money,
}

/// Whose costs a budget counts.
#[derive(Debug, Clone, Copy)]
pub enum Payer<'a> {
    /// All clouds.
    All,
    Cloud(&'a str),
    /// The nodes for the jobs of one submitter.
    Submitter(&'a Submitter),
}

/// What nodes cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Costs {
    /// The calendar month (`2026-11`).
    pub month: String,
    /// Since when is counted, where that is later than the beginning of the month: what was there before and is gone
    /// is not known.
    pub counted_since: Option<Timestamp>,
    /// All clouds together, an hour.
    pub per_hour: Money,
    /// This month until now.
    pub spent_this_month: Money,
    /// Each cloud, in the order of the configuration, then those that are not in it any more and have cost something.
    pub clouds: Vec<CloudCost>,
    /// The submitters that have a limit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub submitters: BTreeMap<Submitter, SubmitterCost>,
    /// How far ahead is counted.
    #[serde(skip)]
    ahead: Duration,
}

/// A month's budget that has no room for one more node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetSpent {
    /// Of this cloud; of all when absent.
    pub cloud: Option<CloudName>,
    /// The budget.
    pub per_month: Money,
    /// Spent until now.
    pub spent: Money,
    /// What runs costs in the hour that comes.
    #[serde(rename = "committed", alias = "coming")]
    pub coming: Money,
}

impl fmt::Display for BudgetSpent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BudgetSpent {
            cloud,
            per_month,
            spent,
            coming,
        } = self;
        match cloud {
            Some(cloud) => write!(f, "cloud {cloud}: ")?,
            None => f.write_str("all clouds: ")?,
        }
        write!(
            f,
            "{spent} of {per_month} spent this month, {coming} committed for the next hour; ehos creates no node and deletes \
             idle nodes at once, running jobs continue"
        )
    }
}

/// Reads all meters at this tick, and says what nodes cost. `before` is the watched clock at the last tick.
pub fn count(
    at: Timestamp,
    policy: &Policy,
    state: &mut State,
    nodes: &[Node<'_>],
    before: TickInstant,
) -> Costs {
    let step = state.now.since(before);
    let mut spending = std::mem::take(&mut state.spending);
    spending.read(at, step, policy, nodes, state.now);
    let month = Month::of(at, &policy.time_zone);
    spending.settle(policy, |id, meter| {
        // A cloud that is not configured for a while is forgotten with its nodes: they are not to be counted twice.
        let away = || {
            !state.clouds.contains(&meter.cloud)
                && Month::of(meter.until, &policy.time_zone).name == month.name
        };
        let aside = state.removed_clouds.get(&meter.cloud);
        state.nodes.contains_key(id)
            || state.departed.contains_key(id)
            || aside.is_some_and(|nodes| nodes.contains_key(id))
            || away()
    });
    let ahead = AHEAD.min(between(at, month.ends));
    let clouds = by_cloud(&spending, &month, policy, nodes, ahead);
    let submitters = by_submitter(&spending, &month, policy, nodes, ahead);
    let since = spending.since.filter(|since| *since > month.begins);
    state.spending = spending;
    Costs {
        month: month.name,
        counted_since: since,
        per_hour: clouds.iter().map(|cloud| cloud.per_hour).sum(),
        spent_this_month: clouds.iter().map(|cloud| cloud.spent_this_month).sum(),
        clouds,
        submitters,
        ahead,
    }
}

/// What each cloud costs.
fn by_cloud(
    spending: &Spending,
    month: &Month,
    policy: &Policy,
    nodes: &[Node<'_>],
    ahead: Duration,
) -> Vec<CloudCost> {
    let settled = spending.months.get(&month.name);
    let spent_in = |cloud: &str| {
        let settled = settled.and_then(|clouds| clouds.get(cloud)).copied();
        let meters = spending.meters.values();
        let meters = meters.filter(|meter| meter.cloud == *cloud);
        let spent: Money = meters
            .map(|meter| meter.spent(month, period(policy, cloud)))
            .sum();
        CloudCost {
            cloud: cloud.to_owned(),
            spent_this_month: spent.plus(settled.unwrap_or_default()),
            ..CloudCost::default()
        }
    };
    let clouds = policy.clouds.iter().map(|cloud| spent_in(&cloud.name));
    let mut clouds: Vec<CloudCost> = clouds.collect();
    for node in nodes.iter().filter(|node| node.exists()) {
        let cost = node.place.and_then(|place| clouds.get_mut(place));
        let (Some(cost), Some(cloud)) = (cost, node.cloud(policy)) else {
            continue;
        };
        let meter = spending.meters.get(&node.id);
        let Some(price) = price_of(policy, node, meter) else {
            cost.nodes_without_price += 1;
            continue;
        };
        let age = meter.map_or(Duration::ZERO, |meter| meter.age);
        let until_now = paid(price, age, cloud.billing_period);
        let then = paid(price, age + ahead, cloud.billing_period);
        cost.per_hour = cost.per_hour.plus(price);
        cost.coming = cost.coming.plus(then.minus(until_now));
    }
    // What others have cost that are not configured any more was spent all the same.
    let metered = spending.meters.values().map(|meter| &meter.cloud);
    let names: BTreeSet<&CloudName> = metered
        .chain(settled.iter().flat_map(|clouds| clouds.keys()))
        .filter(|name| policy.cloud(name).is_none())
        .into_set();
    let others = names.into_iter().map(|name| spent_in(name));
    clouds.extend(others.filter(|cost| cost.spent_this_month > Money::default()));
    clouds
}

/// What the nodes of each submitter that has a limit cost.
fn by_submitter(
    spending: &Spending,
    month: &Month,
    policy: &Policy,
    nodes: &[Node<'_>],
    ahead: Duration,
) -> BTreeMap<Submitter, SubmitterCost> {
    let mut costs: BTreeMap<Submitter, SubmitterCost> = BTreeMap::new();
    if policy.submitter_limits.is_empty() {
        return costs;
    }
    for (submitter, money) in spending.submitters.get(&month.name).into_iter().flatten() {
        let cost = costs.entry(submitter.clone()).or_default();
        cost.spent_this_month = *money;
    }
    for meter in spending.meters.values() {
        let spent = meter.spent(month, period(policy, &meter.cloud));
        for submitter in &meter.submitters.0 {
            let cost = costs.entry(submitter.clone()).or_default();
            cost.spent_this_month = cost.spent_this_month.plus(spent);
        }
    }
    for node in nodes.iter().filter(|node| node.exists()) {
        let meter = spending.meters.get(&node.id);
        let Some(price) = price_of(policy, node, meter) else {
            continue;
        };
        let age = meter.map_or(Duration::ZERO, |meter| meter.age);
        let period = period(policy, &node.node_type().cloud);
        let coming = paid(price, age + ahead, period).minus(paid(price, age, period));
        for submitter in &node.memory.submitters.0 {
            let cost = costs.entry(submitter.clone()).or_default();
            cost.per_hour = cost.per_hour.plus(price);
            cost.coming = cost.coming.plus(coming);
        }
    }
    costs
}

impl Costs {
    /// What one more node costs in the hour that comes.
    fn of_new(&self, cloud: &CloudPolicy, price: Money) -> Money {
        paid(price, self.ahead, cloud.billing_period)
    }

    /// A node more, which is made now.
    pub fn add(&mut self, cloud: &CloudPolicy, flavor: &str, submitters: &Submitters) {
        let Some(price) = cloud.price(flavor) else {
            return;
        };
        let coming = self.of_new(cloud, price);
        self.per_hour = self.per_hour.plus(price);
        let mut clouds = self.clouds.iter_mut();
        if let Some(cost) = clouds.find(|cost| cost.cloud == cloud.name) {
            cost.per_hour = cost.per_hour.plus(price);
            cost.coming = cost.coming.plus(coming);
        }
        for submitter in &submitters.0 {
            let cost = self.submitters.entry(submitter.clone()).or_default();
            cost.per_hour = cost.per_hour.plus(price);
            cost.coming = cost.coming.plus(coming);
        }
    }

    /// An hour's price, the money spent and the money of the coming hour.
    fn of(&self, payer: Payer<'_>) -> (Money, Money, Money) {
        let of_scope = |cost: &&CloudCost| match payer {
            Payer::All => true,
            Payer::Cloud(cloud) => cost.cloud == *cloud,
            Payer::Submitter(_) => false,
        };
        if let Payer::Submitter(submitter) = payer {
            let cost = self.submitters.get(submitter).cloned().unwrap_or_default();
            return (cost.per_hour, cost.spent_this_month, cost.coming);
        }
        let clouds = self.clouds.iter().filter(of_scope);
        clouds.fold(Default::default(), |sum: (Money, Money, Money), cost| {
            (
                sum.0.plus(cost.per_hour),
                sum.1.plus(cost.spent_this_month),
                sum.2.plus(cost.coming),
            )
        })
    }

    /// How many more of this flavor the hour's budget allows, with what runs an hour. A flavor without a price could cost
    /// anything.
    pub fn left_an_hour(
        &self,
        payer: Payer<'_>,
        budget: Money,
        cloud: &CloudPolicy,
        flavor: &str,
    ) -> (u64, Money) {
        let (per_hour, _, _) = self.of(payer);
        let price = cloud.price(flavor);
        let more = price.map_or(0, |price| budget.minus(per_hour).holds(price));
        (if per_hour > budget { 0 } else { more }, per_hour)
    }

    /// How many more of this flavor the month's budget allows, with what was spent and what comes.
    pub fn left_a_month(
        &self,
        payer: Payer<'_>,
        budget: Money,
        cloud: &CloudPolicy,
        flavor: &str,
    ) -> (u64, Money, Money) {
        let (_, spent, coming) = self.of(payer);
        let used = spent.plus(coming);
        let each = cloud.price(flavor).map(|price| self.of_new(cloud, price));
        let more = each.map_or(0, |each| budget.minus(used).holds(each));
        (if used > budget { 0 } else { more }, spent, coming)
    }

    /// The months' budgets that have no room for one more node of any flavor.
    pub fn spent(&self, policy: &Policy) -> Vec<BudgetSpent> {
        let room = |payer: Payer<'_>, budget: Money, cloud: &CloudPolicy| {
            let mut flavors = cloud.flavors.iter();
            flavors.any(|flavor| self.left_a_month(payer, budget, cloud, flavor).0 > 0)
        };
        let line = |cloud: Option<&str>, per_month: Money| {
            let (_, spent, coming) = self.of(cloud.map_or(Payer::All, Payer::Cloud));
            BudgetSpent {
                cloud: cloud.map(str::to_owned),
                per_month,
                spent,
                coming,
            }
        };
        let mut all = Vec::new();
        if let Some(budget) = policy.budget.per_month {
            let mut clouds = policy.clouds.iter();
            if !clouds.any(|cloud| room(Payer::All, budget, cloud)) {
                all.push(line(None, budget));
            }
        }
        for cloud in &policy.clouds {
            if let Some(budget) = cloud.budget.per_month
                && !room(Payer::Cloud(&cloud.name), budget, cloud)
            {
                all.push(line(Some(&cloud.name), budget));
            }
        }
        all
    }

    /// Whether the costs are worth a report.
    pub fn known(&self, policy: &Policy) -> bool {
        let priced = |cloud: &CloudPolicy| !cloud.prices.is_empty();
        policy.clouds.iter().any(priced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    fn meter(age: Duration, until: &str) -> Meter {
        Meter {
            cloud: "a".to_owned(),
            price: Money::new(2.0),
            age,
            submitters: Submitters::default(),
            until: at(until),
        }
    }

    #[test]
    fn what_ran_before_the_month_is_not_this_months() {
        let november = Month::of(at("2026-11-20T00:00:00Z"), &TimeZone::UTC);
        assert_eq!(november.name, "2026-11");
        let spent = |age, until: &str| meter(age, until).spent(&november, None);
        assert_eq!(spent(hours(10), "2026-11-01T04:00:00Z"), Money::new(8.0));
        assert_eq!(spent(hours(3), "2026-11-01T04:00:00Z"), Money::new(6.0));
        assert_eq!(spent(hours(3), "2026-10-31T23:00:00Z"), Money::default());
    }

    #[test]
    fn the_month_begins_by_the_clocks_of_the_site() {
        let vienna = TimeZone::get("Europe/Vienna").unwrap();
        let month = Month::of(at("2026-10-31T23:30:00Z"), &vienna);
        assert_eq!(month.name, "2026-11");
        assert_eq!(month.begins, at("2026-10-31T23:00:00Z"));
        assert_eq!(month.ends, at("2026-11-30T23:00:00Z"));
    }

    #[test]
    fn a_started_period_is_paid_whole_in_the_month_in_which_it_starts() {
        let month = Month::of(at("2026-11-20T00:00:00Z"), &TimeZone::UTC);
        let spent = |minutes: u64, until: &str| {
            let age = Duration::from_secs(minutes * 60);
            meter(age, until).spent(&month, Some(hours(1)))
        };
        assert_eq!(spent(61, "2026-11-20T00:00:00Z"), Money::new(4.0));
        // Its first hour started in October, its second in November.
        assert_eq!(spent(90, "2026-11-01T00:40:00Z"), Money::new(2.0));
    }

    #[test]
    fn those_that_are_gone_are_added_up_in_their_month_and_a_dozen_months_are_kept() {
        let policy = Policy::new("p");
        let mut spending = Spending::default();
        for month in 1..=12 {
            for year in [2026, 2027] {
                let until = format!("{year}-{month:02}-02T00:00:00Z");
                let id = NodeId(format!("n{year}-{month}").into());
                spending.meters.insert(id, meter(hours(5), &until));
            }
        }
        spending.settle(&policy, |id, _| id.0 == "n2027-12");
        assert_eq!(spending.meters.len(), 1, "it is there");
        assert_eq!(spending.months.len(), MONTHS);
        assert_eq!(spending.months["2027-11"]["a"], Money::new(10.0));
    }
}
