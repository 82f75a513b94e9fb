//! Use of cores by owner, on the page.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::site::{Site, history, snapshot};
use crate::{DRAWN, nothing_amiss, opened};

/// A month in which three people use the pool, one of them with a name that is none.
pub fn month(now: Timestamp) -> Vec<(Timestamp, Value)> {
    let attack = "<img src=x onerror=\"window.hit=1\">";
    let from = now.checked_sub((30 * 24).hours()).unwrap();
    let mut lines = Vec::new();
    for hour in 0..(30 * 24 * 12) {
        let at = from.checked_add((5 * hour).minutes()).unwrap();
        let day = hour / 288;
        let owners =
            json!({"alice": 6 + day % 5, "bob": (day * 3) % 7, "constructor": 1, attack: 2});
        let used: i64 = owners
            .as_object()
            .unwrap()
            .values()
            .map(|cores| cores.as_i64().unwrap())
            .sum();
        let line = json!({"version": 2, "at": at, "exit": 0, "collector": true, "owners": owners,
            "cores": {"paid": used + 4, "joined": used + 4, "claimed": used, "free": 4, "unmanaged": 0},
            "cost": {"per_hour": 0.05 * (used + 4) as f64, "spent_this_month": 1.0}});
        lines.push((at, line));
    }
    lines
}

#[test]
fn who_uses_it_is_shown_by_day() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&month(now));
    site.last(&snapshot(now, 3));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    let once = format!("file://{}", site.once().display());
    for address in [server.address.as_str(), once.as_str()] {
        browser.open(address);
        browser.wait("document.querySelector('#cost-days .day')");
        let day: i64 = now.strftime("%d").to_string().parse().unwrap();
        assert_eq!(
            browser.js("return document.querySelectorAll('#cost-days .day').length"),
            day
        );
        let text = browser.text("#cost-key");
        for name in [
            "alice",
            "bob",
            "constructor",
            "<img src=x onerror",
            "not used",
        ] {
            assert!(text.contains(name), "{text}");
        }
        assert!(!text.contains("NaN"), "{text}");
        assert_eq!(
            browser.js("return [document.querySelectorAll('main img').length, window.hit ?? null]"),
            json!([0, null])
        );
        let parts = "return [...document.querySelectorAll('#cost-days .day')].at(-1).querySelectorAll('.column span').length";
        assert!(browser.js(parts).as_u64().unwrap() >= 4);
        // The tallest day fills the chart.
        let tallest = "return Math.max(...[...document.querySelectorAll('.column')].map((column) => [...column.children].reduce((sum, part) => sum + part.getBoundingClientRect().height, 0) / column.getBoundingClientRect().height))";
        let tallest = browser.js(tallest).as_f64().unwrap();
        assert!((0.9..=1.02).contains(&tallest), "{tallest}");
        browser.js("document.querySelector('#costs details').open = true");
        assert_eq!(
            browser.js("return document.querySelectorAll('#cost-table tbody tr').length"),
            day
        );
        for width in [360, 1440] {
            browser.size(width, 800);
            // The page follows the new size some frames later.
            browser.wait("document.documentElement.scrollWidth <= innerWidth");
        }
        nothing_amiss(&browser, address);
    }
    let costs = server.api("costs");
    assert_eq!(costs["owners"][0], "alice");
}

#[test]
fn a_history_without_owners_has_no_such_chart() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    site.last(&snapshot(now, 3));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    assert_eq!(
        browser.js("return document.querySelector('#costs').hidden"),
        true
    );
    nothing_amiss(&browser, &server.address);
}
