//! Which jobs count, and what they are grouped by.

use super::GROUP_BY;
use crate::plain;
use ads::answer::quoted;
use ads::expression::references;
use ads::folded::PARALLEL;
use ads::job_ad::Columns;

/// Which jobs count.
#[derive(Debug, Clone)]
pub(crate) struct JobFilter {
    /// A ClassAd expression that is true for jobs of the right universe that the site wants counted.
    pub counted: String,
    /// The site's own constraint.
    pub(super) site: Option<String>,
    /// `-attributes`: what jobs are grouped by.
    pub group_by: Vec<String>,
    /// Their Requirements are asked for.
    pub requirements: bool,
    /// Nodes serve the parallel universe.
    pub parallel: bool,
}

impl JobFilter {
    /// Jobs of `universes` (vanilla when empty) for which the site's constraint is true.
    pub fn new(universes: &[u32], job_constraint: Option<&str>, requirements: bool) -> JobFilter {
        let parallel = universes.iter().any(|one| u64::from(*one) == PARALLEL);
        let mut all: Vec<u64> = universes.iter().copied().map(u64::from).collect();
        if all.is_empty() {
            all.push(5);
        }
        if !parallel {
            // They are counted and told, and no node is made for them.
            all.push(PARALLEL);
        }
        let universes: Vec<String> = all
            .iter()
            .map(|universe| format!("unparse(JobUniverse) == \"{universe}\""))
            .collect();
        let universes = universes.join(" || ");
        // A job router has made another job of these; that one counts.
        let mut counted = format!(
            "({universes}) && unparse(Managed) =!= {}",
            quoted("\"External\"")
        );
        let mut group_by: Vec<String> = GROUP_BY.iter().map(|name| (*name).to_owned()).collect();
        if requirements {
            group_by.push("Requirements".to_owned());
        }
        if let Some(site) = job_constraint {
            let names = references(site);
            // Of a job with an expression there it is known later whether it counts.
            counted.push_str(&match names.is_empty() {
                true => format!(" && ({site})"),
                false => format!(
                    " && (({}) =!= true || ({site}))",
                    plain::literals(names.iter().map(String::as_str))
                ),
            });
            for name in names {
                add(&mut group_by, &name);
            }
        }
        JobFilter {
            counted,
            site: job_constraint.map(str::to_owned),
            group_by,
            requirements,
            parallel,
        }
    }

    /// `-attributes`, with these columns.
    pub fn group_by(&self, columns: &Columns) -> Vec<String> {
        let mut group_by = self.group_by.clone();
        for name in columns.all() {
            add(&mut group_by, name);
        }
        group_by
    }

    /// An expression that is true for jobs that may be asked for by these attributes.
    pub(super) fn plain(&self, columns: &Columns) -> String {
        plain::plain(&self.group_by(columns), self.requirements)
    }

    /// Idle jobs that count, however long they have been idle.
    pub fn idle(&self) -> String {
        format!("unparse(JobStatus) == \"1\" && {}", self.counted)
    }
}

pub(super) fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        names.push(name.to_owned());
    }
}
