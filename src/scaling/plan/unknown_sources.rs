//! Sources that did not answer in full, and flavors that do not exist.

use std::collections::BTreeMap;

use super::{UnknownSource, retiring};
use crate::job_requirements::{JobFault, OwnerBound};
use crate::observation::{CloudView, CollectorView, Observation, Observed};
use crate::policy::{CloudPolicy, Policy};
use crate::sorting;
use crate::source::{Source, SourceKind};
use crate::state::State;

/// Owners whose jobs are named beyond their share; of more only the first are.
const MAX_OWNERS_TOLD: usize = 20;

/// The jobs that are not read because their owner's share is used up, those of the owners with the most first.
fn beyond_shares(observation: &Observation) -> Vec<UnknownSource> {
    let mut jobs: BTreeMap<(&Option<String>, OwnerBound), u64> = BTreeMap::new();
    let schedds = observation
        .pool
        .schedds
        .values()
        .filter_map(Observed::known);
    for demand in schedds.flat_map(|schedd| &schedd.demand) {
        if let Some(JobFault::OwnerBound { owner, bound }) = &demand.fault {
            let sum = jobs.entry((owner, *bound)).or_default();
            *sum = sum.saturating_add(demand.jobs);
        }
    }
    let mut jobs: Vec<_> = jobs.into_iter().collect();
    sorting::by_key(&mut jobs, |(which, jobs)| {
        (std::cmp::Reverse(*jobs), *which)
    });
    let told = jobs.into_iter().take(MAX_OWNERS_TOLD);
    told.map(|((owner, bound), jobs)| {
        let owner = owner.as_deref().unwrap_or("an unknown owner");
        let why = format!("no node is created for {jobs} of them: {bound}");
        unknown(Source::new(SourceKind::Jobs, owner), why)
    })
    .collect()
}

fn unknown(source: Source, why: impl Into<String>) -> UnknownSource {
    UnknownSource {
        source,
        why: why.into(),
    }
}

/// Every unknown source, and every missing flavor.
pub(super) fn unseen(
    observation: &Observation,
    policy: &Policy,
    state: &State,
) -> Vec<UnknownSource> {
    let mut all = Vec::new();
    match &observation.pool.collector {
        Observed::Unknown(why) => all.push(unknown(Source::only(SourceKind::Collector), why)),
        Observed::Known(collector) => all.extend(ads(collector)),
    }
    for (name, schedd) in &observation.pool.schedds {
        let why = schedd.why_unknown();
        all.extend(why.map(|why| unknown(Source::new(SourceKind::Schedd, name), why)));
    }
    all.extend(beyond_shares(observation));
    all.extend(of_clouds(
        observation,
        SourceKind::Cloud,
        Observed::why_unknown,
    ));
    let matches = observation.matches.failure();
    all.extend(matches.map(|why| unknown(Source::only(SourceKind::Matches), why)));
    all.extend(of_clouds(observation, SourceKind::Leftovers, |cloud| {
        cloud.known()?.leftovers.why_unknown()
    }));
    all.extend(of_clouds(observation, SourceKind::Limits, |cloud| {
        cloud.known()?.parts.why_unknown()
    }));
    all.extend(retiring::removed(state, |cloud| {
        observation.clouds.contains_key(cloud)
    }));
    for cloud in policy.clouds.iter().filter(|cloud| !cloud.retire) {
        if let Some(Observed::Known(view)) = observation.clouds.get(&cloud.name) {
            all.extend(flavors(cloud, view));
        }
    }
    all
}

/// Unreadable ads, and forged ads.
fn ads(collector: &CollectorView) -> impl Iterator<Item = UnknownSource> {
    let unreadable = collector.unreadable.iter().map(|ad| {
        let hides = match ad.owner_known {
            true => "",
            false => ", and ehos keeps silent nodes to which it may belong",
        };
        let why = format!(
            "{}: the slot counts as claimed{hides}; correct what the startd publishes (condor_status -long)",
            ad.what
        );
        unknown(Source::new(SourceKind::Slot, ad.slot_name()), why)
    });
    let forged = collector.forged.iter().map(|ad| {
        let source = Source::new(SourceKind::Ad, ad.of.to_string());
        unknown(source, &ad.why)
    });
    unreadable.chain(forged)
}

/// The clouds for which `why` returns a reason. Messages of the client begin with the name of the cloud.
fn of_clouds(
    observation: &Observation,
    kind: SourceKind,
    why: impl Fn(&Observed<CloudView>) -> Option<&str>,
) -> Vec<UnknownSource> {
    let clouds = observation.clouds.iter();
    let clouds = clouds.filter_map(|(name, cloud)| {
        let why = why(cloud)?;
        let prefix = format!("cloud {name}: ");
        let why = why.strip_prefix(&prefix).unwrap_or(why);
        Some(unknown(Source::new(kind, name), why))
    });
    clouds.collect()
}

/// Configured flavors of a cloud that are unreadable or missing.
fn flavors(cloud: &CloudPolicy, view: &CloudView) -> Vec<UnknownSource> {
    let flavors = cloud.flavors.iter().filter_map(|flavor| {
        let why = match view.unread_flavors.get(flavor) {
            Some(why) => format!(
                "{why}: no node of this flavor is created; have the operators of the cloud correct it"
            ),
            None if view.flavors.contains_key(flavor) => return None,
            None => "not found in this cloud for this project: no node of this flavor is created; \
                     correct `flavor` in the configuration of this cloud"
                .to_owned(),
        };
        let name = format!("{flavor} of cloud {}", cloud.name);
        Some(unknown(Source::new(SourceKind::Flavor, name), why))
    });
    flavors.collect()
}
