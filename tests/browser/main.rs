//! The page of `ehos frontend` in a real browser, served by the real program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../cli/harness/comparison.rs"]
mod comparison;
mod costs;
mod simulate;
mod site;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use site::{Server, Site, history, node, snapshot};
use testkit::webdriver::Browser;

const ENTER: char = '\u{E007}';
const ESCAPE: char = '\u{E00C}';
const TAB: char = '\u{E004}';
const LEFT: char = '\u{E012}';
const RIGHT: char = '\u{E014}';
const HOME: char = '\u{E011}';

/// Everything that is loaded after the first answer is there.
const DRAWN: &str = "document.querySelector('#chart-queue svg') && document.querySelector('#decision-rows tbody tr')";

/// Nothing was asked of anybody else, and the console has no error; a breach of the content security policy is one.
fn nothing_amiss(browser: &Browser, address: &str) {
    assert_eq!(browser.console(), Vec::<String>::new());
    let asked = browser.asked_for();
    assert!(!asked.is_empty());
    for one in asked {
        assert!(one.starts_with(address), "asked for {one}");
    }
}

/// A page that is open, with what shows it.
fn opened(site: &Site) -> Option<(Browser, Server)> {
    let browser = Browser::start()?;
    let server = Server::start(site);
    browser.open(&server.address);
    Some((browser, server))
}

#[test]
fn what_the_api_says_is_shown() {
    let site = Site::demo(6);
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    let status = server.api("status");
    assert_eq!(browser.text("#cluster"), "demo");
    assert_eq!(browser.text("#simulated"), "simulated");
    for of in ["idle", "running", "held"] {
        let shown = browser.js(&format!(
            "return [...document.querySelectorAll('#queue-numbers > div')].find((one) => one.firstChild.textContent === '{of}').lastChild.textContent"
        ));
        assert_eq!(shown, status["queue"][of].to_string());
    }
    let nodes = status["nodes"].as_array().unwrap();
    assert!(nodes.len() > 1, "{status}");
    assert_eq!(browser.text("#nodes-count"), nodes.len().to_string());
    for node in nodes {
        let id = node["node"].as_str().unwrap();
        let tile = format!("#tiles button[data-node='{id}']");
        let words = browser.js(&format!(
            "return document.querySelector(\"{tile}\").getAttribute('aria-label')"
        ));
        let words = words.as_str().unwrap();
        for of in ["name", "phase", "cloud", "flavor"] {
            let expected = node[of].as_str().unwrap();
            assert!(words.contains(expected), "{words}: {expected}");
        }
        let seen = browser.text(&tile);
        assert!(seen.contains(node["phase"].as_str().unwrap()), "{seen}");
        if let Some(startd) = node["startd"].as_object() {
            let cores = format!("{}/{}", startd["claimed_cpus"], startd["cpus"]);
            assert!(seen.contains(&cores), "{seen}: {cores}");
        }
    }
    let cores = &status["cores"];
    let figures = browser.js("return [...document.querySelectorAll('#figures-list .value')].slice(0, 2).map((one) => one.textContent)");
    assert_eq!(
        figures,
        json!([
            format!("{} of {}", cores["claimed"], cores["paid"]),
            cores["free"].to_string()
        ])
    );
    let (groups, clouds) = (browser.text("#groups"), browser.text("#clouds"));
    for group in status["job_groups"].as_array().unwrap() {
        for why in group["reasons"].as_array().unwrap() {
            assert!(groups.contains(why["text"].as_str().unwrap()), "{groups}");
        }
    }
    for cloud in ["blue", "green"] {
        assert!(clouds.contains(cloud), "{clouds}");
    }
    let decisions = server.api("decisions?limit=15");
    let rows = browser.text("#decision-rows tbody");
    for one in decisions["decisions"].as_array().unwrap() {
        assert!(
            rows.contains(one["text"].as_str().unwrap()),
            "{one}: {rows}"
        );
    }
    for source in status["source_milliseconds"].as_object().unwrap().keys() {
        assert!(browser.text("#sources").contains(source));
    }
    nothing_amiss(&browser, &server.address);
}

#[test]
fn a_tick_changes_the_page_that_is_open() {
    let site = Site::demo(2);
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    let before = (
        browser.text("#last-tick"),
        browser.text("#decision-rows tbody"),
    );
    browser.js("document.querySelector('#find').focus(); const top = () => document.querySelector('#charts').getBoundingClientRect().top; document.querySelector('#charts').scrollIntoView(); window.moved = ((before) => () => Math.abs(top() - before))(top()); document.querySelector('#tiles button').kept = true; document.querySelector('#chart-nodes').kept = true");
    site.tick();
    site.tick();
    browser.wait(&format!(
        "document.querySelector('#last-tick').textContent !== {}",
        json!(before.0)
    ));
    let status = server.api("status");
    browser.wait(&format!(
        "document.querySelector('#nodes-count').textContent === '{}'",
        status["nodes"].as_array().unwrap().len()
    ));
    browser.wait(&format!(
        "document.querySelector('#decision-rows tbody').innerText !== {}",
        json!(before.1)
    ));
    // Nothing was loaded anew or built again, and nobody was led away.
    assert_eq!(
        browser.js("return [document.activeElement.id, window.moved() < 2, document.querySelector('#chart-nodes').kept, [...document.querySelectorAll('#tiles button')].some((one) => one.kept)]"),
        json!(["find", true, true, true])
    );
    nothing_amiss(&browser, &server.address);
}

#[test]
fn the_page_waits_for_the_first_tick() {
    let site = Site::new();
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait("!document.querySelector('#empty').hidden");
    assert!(browser.text("#empty").contains("no tick yet"));
    site.tick();
    browser.wait(DRAWN);
    assert_eq!(
        browser.js("return document.querySelector('#empty').hidden"),
        true
    );
    nothing_amiss(&browser, &server.address);
}

#[test]
fn the_first_hour_of_a_site_is_shown_as_an_hour() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let young = Site::demo(10);
    let server = Server::start(&young);
    let shown = "document.querySelector('input[name=range]:checked').value";
    let drawn = "document.querySelectorAll('#plots svg').length > 0";
    browser.open(&server.address);
    browser.wait(&format!("{drawn} && {shown} === '1h'"));
    // Who asks for a day gets one.
    browser.open(&format!("{}/#range=24h", server.address));
    browser.js("location.reload()");
    browser.wait(&format!("{drawn} && {shown} === '24h'"));
    drop(server);
    let old = Site::demo(45);
    let server = Server::start(&old);
    browser.open(&server.address);
    browser.wait(&format!("{drawn} && {shown} === '24h'"));
}

#[test]
fn charts_are_drawn_for_each_range() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 30, 300));
    site.last(&snapshot(now, 20));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    for range in ["1h", "24h", "7d", "30d"] {
        let series = server.api(&format!("series?range={range}"));
        browser.js(&format!(
            "document.querySelector('input[value=\"{range}\"]').click()"
        ));
        browser.wait("!document.querySelector('#plots').hasAttribute('aria-busy')");
        assert_eq!(
            browser.js("return location.hash"),
            format!("#range={range}")
        );
        let points = series["t"].as_array().unwrap().len();
        browser.wait(&format!(
            "document.querySelector('#chart-queue').getAttribute('aria-valuemax') === '{}'",
            points - 1
        ));
        let drawn = browser.js(
            "return ['queue', 'nodes', 'cores', 'cost'].map((of) => Math.min(...[...document.querySelectorAll(`#chart-${of} path:is(.line, .area)`)].map((path) => path.getAttribute('d').length)))",
        );
        for length in drawn.as_array().unwrap() {
            assert!(length.as_u64().unwrap() > 100, "{range}: {drawn}");
        }
        // What is not known is neither drawn as 0 nor bridged.
        if range == "24h" {
            let gaps = browser.js("return document.querySelectorAll('#chart-cores .gap').length");
            assert_eq!(gaps, 1);
            let runs = browser.js("return document.querySelector('#chart-cores .line.c-paid').getAttribute('d').split('M').length - 1");
            assert_eq!(runs, 2);
        }
        let paid = series["totals"]["paid_core_hours"].as_f64().unwrap();
        let shown = browser
            .js("return document.querySelector('#totals .value').textContent.replaceAll(',', '')");
        let shown: f64 = shown.as_str().unwrap().parse().unwrap();
        assert!((shown - paid).abs() <= 0.5 + paid * 0.01, "{shown} {paid}");
    }
    // The same as a table.
    browser.click("#chart-queue ~ details summary");
    browser.wait("document.querySelector('#chart-queue ~ details tbody tr')");
    let rows =
        browser.js("return document.querySelectorAll('#chart-queue ~ details tbody tr').length");
    let series = server.api("series?range=30d");
    assert_eq!(rows, series["t"].as_array().unwrap().len());
    // The legend takes lines away and brings them back.
    let lines = || browser.js("return document.querySelectorAll('#chart-cores .line').length");
    let before = lines();
    browser.js("document.querySelector('.legend button').scrollIntoView()");
    browser.js("[...document.querySelectorAll('.legend button')].find((one) => one.textContent.startsWith('paid for')).click()");
    assert_eq!(lines(), before.as_u64().unwrap() - 1);
    browser.js("[...document.querySelectorAll('.legend button')].find((one) => one.textContent.startsWith('paid for')).click()");
    assert_eq!(lines(), before);
    // The range is in the address.
    browser.open("about:blank");
    browser.asked_for();
    browser.open(&format!("{}/#range=7d", server.address));
    browser.wait("document.querySelector('input[value=\"7d\"]').checked");
    nothing_amiss(&browser, &server.address);
}

#[test]
fn older_decisions_are_brought() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 2, 60));
    site.last(&snapshot(now, 3));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    let rows = || {
        let rows = browser.js("return [...document.querySelectorAll('#decision-rows tbody tr')].map((row) => row.cells[3].textContent)");
        rows.as_array().unwrap().clone()
    };
    let first = rows();
    assert!(!first.is_empty());
    for more in [first.len(), 50, 85] {
        browser.wait(&format!(
            "document.querySelectorAll('#decision-rows tbody tr').length >= {more}"
        ));
        browser.js("document.querySelector('#older').click()");
    }
    browser.wait("document.querySelectorAll('#decision-rows tbody tr').length >= 120");
    let all = rows();
    assert_eq!(all[..first.len()], first[..]);
    // None twice, none left out; of one hour there is no history.
    let numbers = (0..).filter(|n| !(30..36).contains(n));
    let expected: Vec<Value> = numbers
        .take(all.len())
        .map(|n| json!(format!("decision {n} of the test")))
        .collect();
    assert_eq!(all, expected);
    nothing_amiss(&browser, &server.address);
}

/// A snapshot in which every text is an attack.
fn hostile(now: Timestamp) -> Value {
    let attack = "</script><img src=x onerror=\"window.hit=1\"><b>&amp;";
    let mut last = snapshot(now, 2);
    for of in ["name", "text", "cloud", "flavor", "phase"] {
        last["nodes"][0][of] = json!(attack);
    }
    last["nodes"][0]["startd"]["machine"] = json!(attack);
    last["nodes"][0]["server"]["image"] = json!(attack);
    last["policy"]["cluster"] = json!(attack);
    last["program"] = json!(attack);
    last["notices"] = json!([attack]);
    last["unknown_sources"] = json!([{"source": attack, "cause": attack}]);
    last["brakes"] = json!([{"brake": attack, "text": attack}]);
    last["clouds"][0]["cloud"] = json!(attack);
    last["clouds"][0]["image"] = json!(attack);
    last["job_groups"][0]["reasons"][0]["text"] = json!(attack);
    last["job_groups"][0]["example"] = json!(attack);
    last["source_milliseconds"] = json!({attack: 3});
    last["actions"] = json!([{"action": "create", "node": "n-0000", "cloud": attack, "result": "failed", "message": attack}]);
    last
}

#[test]
fn whatever_is_said_is_text() {
    let site = Site::new();
    let now = Timestamp::now();
    let mut lines = history(now, 1, 300);
    let attack = "<img src=x onerror=\"window.hit=1\">";
    for (_, line) in &mut lines {
        line["nodes"][attack] = json!(2);
        if let Some(event) = line["events"].get_mut(0) {
            for of in ["name", "text", "cloud", "flavor", "previous_phase"] {
                event[of] = json!(attack);
            }
            event["node"] = json!("n-0000");
            line["actions"] = json!([{"action": "drain", "node": "n-0000", "result": "failed", "message": attack}]);
        }
    }
    site.lines(&lines);
    site.last(&hostile(now));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    let once = format!("file://{}", site.once().display());
    for address in [server.address.as_str(), once.as_str()] {
        browser.open(address);
        browser.wait(DRAWN);
        browser.js("document.querySelector('#tiles button[data-node=\"n-0000\"]').click()");
        browser.wait("document.querySelector('#events li')");
        for place in [
            "#cluster",
            "#troubles",
            "#tiles",
            "#clouds",
            "#groups",
            "#decision-rows",
            "#sources",
            "#node",
            "#plots",
        ] {
            let text = browser.js(&format!(
                "return document.querySelector('{place}').textContent"
            ));
            assert!(
                text.as_str().unwrap().contains("<img src=x onerror"),
                "{place}: {text}"
            );
        }
        assert_eq!(
            browser.js("return [document.querySelectorAll('img, main b, dialog b').length, window.hit ?? null]"),
            json!([0, null])
        );
        nothing_amiss(&browser, address);
    }
}

#[test]
fn trouble_is_said_in_words() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    let mut last = snapshot(now, 3);
    last["unknown_sources"] = json!([{"source": "cloud blue", "cause": "cloud blue: Keystone does not answer within 10 s"}]);
    last["brakes"] = json!([{"brake": "schedd_unknown", "text": "schedd s1 is unknown: nothing goes", "stops_creates": false}]);
    last["protected"] = json!([{"cloud": "blue", "flavor": "m1", "image": "gold", "since": now, "failures": 5, "last_failure": "No valid host", "text": "m1 in blue: 5 failures in a row"}]);
    last["budgets_spent"] = json!([{"cloud": null, "per_month": 5.0, "spent": 5.0, "committed": 0.0, "text": "all clouds: 5.00 of 5.00 this month"}]);
    last["notices"] = json!(["the clock of blue is behind"]);
    last["actions"] = json!([{"action": "delete", "node": "n-0001", "cloud": "green", "result": "failed", "message": "503 from Nova"}]);
    last["exit"] = json!(1);
    site.last(&last);
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    assert_eq!(browser.text("#verdict"), "5 errors, 1 warning, 1 note");
    assert_eq!(
        browser.js("return document.querySelector('#more-troubles').hidden"),
        true
    );
    let said = browser.text("#troubles");
    for words in [
        "Keystone does not answer within 10 s",
        "schedd s1 is unknown: nothing goes",
        "m1 in blue: 5 failures in a row",
        "all clouds: 5.00 of 5.00 this month",
        "the clock of blue is behind",
        "delete n-0001",
        "503 from Nova",
    ] {
        assert!(said.contains(words), "{said}: {words}");
    }
    // All is well again.
    site.last(&snapshot(now + SignedDuration::from_secs(60), 3));
    browser.wait("document.querySelector('#verdict').textContent.startsWith('Nothing')");
    assert_eq!(browser.text("#troubles"), "");
    nothing_amiss(&browser, &server.address);
    // The ticks stop.
    site.last(&snapshot(now - SignedDuration::from_secs(720), 3));
    browser.wait(
        "document.querySelector('#troubles').textContent.includes('the last tick was 12 min ago')",
    );
    // The server goes, and comes back.
    let listen = server.address.trim_start_matches("http://").to_owned();
    drop(server);
    browser.wait("document.querySelector('#connection').textContent.includes('not reachable')");
    assert_eq!(
        browser.js("return document.querySelectorAll('#tiles button').length"),
        3
    );
    site.last(&snapshot(Timestamp::now(), 4));
    let _server = Server::on(&site, &listen);
    browser.wait("document.querySelector('#live').dataset.state === 'live'");
    assert_eq!(browser.text("#connection"), "");
    browser.wait("document.querySelectorAll('#tiles button').length === 4");
}

#[test]
fn what_was_not_seen_is_not_shown_as_none() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    let mut last = snapshot(now, 3);
    last["brakes"] = json!([{"brake": "collector_young", "text": "it is up for 12 s only", "stops_creates": true}]);
    last["cores"]["claimed"] = json!(0);
    last["nodes"][1]["startd"] = Value::Null;
    site.last(&last);
    let Some((browser, _server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    let figures = || {
        browser.js("return [...document.querySelectorAll('#figures-list .value')].slice(0, 2).map((one) => one.textContent)")
    };
    assert_eq!(figures(), json!(["unknown of 24", "unknown"]));
    let words = browser.js(
        "return document.querySelector('#tiles button[data-node=n-0001]').getAttribute('aria-label')",
    );
    assert!(
        words.as_str().unwrap().contains(", 8 cores, cloud"),
        "{words}"
    );
    // Of a cloud that does not answer nobody knows the servers.
    let mut last = snapshot(now + SignedDuration::from_secs(1), 3);
    last["clouds"][0]["answers"] = json!(false);
    last["nodes"][0]["server"]["vcpus"] = Value::Null;
    last["cores"]["paid"] = json!(8);
    site.last(&last);
    browser.wait(
        "document.querySelector('#figures-list .value').textContent.endsWith(' of at least 8')",
    );
    // Nor the jobs of a schedd that does not.
    let mut last = snapshot(now + SignedDuration::from_secs(2), 3);
    last["unknown_sources"] = json!([{"source": "schedd s1", "cause": "it does not answer"}]);
    last["queue"]["waiting"] = json!(0);
    last["queue"]["idle"] = json!(0);
    site.last(&last);
    browser.wait("document.querySelector('#queue-numbers').textContent.includes('idleat least 0')");
    let said = browser.text("#queue-text");
    assert_eq!(said, "Of the schedds that answered: No job waits.");
}

#[test]
fn a_history_that_cannot_be_read_or_shown_is_said_and_tried_again() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    site.last(&snapshot(now, 3));
    let Some((browser, _server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    site.last(&json!("no tick"));
    browser.wait("document.querySelector('#connection').textContent.includes('the history cannot be read: last.json: damaged: ')");
    assert!(!browser.text("#connection").contains("not reachable"));
    assert!(!browser.text("#live").contains("not reachable"));
    // Of another version of ehos, which has not what this page shows.
    site.last(&json!({"at": now + SignedDuration::from_secs(1), "version": 9}));
    browser.wait("document.querySelector('#verdict').textContent.includes('cannot be shown')");
    assert!(!browser.text("#connection").contains("not reachable"));
    site.last(&snapshot(now + SignedDuration::from_secs(2), 4));
    browser.wait("document.querySelectorAll('#tiles button').length === 4");
    assert!(browser.text("#verdict").starts_with("Nothing: "));
}

#[test]
fn time_goes_on_in_the_charts_without_ticks() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    site.last(&snapshot(now, 3));
    let Some((browser, _server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    browser.js("performance.clearResourceTimings(); const real = Date.now; Date.now = () => real() + 120000");
    browser.wait(
        "performance.getEntriesByType('resource').some((one) => one.name.includes('api/series'))",
    );
}

#[test]
fn a_long_time_without_decisions_hides_none() {
    let site = Site::new();
    let now = Timestamp::now();
    let days = |ago: i64| now - SignedDuration::from_hours(24 * ago);
    let mut lines: Vec<(Timestamp, Value)> = history(days(100), 1, 300);
    for ago in (0..60).rev() {
        lines.push((
            days(ago),
            json!({"version": 1, "at": days(ago), "events": []}),
        ));
    }
    site.lines(&lines);
    site.last(&snapshot(now, 3));
    let Some((browser, _server)) = opened(&site) else {
        return;
    };
    browser.wait("!document.querySelector('#decisions-say').hidden");
    let said = browser.text("#decisions-say");
    assert!(said.starts_with("Nothing was decided since "), "{said}");
    browser.js("document.querySelector('#older').click()");
    browser.wait("document.querySelectorAll('#decision-rows tbody tr').length > 15");
}

#[test]
fn a_keyboard_is_enough() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    site.last(&snapshot(now, 6));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    let focused = || {
        let focused = browser.js("const e = document.activeElement; return e.id || e.dataset.node || e.name || e.className || e.textContent || e.tagName");
        focused.as_str().unwrap_or_default().to_owned()
    };
    browser.press(&[TAB]);
    assert_eq!(focused(), "skip");
    let mut order = Vec::new();
    for _ in 0..60 {
        browser.press(&[TAB]);
        order.push(focused());
        if order.last().is_some_and(|last| last == "older") {
            break;
        }
    }
    let place = |of: &str| {
        let found = order.iter().position(|one| one == of);
        found.unwrap_or_else(|| panic!("{of} cannot be reached: {order:?}"))
    };
    let tiles = order.iter().filter(|one| one.starts_with("n-")).count();
    assert_eq!(tiles, 1, "the tiles are one stop: {order:?}");
    let first = order.iter().position(|one| one.starts_with("n-")).unwrap();
    let expected = [
        "theme",
        "find",
        "only-cloud",
        "only-phase",
        "group-by",
        "tile-size",
    ]
    .map(&place);
    assert!(
        expected.is_sorted() && expected.iter().all(|at| *at < first),
        "{order:?}"
    );
    let after = [
        "range",
        "chart-queue",
        "chart-nodes",
        "chart-cores",
        "chart-cost",
    ]
    .map(&place);
    assert!(after.is_sorted() && first < after[0], "{order:?}");

    // Tiles, and one node.
    browser.js("document.querySelector('#tiles button').focus()");
    let one = focused();
    browser.press(&[RIGHT]);
    let other = focused();
    assert!(other.starts_with("n-") && other != one, "{one} {other}");
    browser.press(&[ENTER]);
    browser.wait("document.querySelector('#node').open");
    assert_eq!(focused(), "node-heading");
    browser.press(&[TAB]);
    assert_eq!(focused(), "close-node");
    assert!(browser.text("#node").contains(&other));
    browser.press(&[ESCAPE]);
    browser.wait("!document.querySelector('#node').open");
    assert_eq!(focused(), other);

    // Ranges by arrows.
    // The event of the closed dialog may come late, and put the focus back once more.
    for _ in 0..5 {
        browser.js("document.querySelector('input[value=\"24h\"]').focus()");
        browser.press(&[RIGHT]);
        if browser.js("return location.hash") == "#range=7d" {
            break;
        }
    }
    browser.wait("location.hash === '#range=7d'");
    browser.press(&[LEFT]);
    browser.wait("location.hash === '#range=24h' && !document.querySelector('#plots').hasAttribute('aria-busy')");

    // Times of a chart.
    browser.js("document.querySelector('#chart-cores').focus()");
    let read = || {
        browser.js("const e = document.querySelector('#chart-cores'); return [Number(e.getAttribute('aria-valuenow')), e.getAttribute('aria-valuetext')]")
    };
    let last = read();
    assert!(last[1].as_str().unwrap().contains("paid for"), "{last}");
    browser.press(&[LEFT, LEFT]);
    let moved = read();
    assert_eq!(moved[0].as_u64().unwrap() + 2, last[0].as_u64().unwrap());
    assert_ne!(moved[1], last[1]);
    browser.press(&[HOME]);
    assert_eq!(read()[0], 0);
    nothing_amiss(&browser, &server.address);
}

#[test]
fn nodes_are_found_and_grouped() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    site.last(&snapshot(now, 100));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    let choose = |id: &str, value: &str| {
        browser.js(&format!(
            "const e = document.querySelector('#{id}'); e.value = '{value}'; e.dispatchEvent(new Event('input', {{bubbles: true}}))"
        ))
    };
    let tiles = || browser.js("return document.querySelectorAll('#tiles button').length");
    assert_eq!(tiles(), 100);
    choose("find", "host-77");
    assert_eq!(
        (tiles(), browser.text("#nodes-count")),
        (json!(0), "0 of 100".to_owned())
    );
    choose("find", "HOST-75");
    assert_eq!(
        (tiles(), browser.text("#nodes-count")),
        (json!(1), "1 of 100".to_owned())
    );
    choose("find", "");
    choose("only-phase", "busy");
    choose("only-cloud", "blue");
    let busy = (0..100)
        .map(node)
        .filter(|node| node["phase"] == "busy" && node["cloud"] == "blue");
    assert_eq!(tiles(), busy.count());
    choose("only-phase", "");
    choose("only-cloud", "");
    choose("group-by", "cloud");
    let groups = browser
        .js("return [...document.querySelectorAll('#tiles h3')].map((one) => one.textContent)");
    assert_eq!(groups, json!(["blue 50", "green 50"]));
    for size in ["large", "middle", "small"] {
        choose("tile-size", size);
        assert_eq!(
            browser.js("return document.querySelector('#tiles').dataset.size"),
            size
        );
        assert_eq!(tiles(), 100);
    }
    nothing_amiss(&browser, &server.address);
}

/// The last tick of a site that names owners and jobs.
fn with_owners(now: Timestamp) -> Value {
    let mut tick = snapshot(now, 20);
    let jobs: Vec<String> = (0..20).map(|proc| format!("7.{proc}")).collect();
    let request = json!({"cpus": 1, "memory_mb": 512, "disk_kb": 1024, "gpus": 0});
    tick["job_groups"] = json!([
        {"id": "0011223344556677", "request": request, "jobs": 40, "waiting_seconds": 700, "job_ids": jobs,
         "owners": [{"owner": "alice", "jobs": 38}, {"owner": "bob", "jobs": 2}],
         "reasons": [{"reason": "new_nodes", "text": "create 5 × m1.large in blue for 40 jobs: cheapest"}]},
        {"id": "8899aabbccddeeff", "request": request, "jobs": 1, "waiting_seconds": 60, "job_ids": ["17.1"],
         "owners": [{"owner": "carol", "jobs": 1}],
         "reasons": [{"reason": "no_match", "text": "no match: TARGET.HasWindows is false on m1.large in blue"}]},
    ]);
    tick["nodes"][0]["running_jobs"] =
        json!([{"job": "5.0", "owner": "dave"}, {"job": "15.0", "owner": "erin"}]);
    tick["nodes"][0]["startd"]["claims"] = json!(3);
    tick
}

#[test]
fn owners_and_jobs_are_named_and_found() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    site.last(&with_owners(now));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.wait(DRAWN);
    let find = |id: &str, value: &str| {
        browser.js(&format!(
            "const e = document.querySelector('#{id}'); e.value = '{value}'; e.dispatchEvent(new Event('input', {{bubbles: true}}))"
        ));
    };
    let groups = || browser.js("return document.querySelectorAll('#groups tbody tr').length");
    let tiles = || browser.js("return document.querySelectorAll('#tiles button').length");
    assert_eq!(
        browser.text("#groups .owned"),
        "alice (38), bob (2): jobs 7.0, 7.1, 7.2 and 37 more"
    );
    for (words, number) in [
        ("", 2),
        ("ALICE", 1),
        ("carol", 1),
        ("7.1", 1),
        ("17.1", 1),
        ("haswindows", 1),
        ("mallory", 0),
    ] {
        find("find-job", words);
        assert_eq!(groups(), number, "{words}");
    }
    assert!(
        browser
            .text("#no-groups")
            .contains("`ehos explain JOB` shows any job")
    );
    find("find-job", "");
    // `5.0` is not `15.0`, which runs on the same node.
    for (words, number) in [("dave", 1), ("5.0", 1), ("m1.large", 20), ("nobody", 0)] {
        find("find", words);
        assert_eq!(tiles(), number, "{words}");
    }
    find("find", "erin");
    browser.click("#tiles button");
    let pairs = browser.text("#node-pairs");
    assert!(
        pairs.contains("5.0 of dave, 15.0 of erin and 1 more"),
        "{pairs}"
    );
    browser.click("#close-node");
    find("find", "");
    for scheme in ["light", "dark"] {
        browser.prefers(scheme);
        let answer = browser.js(FAINT);
        assert_eq!(answer[1], json!([]), "{scheme}");
        if let Some(folder) = std::env::var_os("EHOS_PICTURES") {
            let file = std::path::Path::new(&folder).join(format!("owners-{scheme}.png"));
            std::fs::write(file, browser.picture()).unwrap();
        }
    }
    nothing_amiss(&browser, &server.address);
}

/// Every text that is seen, and its contrast to what is behind it, when that is less than 4.5 (WCAG 2.2 AA).
const FAINT: &str = "
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = rgba(getComputedStyle(at).backgroundColor);
            if (color[3] === 255) return color;
        }
        return [255, 255, 255, 255];
    };
    const faint = [];
    let seen = 0;
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        if (!walk.currentNode.textContent.trim() || !element.checkVisibility() || element.closest('.unseen, .skip')) continue;
        const style = getComputedStyle(element);
        const [a, b] = [light(rgba(element.namespaceURI.endsWith('svg') ? style.fill : style.color)), light(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        seen += 1;
        if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.className} ${walk.currentNode.textContent.slice(0, 40)}`);
    }
    return [seen, faint];";

/// Shows every colour of text: a little of each trouble, and nodes of every phase.
fn colourful(now: Timestamp) -> Value {
    let mut last = snapshot(now, 24);
    let phases = [
        "new",
        "requested",
        "closed",
        "drained",
        "silent",
        "failed",
        "lost",
        "deleted",
        "stopped",
        "unclear",
    ];
    for (n, phase) in phases.iter().enumerate() {
        last["nodes"][n]["phase"] = json!(phase);
    }
    last["unknown_sources"] = json!([{"source": "cloud blue", "cause": "cloud blue: no answer, at https://keystone.example.org:5000/v3/auth/tokens/with/a/long/path/that/nobody/can/break"}]);
    last["notices"] = json!(["a notice"]);
    last["clouds"][1]["answers"] = json!(false);
    last["job_groups"][0]["reasons"][0]["reason"] = json!("no_match");
    last["backoffs"] = json!([{"cloud": "blue", "flavor": "m1", "image": "gold", "seconds": 300, "failures": 3, "last_failure": "No valid host"}]);
    last
}

#[test]
fn every_text_stands_out_in_dark_and_in_light() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    site.last(&colourful(now));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    let ground = || browser.js("return getComputedStyle(document.documentElement).backgroundColor");
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme);
        browser.open(&server.address);
        browser.wait(DRAWN);
        let seen = browser.js(FAINT);
        assert!(seen[0].as_u64().unwrap() > 150, "{seen}");
        assert_eq!(seen[1], json!([]), "{scheme}");
        browser.js("document.querySelector('#tiles button').click()");
        browser.wait("document.querySelector('#node').open");
        assert_eq!(browser.js(FAINT)[1], json!([]), "{scheme}");
        grounds.push(ground());
    }
    assert_ne!(grounds[0], grounds[1]);
    // The switch is stronger than the system, and remembered.
    browser.prefers("light");
    browser.open(&server.address);
    browser.wait(DRAWN);
    browser.js("document.querySelector('input[name=theme][value=dark]').click()");
    assert_eq!(ground(), grounds[1]);
    browser.open(&server.address);
    browser.wait("document.querySelector('input[name=theme][value=dark]').checked");
    assert_eq!(ground(), grounds[1]);
    nothing_amiss(&browser, &server.address);
}

#[test]
fn it_fits_every_screen() {
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 1, 300));
    site.last(&colourful(now));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    for width in [360, 390, 768, 1024, 1440, 2560] {
        browser.size(width, 800);
        browser.open(&server.address);
        browser.wait(DRAWN);
        let overflow = "return [document.documentElement.scrollWidth, document.querySelector('#chart-cost svg').getBoundingClientRect().right].map((x) => x <= innerWidth)";
        assert_eq!(browser.js(overflow), json!([true, true]), "{width}");
        browser.js("document.querySelector('#tiles button').click()");
        browser.wait("document.querySelector('#node').open");
        let fits = "const box = document.querySelector('#node').getBoundingClientRect(); return box.left >= 0 && box.right <= innerWidth && document.querySelector('#node').scrollWidth <= document.querySelector('#node').clientWidth";
        assert_eq!(browser.js(fits), true, "{width}");
    }
    nothing_amiss(&browser, &server.address);
}

#[test]
fn one_file_shows_the_same() {
    let site = Site::demo(8);
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    let shown = || {
        browser.wait(DRAWN);
        [
            "#cluster",
            "#verdict",
            "#queue",
            "#figures",
            "#tiles",
            "#totals",
            "#decision-rows",
            "#sources",
        ]
        .map(|part| browser.text(part))
    };
    let served = shown();
    drop(server);
    browser.console();
    browser.asked_for();
    let file = format!("file://{}", site.once().display());
    browser.open(&file);
    let written = shown();
    assert_eq!(written[0], served[0]);
    assert_eq!(written[2..], served[2..]);
    assert!(browser.text("#live").contains("not live"));
    for range in ["1h", "7d", "30d"] {
        browser.js(&format!(
            "document.querySelector('input[value=\"{range}\"]').click()"
        ));
        browser.wait("!document.querySelector('#plots').hasAttribute('aria-busy')");
        assert_eq!(
            browser.js("return document.querySelectorAll('#plots .plot svg').length"),
            4
        );
    }
    nothing_amiss(&browser, &file);
}

#[test]
fn one_file_says_that_ticks_had_stopped() {
    let site = Site::new();
    let now = Timestamp::now();
    let then = now - SignedDuration::from_hours(72);
    site.lines(&history(then, 1, 300));
    site.last(&snapshot(then, 3));
    let Some(browser) = Browser::start() else {
        return;
    };
    browser.open(&format!("file://{}", site.once().display()));
    browser.wait("document.querySelector('#cluster').textContent === 'pool-1'");
    assert_eq!(browser.text("#verdict"), "1 error");
    assert!(browser.text("#troubles").contains("No tick"));
    // A tick whose clock was ahead says nothing of now either.
    site.last(&snapshot(now + SignedDuration::from_hours(72), 3));
    browser.open(&format!("file://{}?2", site.once().display()));
    browser
        .wait("document.querySelector('#troubles').textContent.includes('ahead of this machine')");
}

#[test]
fn without_javascript_it_says_what_to_do() {
    let site = Site::demo(1);
    let Some(browser) = Browser::start() else {
        return;
    };
    let server = Server::start(&site);
    browser.devtools(
        "Emulation.setScriptExecutionDisabled",
        &json!({"value": true}),
    );
    browser.open(&server.address);
    browser.devtools(
        "Emulation.setScriptExecutionDisabled",
        &json!({"value": false}),
    );
    assert!(browser.text("body").contains("ehos status"));
}

#[test]
fn two_thousand_nodes_stay_fluid() {
    const NODES: usize = 2000;
    let site = Site::new();
    let now = Timestamp::now();
    site.lines(&history(now, 30, 60));
    site.last(&snapshot(now, NODES));
    let Some((browser, server)) = opened(&site) else {
        return;
    };
    browser.open("about:blank");
    let begun = Instant::now();
    browser.open(&server.address);
    browser.wait(&format!(
        "document.querySelectorAll('#tiles button').length === {NODES}"
    ));
    browser.wait(DRAWN);
    let loaded = begun.elapsed();
    println!("{NODES} nodes are there after {loaded:?}");
    assert!(loaded < Duration::from_secs(20), "{loaded:?}");

    // A tick in which one node is another: one tile is touched.
    browser.js("window.touched = new Set(); new MutationObserver((all) => all.forEach(({ target }) => { const e = target.nodeType === 3 ? target.parentElement : target; const b = e?.closest('#tiles button'); if (b) window.touched.add(b.dataset.node); })).observe(document.querySelector('#tiles'), { subtree: true, childList: true, attributes: true, characterData: true })");
    browser.js("window.longest = 0; new PerformanceObserver((all) => { for (const one of all.getEntries()) window.longest = Math.max(window.longest, one.duration); }).observe({ type: 'longtask' })");
    let mut next = snapshot(now + SignedDuration::from_secs(60), NODES);
    next["nodes"][1234]["startd"]["claimed_cpus"] = json!(7);
    next["nodes"][1234]["name"] = json!("renamed");
    site.last(&next);
    browser.wait("window.touched.size > 0");
    browser.wait("document.querySelector('#tiles button[data-node=\"n-1234\"]').getAttribute('aria-label').includes('renamed')");
    let touched = browser.js("return [...window.touched]");
    assert_eq!(touched, json!(["n-1234"]));
    let longest = browser.js("return window.longest");
    println!("the longest task of the update took {longest} ms");
    assert!(longest.as_f64().unwrap() < 2000.0, "{longest} ms");
    nothing_amiss(&browser, &server.address);
}

#[test]
fn the_address_with_the_token_opens_the_page_and_the_cookie_keeps_it_open() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let site = Site::demo(6);
    let server = Server::asking(&site);
    let address = &server.address;
    browser.open(address);
    let refused = browser.text("body");
    assert!(refused.contains("ehos frontend --url"), "{refused}");
    assert!(!refused.contains("demo"), "{refused}");
    let token = std::fs::read_to_string(site.path().join("frontend.token")).unwrap();
    browser.open(&format!("{address}/?token={}", token.trim()));
    browser.wait(DRAWN);
    assert_eq!(browser.text("#cluster"), "demo");
    // It stands neither in the address nor where a script could read it.
    assert_eq!(browser.js("return location.href"), format!("{address}/"));
    assert_eq!(browser.js("return document.cookie"), "");
    browser.open(address);
    browser.wait(DRAWN);
    // The console has the refusal of the first try.
    assert!(
        browser
            .asked_for()
            .iter()
            .all(|one| one.starts_with(address))
    );
}
