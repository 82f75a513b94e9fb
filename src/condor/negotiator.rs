//! What the negotiator would hold jobs back for although there is room: concurrency limits, and quotas of accounting
//! groups. Asked only when a waiting job names one.
//!
//! Both are public: how much is in use of a limit stands in the ads of the slots that are claimed
//! (`ConcurrencyLimits`), groups have an ad of their own in the collector (`Accounting`), and how much there may be of a
//! limit is in the negotiator's configuration.
//!
//! A quota is a ceiling only if the group takes no surplus and the quota is a number: a share of
//! the pool grows with it.

use std::collections::{BTreeMap, BTreeSet};

use super::command::Tools;
use super::error::Error;
use ads::answer::{excerpt, string, values};
use ads::concurrency_limits::concurrency_limits;
use scaling::job_requirements::with_parents;
use scaling::observation::{Ceiling, Demand, NegotiatorView};
use scaling::sorting;
use scaling::sorting::IntoMap;
use system::deadline::Deadline;

/// More limits than these are not asked about: each is an argument of a tool.
const LIMITS_MAX: usize = 200;

/// More lines of groups without a name are not told.
const ODD_MAX: usize = 3;

/// What waiting jobs may be held back for, by names in small letters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    limits: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Named {
    /// What these jobs name.
    pub(super) fn by<'a>(demand: impl Iterator<Item = &'a Demand>) -> Named {
        let mut jobs: BTreeMap<&str, u64> = BTreeMap::new();
        let mut groups = BTreeSet::new();
        for demand in demand {
            for name in demand
                .concurrency_limits
                .keys()
                .filter(|name| is_limit(name))
            {
                let jobs = jobs.entry(name).or_default();
                *jobs = jobs.saturating_add(demand.jobs);
            }
            let group = demand.accounting_group.as_deref();
            groups.extend(group.into_iter().flat_map(with_parents).map(str::to_owned));
        }
        let mut limits: Vec<(&str, u64)> = jobs.into_iter().collect();
        if limits.len() > LIMITS_MAX {
            log::warn!(
                "idle jobs name {} concurrency limits; the negotiator is asked about the {LIMITS_MAX} that most of them name, \
                 and the others hold nothing back",
                limits.len()
            );
            sorting::by_key(&mut limits, |(_, jobs)| std::cmp::Reverse(*jobs));
            limits.truncate(LIMITS_MAX);
        }
        let limits = limits.into_iter().map(|(name, _)| name.to_owned());
        Named {
            limits: limits.collect(),
            groups,
        }
    }
}

/// A name of a user's that may stand in a query.
fn is_limit(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    name.len() <= 100 && !name.starts_with('.') && name.chars().all(is_word)
}

/// What holds of it, and how much is in use.
pub(super) fn observe(
    tools: &Tools,
    address: Option<&str>,
    named: &Named,
    deadline: Deadline,
) -> Result<NegotiatorView, Error> {
    let ask = Ask {
        tools,
        address,
        deadline,
    };
    let mut view = NegotiatorView::default();
    if !named.limits.is_empty() {
        let maxima = ask.maxima(&named.limits, &mut view.unread)?;
        if !maxima.is_empty() {
            let used = ask.limits_in_use()?;
            for (name, limit) in maxima {
                let used = used.get(&name).copied().unwrap_or(0.0);
                view.concurrency_limits
                    .insert(name, Ceiling { limit, used });
            }
        }
    }
    if !named.groups.is_empty() {
        view.group_quotas = ask.quotas(&named.groups, &mut view.unread)?;
    }
    Ok(view)
}

struct Ask<'a> {
    tools: &'a Tools,
    /// `MyAddress` of the negotiator.
    address: Option<&'a str>,
    deadline: Deadline,
}

impl Ask<'_> {
    fn run<A: Default>(
        &self,
        tool: &str,
        args: &[&str],
        line: impl FnMut(&mut A, &str) -> Result<(), String>,
    ) -> Result<A, Error> {
        let call = self.tools.to_pool(tool, args, "limits of the negotiator");
        self.tools.run(&call, self.deadline, A::default(), line)
    }

    /// How much there may be of each that has a limit: its own, that of the group before its dot, or that of all.
    /// One that is no number limits nothing, and is told in `unread`.
    fn maxima(
        &self,
        limits: &BTreeSet<String>,
        unread: &mut Vec<String>,
    ) -> Result<BTreeMap<String, f64>, Error> {
        const OF_ALL: &str = "CONCURRENCY_LIMIT_DEFAULT";
        let own = |name: &str| format!("{name}_LIMIT");
        let of_group = |name: &str| {
            let (group, _) = name.split_once('.')?;
            Some(format!("{OF_ALL}_{group}"))
        };
        let mut settings = BTreeSet::from([OF_ALL.to_owned()]);
        for name in limits {
            settings.insert(own(name));
            settings.extend(of_group(name));
        }
        // `condor_config_val -pool P -negotiator` takes only names of daemons.
        let pool = self.tools.pool().filter(|_| self.address.is_none());
        let tools = &self.tools.of_pool(pool);
        let mut args = match self.address {
            Some(address) => vec!["-addr", address],
            None => vec!["-negotiator"],
        };
        args.extend(settings.iter().map(String::as_str));
        // One line for each, `Not defined` for some.
        let said: Vec<String> =
            Ask { tools, ..*self }.run("condor_config_val", &args, |said: &mut Vec<_>, line| {
                said.push(line.trim().to_owned());
                Ok(())
            })?;
        if said.len() != settings.len() {
            return Err(Error::Unparsable {
                tool: "condor_config_val".to_owned(),
                about: "limits of the negotiator".to_owned(),
                what: format!("{} lines for {} settings", said.len(), settings.len()),
            });
        }
        let mut values: BTreeMap<&String, f64> = BTreeMap::new();
        for (setting, value) in settings.iter().zip(said) {
            if value == "Not defined" {
                continue;
            }
            match number(&value) {
                Ok(number) => drop(values.insert(setting, number)),
                Err(why) => unread.push(format!("{setting} of the negotiator: {why}")),
            }
        }
        let said = values;
        let limit = |name: &String| {
            let group = of_group(name);
            let limit = said
                .get(&own(name))
                .or_else(|| said.get(&group?))
                .or_else(|| said.get(&OF_ALL.to_owned()))?;
            Some((name.clone(), *limit))
        };
        Ok(limits.iter().filter_map(limit).into_map())
    }

    /// How much claimed slots use of each.
    fn limits_in_use(&self) -> Result<BTreeMap<String, f64>, Error> {
        let args = [
            "-constraint",
            "ConcurrencyLimits =!= undefined",
            "-af:t",
            "unparse(ConcurrencyLimits)",
        ];
        self.run(
            "condor_status",
            &args,
            |used: &mut BTreeMap<_, f64>, line| {
                // What a slot uses that cannot be read is not counted: at worst a node is made too early.
                let limits = values(line).ok().and_then(|[limits]| string(limits));
                for (name, weight) in concurrency_limits(&limits.unwrap_or_default()) {
                    *used.entry(name).or_default() += weight;
                }
                Ok(())
            },
        )
    }

    /// Of these groups such as may use no more than they have: without surplus of others, and with a number as their
    /// quota. One that is a share (at most 1) grows with the pool. One that cannot be read holds nothing back, and is told
    /// in `unread`.
    fn quotas(
        &self,
        groups: &BTreeSet<String>,
        unread: &mut Vec<String>,
    ) -> Result<BTreeMap<String, Ceiling>, Error> {
        let args = [
            "-any",
            "-constraint",
            "MyType == \"Accounting\" && IsAccountingGroup",
            "-af:t",
            "unparse(Name)",
            "ConfigQuota",
            "unparse(SurplusPolicy)",
            "WeightedResourcesUsed",
        ];
        let (quotas, odd) = self.run(
            "condor_status",
            &args,
            |(quotas, odd): &mut (BTreeMap<String, Ceiling>, Vec<String>), line| {
                let mut columns = line.splitn(2, '\t');
                let name = columns.next().and_then(string);
                let Some(name) = name.map(|name| name.to_ascii_lowercase()) else {
                    if odd.len() < ODD_MAX && !line.trim().is_empty() {
                        odd.push(format!("an accounting group: {}", excerpt(line)));
                    }
                    return Ok(());
                };
                if !groups.contains(&name) {
                    return Ok(());
                }
                match quota(columns.next().unwrap_or_default()) {
                    Ok(Some(ceiling)) => drop(quotas.insert(name, ceiling)),
                    Ok(None) => {}
                    Err(why) => odd.push(format!("accounting group {name}: {why}")),
                }
                Ok(())
            },
        )?;
        unread.extend(odd);
        Ok(quotas)
    }
}

/// The quota of a group that has one of its own.
fn quota(columns: &str) -> Result<Option<Ceiling>, String> {
    let [quota, surplus, used] = values(columns)?;
    let surplus =
        string(surplus).ok_or_else(|| format!("no SurplusPolicy: {}", excerpt(surplus)))?;
    let (limit, used) = (number(quota)?, number(used)?);
    let is_number = limit > 1.0 || limit == 0.0;
    Ok((surplus == "no" && is_number).then_some(Ceiling { limit, used }))
}

fn number(value: &str) -> Result<f64, String> {
    let number = value
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("no amount: {}", excerpt(value)))
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub(super) fn read_anything(text: &str) {
    for line in text.lines() {
        let _ = (quota(line), number(line), is_limit(line));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fake::FakeTools;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A pool with limits, groups, and jobs that use them (recorded from HTCondor 23.9.6).
    fn recorded() -> FakeTools {
        let fake = FakeTools::new();
        fake.replay("condor_config_val", "-negotiator", "config-val-limits.txt");
        fake.replay(
            "condor_status",
            "unparse(ConcurrencyLimits)",
            "status-limits.txt",
        );
        fake.replay("condor_status", "-any", "status-groups.txt");
        fake
    }

    fn named(limits: &[&str], groups: &[&str]) -> Named {
        let demand = Demand {
            concurrency_limits: limits
                .iter()
                .map(|name| ((*name).to_owned(), 1.0))
                .collect(),
            ..Demand::default()
        };
        let group = |name: &&str| Demand {
            accounting_group: Some((*name).to_owned()),
            ..Demand::default()
        };
        let groups: Vec<Demand> = groups.iter().map(group).chain([demand]).collect();
        Named::by(groups.iter())
    }

    fn ask(fake: &FakeTools, named: &Named) -> Result<NegotiatorView, Error> {
        observe(&fake.tools(LIMIT), None, named, Deadline::within(LIMIT))
    }

    #[test]
    fn the_negotiator_of_another_pool_is_asked_at_its_address() {
        let fake = recorded();
        fake.answer(
            "condor_config_val",
            "-addr",
            "out|Not defined\nout|2\nexit=0\n",
        );
        let tools = fake.tools(LIMIT);
        let tools = tools.of_pool(Some("pool.example"));
        let named = named(&["sw"], &[]);
        let deadline = Deadline::within(LIMIT);
        observe(&tools, Some("<10.0.0.1:9618>"), &named, deadline).unwrap();
        let calls = fake.calls();
        let asked = "condor_config_val -addr <10.0.0.1:9618> CONCURRENCY_LIMIT_DEFAULT";
        assert!(calls.contains(asked), "{calls}");
    }

    #[test]
    fn what_holds_is_told_with_what_is_in_use() {
        let fake = recorded();
        let groups = ["group_phys", "group_bio", "group_phys.a", "other"];
        let view = ask(&fake, &named(&["sw", "lic.a"], &groups)).unwrap();
        let ceiling = |limit, used| Ceiling { limit, used };
        let limits = [("lic.a", ceiling(4.0, 2.0)), ("sw", ceiling(2.0, 2.0))];
        let limits = limits.map(|(name, ceiling)| (name.to_owned(), ceiling));
        assert_eq!(view.concurrency_limits, BTreeMap::from(limits));
        // A share of the pool, and surplus of others, are no ceiling.
        let quotas = [
            ("group_phys", ceiling(2.0, 2.0)),
            ("group_phys.a", ceiling(0.0, 0.0)),
        ];
        let quotas = quotas.map(|(name, ceiling)| (name.to_owned(), ceiling));
        assert_eq!(view.group_quotas, BTreeMap::from(quotas));
    }

    #[test]
    fn only_what_jobs_name_is_asked_for() {
        let fake = recorded();
        assert_eq!(
            ask(&fake, &named(&[], &[])).unwrap(),
            NegotiatorView::default()
        );
        assert_eq!(fake.calls(), "");
        ask(&fake, &named(&[], &["group_bio"])).unwrap();
        assert_eq!(fake.calls().lines().count(), 1);
        // Names of users' choice, which are arguments of a tool.
        let odd = named(&["-pool", "a b", "$(x)", "..", &"x".repeat(101)], &[]);
        assert_eq!(odd, Named::default());
    }

    #[test]
    fn a_quota_holds_for_the_groups_below() {
        let fake = recorded();
        let view = ask(&fake, &named(&[], &["group_phys.b.c"])).unwrap();
        assert_eq!(view.group_quotas.keys().collect::<Vec<_>>(), ["group_phys"]);
    }

    /// Each user may name limits of his own; the tool takes so many and no more.
    #[test]
    fn of_very_many_limits_those_are_asked_about_that_most_jobs_name() {
        let demand = |name: String, jobs: u64| Demand {
            concurrency_limits: BTreeMap::from([(name, 1.0)]),
            jobs,
            ..Demand::default()
        };
        let mut waiting: Vec<Demand> = (0..5000).map(|n| demand(format!("l{n}"), 1)).collect();
        waiting.push(demand("zz".to_owned(), 7));
        let named = Named::by(waiting.iter());
        assert_eq!(named.limits.len(), LIMITS_MAX);
        assert!(named.limits.contains("zz"));
    }

    /// One limit, group or slot that cannot be read is told by name, and the others hold.
    #[test]
    fn what_cannot_be_read_costs_itself_alone() {
        let fake = recorded();
        // CONCURRENCY_LIMIT_DEFAULT, CONCURRENCY_LIMIT_DEFAULT_lic, lic.a_LIMIT, sw_LIMIT.
        fake.answer(
            "condor_config_val",
            "-negotiator",
            "out|Not defined\nout|Not defined\nout|$(OOPS) 4\nout|2\nexit=0\n",
        );
        fake.answer(
            "condor_status",
            "unparse(ConcurrencyLimits)",
            "out|\"a\"\tb\nout|{\nout|\"sw\"\nout|\nexit=0\n",
        );
        let odd = [
            "{",
            "",
            "\"group_a\"\tundefined\t\"no\"\t1",
            "\"group_b\"\t4\t{ \"no\" }\t1",
            "\"group_c\"\t4",
            "\"of nobody\"\terror\t\"no\"\t1",
            "\"group_phys\"\t2.0\t\"no\"\t1.0",
        ];
        let text: String = odd.map(|line| format!("out|{line}\n")).concat();
        fake.answer("condor_status", "-any", &format!("{text}exit=0\n"));
        let groups = ["group_a", "group_b", "group_c", "group_phys"];
        let view = ask(&fake, &named(&["sw", "lic.a"], &groups)).unwrap();
        let limits: Vec<_> = view.concurrency_limits.iter().collect();
        let sw = Ceiling {
            limit: 2.0,
            used: 1.0,
        };
        assert_eq!(limits, [(&"sw".to_owned(), &sw)]);
        assert_eq!(view.group_quotas.keys().collect::<Vec<_>>(), ["group_phys"]);
        let told = [
            "lic.a_LIMIT",
            "accounting group: {",
            "group_a",
            "group_b",
            "group_c",
        ];
        assert_eq!(view.unread.len(), told.len(), "{:?}", view.unread);
        for name in told {
            let named = view.unread.iter().filter(|text| text.contains(name));
            assert_eq!(named.count(), 1, "{name}: {:?}", view.unread);
        }
    }

    #[test]
    fn no_answer_is_none() {
        for (tool, word, answer) in [
            (
                "condor_config_val",
                "-negotiator",
                "err|Can't find address for this negotiator\nexit=1\n",
            ),
            ("condor_config_val", "-negotiator", "out|2\nexit=0\n"),
            ("condor_status", "-any", "err|Error: no\nexit=1\n"),
        ] {
            let fake = recorded();
            fake.answer(tool, word, answer);
            let answer = ask(&fake, &named(&["sw", "lic.a"], &["group_phys"]));
            assert!(answer.is_err(), "{answer:?}");
        }
    }
}
