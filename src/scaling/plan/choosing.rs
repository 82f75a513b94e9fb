//! Chooses cloud and flavor of the next node: by the limits of each, and by its use for the remaining demand.

use std::rc::Rc;

use super::planner::{JobGroup, Planner, cores};
use crate::allocation::{Basis, Choice, Figure, Other, Rank, Rates, Turns};
use crate::capacity::Capacity;
use crate::job_requirements::{JobGroupKey, MatchAnswer};
use crate::limits::{self, Limit};
use crate::observation::Resources;
use crate::packing::{WHOLE, dominant_share};
use crate::policy::CloudPolicy;
use crate::sorting;
use crate::state::NodeType;
use crate::submitter::Submitters;

/// How many others are named beside the one that was chosen.
const OTHERS: usize = 2;

/// A (cloud, flavor) of the policy.
pub(super) struct Candidate<'a> {
    pub(super) cloud: &'a CloudPolicy,
    pub(super) node_type: NodeType,
    /// What a node of it offers, where that is known.
    pub(super) capacity: Option<Capacity>,
    /// All of that together.
    whole: Resources,
    /// An hour of it.
    price: f64,
}

/// All that there is to choose from, and how it is judged: the same for all nodes of a plan.
pub(super) struct Market<'a> {
    pub(super) candidates: Vec<Candidate<'a>>,
    rates: Rates,
    /// The largest that any of them offers of each resource: what demand is measured against.
    largest: Resources,
    /// The least that each group asks for of each resource, whatever the node: as long as a list of groups, and much smaller.
    least: Vec<Resources>,
    /// The least that any group from this one on asks for.
    least_from: Vec<Resources>,
}

/// The demand for which a node is chosen: the group at `position`, then those behind it in the plan.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'g> {
    pub(super) position: usize,
    pub(super) group: &'g JobGroup,
    pub(super) behind: &'g [JobGroup],
}

/// What one node would take of the demand.
#[derive(Default)]
pub(super) struct Load {
    /// Jobs of each group, by how far it is behind the first.
    pub(super) placed: Vec<(usize, u64)>,
    jobs: u64,
    /// The sum of their dominant shares of the largest candidate.
    demand: u64,
    used: Resources,
}

/// What the next node is to be.
pub(super) struct Chosen<'a> {
    pub(super) cloud: &'a CloudPolicy,
    pub(super) node_type: NodeType,
    pub(super) load: Load,
    /// Why; `None` where there is nothing to choose.
    pub(super) choice: Option<Choice>,
}

/// How many more nodes of each candidate the limits allow, as long as the plan makes none.
#[derive(Default)]
pub(super) struct Allowances {
    /// New nodes of the plan.
    made: usize,
    submitters: Submitters,
    candidates: Vec<Option<(u64, Rc<Limit>)>>,
}

/// A candidate that could hold the demand, in the order of preference of the configuration.
struct Offer<'m, 'a> {
    candidate: &'m Candidate<'a>,
    limit: Option<Rc<Limit>>,
    load: Load,
    figure: Option<Figure>,
    rank: Rank,
}

impl<'a> Planner<'a> {
    /// Every (cloud, flavor) of the policy, in its order.
    pub(super) fn options(&self) -> Vec<(&'a CloudPolicy, NodeType)> {
        let policy = self.policy;
        let of_cloud = |cloud: &'a CloudPolicy| {
            let flavors = cloud.flavors.iter();
            flavors.map(move |flavor| (cloud, NodeType::of(cloud, flavor)))
        };
        policy.clouds.iter().flat_map(of_cloud).collect()
    }

    /// Whether jobs of the group may find room on a new node of this kind, which offers `capacity`.
    fn takes(&self, node_type: &NodeType, capacity: &Capacity, group: &JobGroup) -> bool {
        let request = self.observation.matches.request(node_type, &group.asks);
        capacity.fits(&request) && self.answer(node_type, &group.asks).may_use()
    }

    /// Whether a node on its way is to show what its kind has, and the clause that it is to settle.
    pub(super) fn first_will_tell(
        &self,
        market: &Market<'a>,
        asks: &JobGroupKey,
    ) -> Option<Option<String>> {
        // Jobs without Requirements of their own run on every node.
        let candidates = market.candidates.iter().filter(|_| !asks.needs.is_empty());
        let mut node_types = candidates.map(|candidate| &candidate.node_type);
        node_types.find_map(|node_type| match self.answer(node_type, asks) {
            MatchAnswer::Perhaps(clause) if self.on_their_way(node_type) => {
                Some(clause.map(str::to_owned))
            }
            _ => None,
        })
    }

    /// The clause that no node has shown yet, if every node type that may match these jobs is undetermined.
    pub(super) fn undetermined(
        &self,
        market: &Market<'a>,
        asks: &JobGroupKey,
    ) -> Option<Option<String>> {
        let mut undetermined = None;
        for candidate in &market.candidates {
            let request = self.observation.matches.request(&candidate.node_type, asks);
            let capacity = candidate.capacity.as_ref();
            if capacity.is_some_and(|capacity| !capacity.fits(&request)) {
                continue;
            }
            match self.answer(&candidate.node_type, asks) {
                MatchAnswer::Takes | MatchAnswer::Unknown(_) => return None,
                MatchAnswer::Perhaps(clause) => {
                    undetermined.get_or_insert(clause.map(str::to_owned));
                }
                MatchAnswer::Refuses(_) => {}
            }
        }
        undetermined
    }

    /// Whether nodes of this kind are on their way.
    fn on_their_way(&self, node_type: &NodeType) -> bool {
        self.counts.unjoined(node_type) > 0
    }

    /// What there is to choose from for these groups, which are in the order of the plan.
    pub(super) fn market(&self, groups: &[JobGroup]) -> Market<'a> {
        let options = self.options();
        let priced = options.iter().filter_map(|(cloud, node_type)| {
            let price = cloud.prices.get(&node_type.flavor)?;
            let cores = as_number(self.cores(node_type)?);
            (cores > 0.0).then(|| price / cores)
        });
        let rates = Rates::new(self.policy, &priced.collect::<Vec<f64>>());
        let candidates: Vec<Candidate<'a>> = options
            .into_iter()
            .map(|(cloud, node_type)| self.candidate(cloud, node_type, &rates))
            .collect();
        let spaces = candidates
            .iter()
            .filter_map(|candidate| candidate.capacity.as_ref());
        let largest = spaces
            .flat_map(Capacity::spaces)
            .copied()
            .reduce(|one, other| one.each(&other, u64::max));
        let least: Vec<Resources> = groups.iter().map(|group| self.least_of(group)).collect();
        let mut least_from = least.clone();
        let mut of_all: Option<Resources> = None;
        for request in least_from.iter_mut().rev() {
            *request = of_all.map_or(*request, |least| least.each(request, u64::min));
            of_all = Some(*request);
        }
        Market {
            candidates,
            rates,
            largest: largest.unwrap_or_default(),
            least,
            least_from,
        }
    }

    /// The cores of a flavor, or else those that nodes of it were seen to have.
    fn cores(&self, node_type: &NodeType) -> Option<u64> {
        Some(cores(node_type, self.observation, &self.next)).filter(|cores| *cores > 0)
    }

    fn candidate(
        &self,
        cloud: &'a CloudPolicy,
        node_type: NodeType,
        rates: &Rates,
    ) -> Candidate<'a> {
        let capacity = self.capacity(&node_type);
        let cores = as_number(self.cores(&node_type).unwrap_or_default());
        let price = cloud.prices.get(&node_type.flavor).copied();
        Candidate {
            cloud,
            whole: capacity.as_ref().map(Capacity::total).unwrap_or_default(),
            price: price.unwrap_or(cores * rates.core_price),
            capacity,
            node_type,
        }
    }

    /// What one node of the candidate would take: of the first group as many as it holds, then of those behind it what
    /// fits beside them, in order.
    fn load(&self, market: &Market<'a>, candidate: &Candidate<'a>, wanted: Wanted<'_>) -> Load {
        let mut load = Load::default();
        let Some(capacity) = &candidate.capacity else {
            return load;
        };
        let mut spaces: Vec<Resources> = capacity.spaces().copied().collect();
        let groups = std::iter::once(wanted.group).chain(wanted.behind);
        for (behind, group) in groups.enumerate() {
            let place = wanted.position + behind;
            let fits = |least: &Resources| spaces.iter().any(|space| least.fits(space));
            if market
                .least_from
                .get(place)
                .is_some_and(|least| !fits(least))
            {
                break;
            }
            // Before anything of the group is read: thousands of groups may be behind the first.
            if market.least.get(place).is_some_and(|least| !fits(least)) {
                continue;
            }
            if group.left == 0 || !self.takes(&candidate.node_type, capacity, group) {
                continue;
            }
            // Only jobs with a known match share a node: others would cause creates for the jobs behind them.
            let certain = matches!(
                self.answer(&candidate.node_type, &group.asks),
                MatchAnswer::Takes
            );
            if behind > 0 && !certain {
                continue;
            }
            let request = self
                .observation
                .matches
                .request(&candidate.node_type, &group.asks);
            let mut left = group.left;
            for space in &mut spaces {
                let here = request.times_in(space).min(left);
                *space = space.minus(&request, here);
                left -= here;
            }
            let jobs = group.left - left;
            if jobs > 0 {
                let share = dominant_share(&request, &market.largest);
                load.placed.push((behind, jobs));
                load.jobs += jobs;
                load.demand = load.demand.saturating_add(share.saturating_mul(jobs));
                load.used = load.used.plus(&request.times(jobs));
            }
        }
        load
    }

    /// The cloud and flavor of the next node, which must hold a job of the first group that is `wanted`; else the limits
    /// that are in the way, each once.
    pub(super) fn choose(
        &mut self,
        market: &Market<'a>,
        wanted: Option<Wanted<'_>>,
    ) -> Result<Chosen<'a>, Vec<Limit>> {
        if let Some(replacement) = self.replacement(market, wanted) {
            return Ok(replacement);
        }
        if let Some(limits) = wanted.and_then(|wanted| self.limited(market, wanted.group)) {
            return Err(limits);
        }
        let mut offers = self.offers(market, wanted);
        if offers.iter().all(|offer| offer.limit.is_some()) {
            return Err(each_once(offers));
        }
        for offer in &mut offers {
            self.judge(market, wanted, offer);
        }
        let cloud = self.cloud_in_turn(&offers);
        let ordered = !self.policy.allocation.judges();
        // What is in order of preference comes in that order; the sort keeps it.
        sorting::by_key(&mut offers, |offer| {
            let last_resort = offer.candidate.cloud.weight == 0;
            let of_another = cloud.is_some_and(|cloud| offer.candidate.cloud.name != cloud.name);
            (last_resort, of_another, offer.rank)
        });
        let Some(best) = offers.iter().position(|offer| offer.limit.is_none()) else {
            return Err(each_once(offers));
        };
        let chosen = offers.remove(best);
        let basis = self.basis(&chosen, &offers);
        if ordered {
            only_what_could_have_been(&chosen, best, &mut offers);
        }
        let choice = (market.candidates.len() > 1).then(|| Choice {
            cloud: chosen.candidate.cloud.name.clone(),
            flavor: chosen.candidate.node_type.flavor.clone(),
            basis,
            figure: chosen.figure,
            others_not_named: offers.len().saturating_sub(OTHERS) as u64,
            others: offers.into_iter().take(OTHERS).map(Other::from).collect(),
        });
        let load = match wanted {
            Some(wanted) if ordered => self.load(market, chosen.candidate, wanted),
            _ => chosen.load,
        };
        Ok(Chosen {
            cloud: chosen.candidate.cloud,
            node_type: chosen.candidate.node_type.clone(),
            load,
            choice,
        })
    }

    /// How many more nodes of the candidate at this place the limits allow, and the limit.
    fn allowance(
        &mut self,
        market: &Market<'a>,
        place: usize,
        submitters: &Submitters,
    ) -> Option<(u64, Rc<Limit>)> {
        let made = self.new_nodes.len();
        let known = &mut self.allowances;
        if known.made != made
            || known.submitters != *submitters
            || known.candidates.len() != market.candidates.len()
        {
            *known = Allowances {
                made,
                submitters: submitters.clone(),
                candidates: vec![None; market.candidates.len()],
            };
        }
        if let Some(Some(known)) = known.candidates.get(place) {
            return Some(known.clone());
        }
        let candidate = market.candidates.get(place)?;
        let case = self.case(candidate.cloud, &candidate.node_type, submitters);
        let (more, limit) = limits::allowance(&case);
        let allowance = (more, Rc::new(limit));
        if let Some(known) = self.allowances.candidates.get_mut(place) {
            *known = Some(allowance.clone());
        }
        Some(allowance)
    }

    /// The limits in the way of a group, if each candidate is limited: most groups of a long queue find that. Only for jobs
    /// without Requirements of their own, which run on every node.
    fn limited(&mut self, market: &Market<'a>, group: &JobGroup) -> Option<Vec<Limit>> {
        if !group.asks.needs.is_empty() {
            return None;
        }
        let mut limits: Vec<Rc<Limit>> = Vec::new();
        for (place, candidate) in market.candidates.iter().enumerate() {
            if let Some(capacity) = &candidate.capacity
                && !self.takes(&candidate.node_type, capacity, group)
            {
                continue;
            }
            let (more, limit) = self.allowance(market, place, &group.submitters)?;
            if more > 0 {
                return None;
            }
            if !limits.contains(&limit) {
                limits.push(limit);
            }
        }
        Some(limits.into_iter().map(Rc::unwrap_or_clone).collect())
    }

    /// Every candidate that is not too small, with what is in its way.
    fn offers<'m>(
        &mut self,
        market: &'m Market<'a>,
        wanted: Option<Wanted<'_>>,
    ) -> Vec<Offer<'m, 'a>> {
        let mut offers = Vec::with_capacity(market.candidates.len());
        let mut untold = Vec::new();
        let asks = wanted.map(|wanted| &wanted.group.asks);
        let submitters = wanted.map_or(Submitters::NONE, |wanted| &wanted.group.submitters);
        // Of kinds that may or may not take such jobs one is tried at a time.
        let trying = asks.is_some_and(|asks| self.first_will_tell(market, asks).is_some());
        for (place, candidate) in market.candidates.iter().enumerate() {
            let told = match asks.map_or(MatchAnswer::Takes, |asks| {
                self.answer(&candidate.node_type, asks)
            }) {
                MatchAnswer::Takes => true,
                MatchAnswer::Perhaps(_) if !trying => false,
                MatchAnswer::Perhaps(_) | MatchAnswer::Refuses(_) | MatchAnswer::Unknown(_) => {
                    continue;
                }
            };
            if let (Some(wanted), Some(capacity)) = (wanted, &candidate.capacity)
                && !self.takes(&candidate.node_type, capacity, wanted.group)
            {
                continue;
            }
            let Some((more, limit)) = self.allowance(market, place, submitters) else {
                continue;
            };
            let offer = Offer {
                candidate,
                limit: (more == 0).then_some(limit),
                load: Load::default(),
                figure: None,
                rank: (0, 0),
            };
            if told {
                offers.push(offer);
            } else {
                untold.push(offer);
            }
        }
        // What is known to take them comes first.
        if !offers
            .iter()
            .any(|offer: &Offer<'_, '_>| offer.limit.is_none())
        {
            offers.extend(untold);
        }
        offers
    }

    /// Its figure and rank, where flavors are judged.
    fn judge(&self, market: &Market<'a>, wanted: Option<Wanted<'_>>, offer: &mut Offer<'_, 'a>) {
        let strategy = self.policy.allocation.strategy();
        let rates = &market.rates;
        let Candidate { price, whole, .. } = offer.candidate;
        if !strategy.judges() {
            return;
        }
        // A node type without observations comes last.
        if offer.candidate.capacity.is_none() {
            offer.rank = (i128::MAX, i128::MAX);
            return;
        }
        let Some(wanted) = wanted else {
            (_, offer.rank) = strategy.judge(price + rates.node_cost, None);
            return;
        };
        offer.load = self.load(market, offer.candidate, wanted);
        let Load {
            jobs, demand, used, ..
        } = offer.load;
        let largest = as_number(market.largest.cpus);
        let cores = as_number(demand) / as_number(WHOLE) * largest;
        let share = as_number(dominant_share(&used, whole)) / as_number(WHOLE);
        let cost = rates.cost_per_cpu_hour(*price, jobs, cores);
        let unused = rates.unused_share(as_number(whole.cpus), jobs, share);
        (offer.figure, offer.rank) = strategy.judge(cost, Some(unused));
    }

    /// The cloud whose turn it is among those that can.
    fn cloud_in_turn(&mut self, offers: &[Offer<'_, 'a>]) -> Option<&'a CloudPolicy> {
        let open = || offers.iter().filter(|offer| offer.limit.is_none());
        let last_resort = open().all(|offer| offer.candidate.cloud.weight == 0);
        let mut clouds: Vec<&'a CloudPolicy> = Vec::new();
        for offer in open().filter(|offer| last_resort || offer.candidate.cloud.weight > 0) {
            let cloud = offer.candidate.cloud;
            // The flavors of a cloud stand together.
            if clouds.last().is_none_or(|last| last.name != cloud.name) {
                clouds.push(cloud);
            }
        }
        let weights: Vec<(&str, u64)> = clouds
            .iter()
            .map(|cloud| (cloud.name.as_str(), cloud.weight))
            .collect();
        if clouds.is_empty() {
            return None;
        }
        let mut turns = Turns {
            owed: &mut self.next.turns,
            seed: &mut self.next.turn,
        };
        let strategy = self.policy.allocation.strategy();
        let position = strategy.turn(&mut turns, &weights)?;
        clouds.get(position).copied()
    }

    fn basis(&self, chosen: &Offer<'_, 'a>, others: &[Offer<'_, 'a>]) -> Basis {
        let weight = chosen.candidate.cloud.weight;
        let mut open: Vec<&CloudPolicy> = vec![chosen.candidate.cloud];
        for offer in others.iter().filter(|offer| offer.limit.is_none()) {
            if open
                .iter()
                .all(|cloud| cloud.name != offer.candidate.cloud.name)
            {
                open.push(offer.candidate.cloud);
            }
        }
        let weights = open
            .iter()
            .fold(0u64, |sum, cloud| sum.saturating_add(cloud.weight));
        self.policy.allocation.strategy().basis(weight, weights)
    }

    /// Replacements for nodes with an outdated image come first.
    fn replacement(&self, market: &Market<'a>, wanted: Option<Wanted<'_>>) -> Option<Chosen<'a>> {
        let node_type = self.replacement_for(wanted.map(|wanted| wanted.group))?;
        let cloud = self.policy.cloud(&node_type.cloud)?;
        let candidate = self.candidate(cloud, node_type, &market.rates);
        candidate.capacity.as_ref()?;
        let load = wanted.map(|wanted| self.load(market, &candidate, wanted));
        Some(Chosen {
            cloud,
            choice: (market.candidates.len() > 1).then(|| Choice {
                cloud: cloud.name.clone(),
                flavor: candidate.node_type.flavor.clone(),
                basis: Basis::Replacement,
                figure: None,
                others: Vec::new(),
                others_not_named: 0,
            }),
            load: load.unwrap_or_default(),
            node_type: candidate.node_type,
        })
    }
}

impl From<Offer<'_, '_>> for Other {
    fn from(offer: Offer<'_, '_>) -> Other {
        Other {
            cloud: offer.candidate.cloud.name.clone(),
            flavor: offer.candidate.node_type.flavor.clone(),
            figure: offer.figure,
            limit: offer.limit.map(Rc::unwrap_or_clone),
        }
    }
}

/// What is in the way of them, in their order.
fn each_once(offers: Vec<Offer<'_, '_>>) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    for limit in offers.into_iter().filter_map(|offer| offer.limit) {
        if !limits.contains(&limit) {
            limits.push(Rc::unwrap_or_clone(limit));
        }
    }
    limits
}

/// Where clouds come in turn and flavors in order: of the chosen cloud only what stands before it and is limited, of each
/// other cloud what would have been made in it.
fn only_what_could_have_been(
    chosen: &Offer<'_, '_>,
    before: usize,
    others: &mut Vec<Offer<'_, '_>>,
) {
    let own = &chosen.candidate.cloud.name;
    let cloud = |offer: &Offer<'_, '_>| offer.candidate.cloud.name.clone();
    let opens: Vec<String> = others
        .iter()
        .filter(|offer| offer.limit.is_none())
        .map(cloud)
        .collect();
    let mut named: Vec<String> = Vec::new();
    let mut position = 0;
    others.retain(|offer| {
        let stands_before = position < before;
        position += 1;
        let cloud = cloud(offer);
        if cloud == *own {
            return stands_before;
        }
        let is_its_choice = offer.limit.is_none() || !opens.contains(&cloud);
        let first = is_its_choice && !named.contains(&cloud);
        if first {
            named.push(cloud);
        }
        first
    });
}

#[allow(clippy::cast_precision_loss)] // Six digits are more than enough to choose by.
fn as_number(count: u64) -> f64 {
    count as f64
}
