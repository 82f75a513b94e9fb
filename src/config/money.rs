//! Budgets, limits by user, and lifetimes of nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::diagnostics::{Diagnostics, KEEP_ONE};
use super::document::{Item, Section};
use super::schedules;
use scaling::budget::Budget;
use scaling::policy::Policy;
use scaling::reason::format_duration;
use scaling::submitter::SubmitterLimit;

/// The `budget:` that stands in the section at `path`.
pub(super) fn budget(context: &mut Diagnostics<'_>, path: &[&str], section: &Section) -> Budget {
    let mut budget = Budget::default();
    let path: Vec<&str> = path.iter().copied().chain(["budget"]).collect();
    context.fill(&mut budget, &[(&path, section.section("budget"))]);
    budget
}

/// The limits of users or accounting groups, which stand under `key`.
pub(super) fn submitters(
    context: &mut Diagnostics<'_>,
    key: &str,
    daemon: &Section,
) -> BTreeMap<String, SubmitterLimit> {
    let mut limits = BTreeMap::new();
    for (name, keys) in daemon.section(key).sections() {
        let path = ["daemon", key, name];
        let mut limit = SubmitterLimit::default();
        context.fill(&mut limit, &[(&path, keys)]);
        limit.budget = budget(context, &path, keys);
        // HTCondor compares names of accounting groups without regard to case.
        let name = match key {
            "accounting_group_limits" => name.to_ascii_lowercase(),
            _ => name.to_owned(),
        };
        if limits.insert(name.clone(), limit).is_some() {
            context.problem(&["daemon", key, &name], ("is given twice", KEEP_ONE));
        }
    }
    limits
}

/// Windows, and the time zone in which they and months are: this machine's, where none is given.
pub(super) fn time(context: &mut Diagnostics<'_>, daemon: &Section, policy: &mut Policy) {
    let by_month = |budget: &Budget| budget.per_month.is_some();
    let limits = &policy.submitter_limits;
    let mut submitters = limits
        .users
        .values()
        .chain(limits.accounting_groups.values());
    let needed = daemon.has("schedules")
        || by_month(&policy.budget)
        || submitters.any(|limit| by_month(&limit.budget))
        || policy.clouds.iter().any(|cloud| by_month(&cloud.budget));
    policy.time_zone = match daemon.text("time_zone") {
        Some(name) => schedules::time_zone(context, &["daemon", "time_zone"], name),
        None if needed => TimeZone::system(),
        None => TimeZone::UTC,
    };
    if let Some(Item::List(windows)) = daemon.get("schedules") {
        policy.schedules = schedules::check(context, windows, &policy.time_zone, policy);
    }
}

/// What a budget counts must have a price; lifetimes must be longer than a boot.
pub(super) fn check(context: &mut Diagnostics<'_>, policy: &Policy, simulated: bool) {
    let too_short = |time: Option<Duration>| {
        let short = time.is_some_and(|time| !time.is_zero() && time <= policy.boot_timeout);
        let least = format_duration(policy.boot_timeout.as_secs());
        short.then(|| {
            format!("must be longer than daemon.boot_timeout ({least}): nodes would expire before they run jobs")
        })
    };
    if let Some(what) = too_short(policy.max_lifetime) {
        context.problem(&["daemon", "max_lifetime"], what);
    }
    let mut lifetimes = policy.clouds.iter().map(|cloud| cloud.max_lifetime);
    if policy.max_lifetime_kill.is_some()
        && policy.max_lifetime.is_none()
        && !lifetimes.any(|own| own.is_some())
    {
        context.note(
            &["daemon", "max_lifetime_kill"],
            "not used: there is no max_lifetime, so no node expires",
        );
    }
    for cloud in &policy.clouds {
        if let Some(what) = too_short(cloud.max_lifetime) {
            context.problem(&["clouds", &cloud.name, "max_lifetime"], what);
        }
    }
    // Prices of a simulated world stand in its scenario.
    if simulated {
        return;
    }
    let limits = &policy.submitter_limits;
    let by_name = [
        ("user_limits", &limits.users),
        ("accounting_group_limits", &limits.accounting_groups),
    ];
    let some = |budget: &Budget| *budget != Budget::default();
    let of_submitter = by_name.into_iter().find_map(|(key, limits)| {
        let (name, _) = limits.iter().find(|(_, limit)| some(&limit.budget))?;
        Some(vec!["daemon", key, name.as_str(), "budget"])
    });
    let of_all = some(&policy.budget).then(|| vec!["daemon", "budget"]);
    let of_all = of_all.or(of_submitter);
    for cloud in policy.clouds.iter().filter(|cloud| !cloud.retire) {
        let own = vec!["clouds", &cloud.name, "budget"];
        let own = some(&cloud.budget).then_some(own);
        let mut flavors = cloud.flavors.iter();
        let unpriced = flavors.find(|flavor| cloud.price(flavor).is_none());
        if let (Some(flavor), Some(place)) = (unpriced, own.as_ref().or(of_all.as_ref())) {
            let what = format!(
                "needs prices, and flavor {flavor} of cloud {} has none",
                cloud.name
            );
            context.problem(place, (what, "add it to `prices`"));
        }
    }
}

/// A token that ends before its node is too old decides when that is replaced.
pub(super) fn lifetimes(context: &mut Diagnostics<'_>, policy: &Policy, token_lifetime: Duration) {
    let longest = token_lifetime.saturating_sub(policy.token_renew_before);
    let what = format!(
        "is longer than condor.token_lifetime minus daemon.token_renew_before, {}: ehos replaces nodes at that age",
        format_duration(longest.as_secs())
    );
    if policy.max_lifetime.is_some_and(|time| time > longest) {
        context.note(&["daemon", "max_lifetime"], what.clone());
    }
    for cloud in &policy.clouds {
        if cloud.max_lifetime.is_some_and(|time| time > longest) {
            context.note(&["clouds", &cloud.name, "max_lifetime"], what.clone());
        }
    }
}
