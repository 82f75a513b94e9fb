//! What money and hours of the week come to is told, to people and to programs.

use serde_json::{Value, json};

use crate::double::Double;
use crate::harness::{Site, cloud};

/// A window that always holds, prices, and a month whose budget is spent before it begins.
pub fn site(double: &Double, per_month: u64) -> Site {
    let over = format!(
        "ehos: {{prices: {{m1.small: 0.25}}}}\ndaemon:\n  nodes_spare: 50%\n  time_zone: UTC\n  budget: {{per_hour: 5, \
         per_month: {per_month}}}\n  schedules:\n  - {{nodes_max: 7, days: [mon-sun], hours: '00:00-24:00'}}\n"
    );
    Site::with_cloud(double.url()).waiting(2).over(&over)
}

/// A report with all of it.
pub fn report() -> Value {
    let double = Double::start(cloud::script(vec![]));
    site(&double, 0).tick(&["-n", "-o", "json"]).exits(0).json()
}

#[test]
fn a_spent_budget_is_said_first_and_is_no_failure() {
    let double = Double::start(cloud::script(vec![]));
    let told = site(&double, 0).tick(&["-n"]);
    told.exits(0);
    let text = told.stdout.clone();
    let at = |words: &str| {
        text.find(words)
            .unwrap_or_else(|| panic!("{words}: {text}"))
    };
    assert_eq!(
        at("BUDGET SPENT  all clouds: 0.00 of 0.00 spent this month"),
        0
    );
    assert!(at("window   1 active (00:00-24:00 UTC): nodes_max 7") > 0);
    assert!(at("cost     0.00 per hour, 0.00 spent in 20") > 0);
    assert!(at("budget.per_month 0.00: 0.00 spent") > 0);

    let report = report();
    assert_eq!(report["budgets_spent"][0]["per_month"], 0.0);
    assert_eq!(report["window"]["hours"], "00:00-24:00");
    assert_eq!(report["cost"]["clouds"][0]["cloud"], "lab");
    let limit = report["job_groups"][0]["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .find(|why| why["reason"] == "limited")
        .unwrap();
    assert_eq!(
        limit["limit"],
        json!({"name": "budget_per_month", "budget": 0.0, "spent": 0.0, "committed": 0.0})
    );
}

#[test]
fn what_is_planned_is_in_the_cost() {
    let double = Double::start(cloud::script(vec![]));
    let told = site(&double, 100).tick(&["-n"]);
    told.exits(0);
    let text = told.stdout.clone();
    // Two nodes for two jobs, and one spare.
    assert!(text.contains("cost     0.75 per hour"), "{text}");
    assert!(
        text.contains("below nodes_spare 1 (50% of the needed nodes)"),
        "{text}"
    );
    assert!(!text.contains("BUDGET"), "{text}");
}
