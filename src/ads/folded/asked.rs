//! What Requirements ask for. Thousands of job groups have few different ones, which are read once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::ending::{self, AskedFor, Ending};
use super::{AD_MAX, ADS_MAX, ALL_ADS_MAX, Folded, PARALLEL, REQUESTS};
use crate::column::LONG;
use crate::job_ad::{JobAd, JobColumns, Unread};
use scaling::job_requirements::{JobFault, OwnerBound, RequirementsDigest};
use scaling::sorting::IntoMap;

/// Jobs that refer to more attributes ask for no columns: they are read one by one.
const NAMES_MAX: usize = 30;

/// Texts of [`Known`], in bytes. The others are read anew: nothing is lost with them.
const KNOWN_MAX: usize = 2 * 1024 * 1024;

/// What was asked for before, by the part of an ending that it depends on.
#[derive(Debug, Default)]
pub(super) struct Known {
    asked: HashMap<String, AskedFor>,
    bytes: usize,
}

impl Folded {
    /// What the Requirements of an ending, and the columns that they refer to, ask for.
    pub(super) fn asked(
        &mut self,
        ending: &mut Ending<'_>,
        number: Option<[u64; 2]>,
        owner: &Option<String>,
    ) -> Option<AskedFor> {
        if number.is_some() || self.told_whole.is_some() {
            return self.read_asked(ending, number, owner);
        }
        let key = ending.asked_key();
        if let Some(known) = self.known.asked.get(&key) {
            return Some(known.clone());
        }
        let asked = self.read_asked(ending, None, owner)?;
        // A fault may be the owner's alone.
        if asked.fault.is_none() && self.known.bytes < KNOWN_MAX {
            self.known.bytes += key.len();
            self.known.asked.insert(key, asked.clone());
        }
        Some(asked)
    }

    fn read_asked(
        &mut self,
        ending: &mut Ending<'_>,
        number: Option<[u64; 2]>,
        owner: &Option<String>,
    ) -> Option<AskedFor> {
        let whole = self.told_whole.clone();
        let requirements = ending.rest.next()?;
        // Each column has its value, which may be empty.
        let columns: BTreeMap<&str, &str> = match &whole {
            Some(ad) => {
                ending.rest.next()?;
                let all = ad.iter();
                all.map(|(name, text)| (name.as_str(), text.as_str()))
                    .into_map()
            }
            None => {
                let columns = self.columns.all().into_iter();
                let columns = columns.map(|name| Some((name, ending.rest.next()?)));
                columns.collect::<Option<_>>()?
            }
        };
        if ending.rest.next().is_some() {
            return None;
        }
        let mut asked = AskedFor::default();
        if requirements.is_empty() {
            return Some(asked);
        }
        let job = JobColumns {
            universe: ending.universe,
            requirements,
            requests: std::array::from_fn(|which| {
                let name = REQUESTS.get(which).copied().unwrap_or_default();
                (
                    name,
                    ending.requests.get(which).copied().unwrap_or_default(),
                )
            }),
            number,
            whole: whole.is_some(),
        };
        let beyond = |bound| {
            Some(JobFault::OwnerBound {
                owner: owner.clone(),
                bound,
            })
        };
        let mut names = BTreeSet::new();
        match ad(&job, &columns, &self.columns.nodes_ask, &mut names) {
            Ok(ad) => {
                asked.machine_requests = ad.machine_requests().next().is_some();
                asked.by_number = ad.is_numbered();
                match self.keep_ad(ad, owner) {
                    Some(needs) => asked.needs = needs,
                    None => asked.fault = beyond(OwnerBound::Requirements),
                }
            }
            Err(Unread::Long(attribute)) => {
                asked.fault = Some(ending::unread(&attribute, &ending::longer(AD_MAX)));
            }
            Err(Unread::Steps) => asked.fault = beyond(OwnerBound::Time),
            Err(why) => {
                asked.by_number = why == Unread::Number;
                asked.needs = why.needs();
            }
        }
        if names.len() <= NAMES_MAX {
            asked.names = Rc::new(names);
        }
        Some(asked)
    }

    fn keep_ad(&mut self, ad: JobAd, owner: &Option<String>) -> Option<RequirementsDigest> {
        let needs = ad.needs();
        if self.ads.contains_key(&needs) {
            return Some(needs);
        }
        let size = ad.size();
        let share = self.shares.entry(owner.clone()).or_default();
        if share.ads_bytes + size > ADS_MAX || self.all.ads_bytes + size > ALL_ADS_MAX {
            return None;
        }
        share.ads_bytes += size;
        self.all.ads_bytes += size;
        self.ads.insert(needs.clone(), ad);
        Some(needs)
    }
}

/// The ad of such jobs. All names that it refers to are put into `names`.
fn ad(
    job: &JobColumns<'_>,
    columns: &BTreeMap<&str, &str>,
    nodes_ask: &BTreeSet<String>,
    names: &mut BTreeSet<String>,
) -> Result<JobAd, Unread> {
    if job.universe != PARALLEL || job.requirements == LONG {
        return JobAd::of(job, columns, nodes_ask, names);
    }
    // The dedicated scheduler claims no other slots. Source: HTCondor manual, "Configuration for dedicated scheduling".
    let requirements = format!(
        "({}) && (TARGET.DedicatedScheduler =?= MY.Scheduler)",
        job.requirements
    );
    let with_scheduler = JobColumns {
        requirements: &requirements,
        ..*job
    };
    JobAd::of(&with_scheduler, columns, nodes_ask, names)
}
