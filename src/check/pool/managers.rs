//! Whether a pool with several central managers says which of them is active.

use condor::{Tools, inspect};
use config::Config;
use scaling::high_availability::standby;
use scaling::observation::{Observed, PoolView};
use system::deadline::Deadline;

use super::Finding;

const CHECK: &str = "high-availability";

/// The active central manager; without `condor.high_availability`, whether HAD runs here all the same.
pub(super) fn managers(
    view: &PoolView,
    config: &Config,
    tools: &Tools,
    deadline: Deadline,
) -> Option<Finding> {
    let managers = match &view.central_managers {
        None => return had_runs(tools, deadline).then(not_set),
        Some(Observed::Unknown(why)) => {
            return Some(Finding::failed(
                CHECK,
                why.clone(),
                "see docs/high-availability.md for the configuration of HTCondor on both central managers",
            ));
        }
        Some(Observed::Known(managers)) => managers,
    };
    Some(match standby(view, &config.policy) {
        None => Finding::ok(CHECK, "active"),
        Some(standby) if managers.negotiators.is_empty() => Finding::warning(
            CHECK,
            standby.to_string(),
            "start HTCondor on both central managers, and see HADLog",
        ),
        Some(standby) => Finding::ok(CHECK, standby.to_string()),
    })
}

fn had_runs(tools: &Tools, deadline: Deadline) -> bool {
    let list = inspect::setting(tools, "MASTER", "DAEMON_LIST", deadline);
    let list = list.ok().flatten().unwrap_or_default();
    let mut names = list.split([',', ' ']);
    names.any(|name| name.eq_ignore_ascii_case("HAD"))
}

fn not_set() -> Finding {
    Finding::warning(
        CHECK,
        "HAD runs on this host, and condor.high_availability is not set: this ehos acts wherever the negotiator runs",
        "if ehos runs on each central manager, set `high_availability: true` under condor: on all of them",
    )
}
