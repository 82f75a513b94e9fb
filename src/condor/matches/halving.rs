//! Questions of one owner that are asked by themselves, by halves, until the one that HTCondor does not take is found.

use std::collections::{BTreeMap, BTreeSet};

use scaling::job_requirements::{MatchResult, RequirementsDigest};
use scaling::observation::Observed;
use system::deadline::Deadline;

use super::{MatchFailure, Matching, Node, Question};

/// One owner's questions, asked by themselves.
pub(super) struct Halving<'a, 'b> {
    pub matching: &'a Matching<'b>,
    pub node: &'a Node<'b>,
    pub questions: &'a [Question<'a>],
    pub deadline: Deadline,
    /// Processes that may still be started.
    pub left: usize,
    pub found: &'a mut BTreeMap<usize, Observed<MatchResult>>,
    /// Requirements of jobs that take too long.
    pub slow: BTreeSet<String>,
    pub failure: &'a mut Option<String>,
}

impl Halving<'_, '_> {
    pub fn ask(&mut self, places: &[usize]) {
        let questions: Vec<Question> = places
            .iter()
            .filter_map(|place| self.questions.get(*place).copied())
            .collect();
        let Some(first) = questions.first() else {
            return;
        };
        let needs = first.jobs.needs.clone();
        let too_late = self.left == 0 || self.deadline.passed();
        self.left = self.left.saturating_sub(1);
        let answers = match too_late {
            true => Err(MatchFailure {
                why: self.beside_slow(&needs),
                slow: false,
            }),
            false => {
                let limits = self.matching.limits(questions.len(), self.deadline.left());
                self.matching.verdicts(self.node, &questions, limits)
            }
        };
        let trouble = match answers {
            Ok(answers) => {
                self.found.extend(places.iter().copied().zip(answers));
                return;
            }
            Err(trouble) => trouble,
        };
        if let Some((one, other)) = places.split_at_checked(places.len() / 2)
            && !too_late
            && !one.is_empty()
        {
            self.ask(one);
            self.ask(other);
            return;
        }
        let why = match trouble.slow && !self.deadline.passed() {
            true => {
                self.slow.insert(needs.0.clone());
                self.matching.too_slow(&needs)
            }
            false => {
                // The time was too short to tell.
                let why = match trouble.slow {
                    true => self.beside_slow(&needs),
                    false => trouble.why,
                };
                self.failure.get_or_insert_with(|| why.clone());
                why
            }
        };
        for place in places {
            self.found.insert(*place, Observed::Unknown(why.clone()));
        }
    }

    fn beside_slow(&self, needs: &RequirementsDigest) -> String {
        let owner = self.matching.owners.get(needs);
        let name = owner.and_then(|owner| owner.name.as_deref());
        format!(
            "Requirements of {} take HTCondor too long to evaluate; the next tick asks about the rest of this owner's jobs",
            name.unwrap_or("an unknown owner")
        )
    }
}
