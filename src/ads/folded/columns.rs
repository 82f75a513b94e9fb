//! The columns of a line of `condor_q`.

use super::{AD_MAX, Folded, GROUP_MAX, LIMITS_MAX, OWNER_MAX, REQUEST_MAX, REQUESTS};
use crate::column;
use crate::job_ad::Columns;

impl Folded {
    /// The arguments of `-af:t`.
    pub fn expressions(columns: &Columns, requirements: bool, grouped: bool) -> Vec<String> {
        // An attribute of the user's own could be called JobCount.
        let mut all = vec![if grouped { "JobCount" } else { "1" }.to_owned()];
        all.extend(Self::EXPRESSIONS.map(str::to_owned));
        // What is named here is part of the group, so that no group has the number of a job.
        all.push(
            match grouped {
                true => "JobIds",
                false => "strcat(ClusterId, \".\", ProcId)",
            }
            .to_owned(),
        );
        all.extend(Self::NUMBERS.map(str::to_owned));
        all.push(column::text("AcctGroup", GROUP_MAX));
        all.push(column::text("ConcurrencyLimits", LIMITS_MAX));
        all.extend(REQUESTS.map(|name| column::expression(name, REQUEST_MAX)));
        all.extend(Self::DEFERRAL.map(str::to_owned));
        all.push(column::text("Owner", OWNER_MAX));
        all.push("int(NumShadowStarts)".to_owned());
        if requirements {
            all.push(column::expression("Requirements", AD_MAX));
            let columns = columns.all().into_iter();
            all.extend(columns.map(|name| column::expression(name, AD_MAX)));
        }
        all
    }

    /// The columns of an ad that is evaluated by itself: all numbers of a line, and whether the site's constraint is true.
    pub fn evaluated(site: Option<&str>) -> Vec<String> {
        let mut all: Vec<String> = Self::EXPRESSIONS.map(str::to_owned).into();
        all.extend(Self::NUMBERS.map(str::to_owned));
        all.push(column::text("AcctGroup", GROUP_MAX));
        all.push(column::text("ConcurrencyLimits", LIMITS_MAX));
        all.extend(Self::DEFERRAL.map(str::to_owned));
        all.push(format!("ifThenElse(({}), 1, 0)", site.unwrap_or("true")));
        all
    }
}
