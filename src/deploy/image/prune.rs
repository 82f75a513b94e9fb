//! Which images of this pool may be deleted. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::inventory::is_configured;
use openstack::CloudSettings;
use openstack::owned_image::OwnedImage;
use scaling::sorting;

/// An image that is not whole may be on its way for so long.
const UNDER_WAY: Duration = Duration::from_secs(86_400);

/// Why an image stays, or that it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneDecision {
    /// The configuration names it.
    Configured,
    /// So many servers boot from it.
    InUse(u64),
    /// A server whose image cannot be read may boot from it.
    UseUnknown,
    /// It cannot be deleted.
    Protected,
    /// Other projects see it, and what they do with it cannot be seen from here.
    Shared,
    /// It is one of the newest.
    Newest,
    /// It may be on its way.
    UnderWay,
    /// Ticks run on this pool's central manager, whose configuration cannot be seen from here and may name it.
    OthersConfiguration,
    /// Not all clouds say whether there is such a central manager.
    OthersUnknown,
    /// It goes.
    Pruned,
}

/// Whether the configuration here is the one that nodes are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticks {
    /// Ticks run here, or there is no central manager where they could.
    Here,
    /// They run on a central manager that `ehos master deploy` made.
    OnTheMaster,
    /// A cloud where there may be such a one does not answer.
    Unknown,
}

/// What becomes of each of `images` of one cloud, in their order, when the `keep` newest that are whole stay, and all
/// that are in use: `in_use` says by image how many servers boot from it, `more_in_use` that some may boot from any. None goes but where the configuration, whose
/// clouds are `clouds`, is the one that nodes are made by.
pub fn decisions(
    images: &[OwnedImage],
    keep: usize,
    (in_use, more_in_use): (&BTreeMap<String, u64>, bool),
    clouds: &[&CloudSettings],
    ticks: Ticks,
    now: Timestamp,
) -> Vec<PruneDecision> {
    let mut ages: Vec<&OwnedImage> = images.iter().filter(|image| image.is_whole()).collect();
    sorting::by(&mut ages, |a, b| {
        (b.image().created_at, &b.image().id).cmp(&(a.image().created_at, &a.image().id))
    });
    ages.truncate(keep);
    let decide = |image: &OwnedImage| {
        let age = now.duration_since(image.image().created_at);
        if is_configured(image, clouds.iter().copied()) {
            PruneDecision::Configured
        } else if let Some(servers) = in_use.get(&image.image().id) {
            PruneDecision::InUse(*servers)
        } else if image.image().protected {
            PruneDecision::Protected
        } else if image.is_shared() {
            PruneDecision::Shared
        } else if ages.iter().any(|kept| kept.image().id == image.image().id) {
            PruneDecision::Newest
        } else if !image.is_whole() && Duration::try_from(age).unwrap_or_default() < UNDER_WAY {
            PruneDecision::UnderWay
        } else {
            match ticks {
                _ if more_in_use => PruneDecision::UseUnknown,
                Ticks::Here => PruneDecision::Pruned,
                Ticks::OnTheMaster => PruneDecision::OthersConfiguration,
                Ticks::Unknown => PruneDecision::OthersUnknown,
            }
        }
    };
    images.iter().map(decide).collect()
}
