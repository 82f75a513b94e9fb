//! The page of `ehos simulate` in a real browser.

use serde_json::json;

use crate::comparison;
use ehos::commands::simulate::page;
use replay::comparison::Comparison;
use testkit::webdriver::Browser;

const ATTACK: &str = "</script><img src=x onerror=alert(1)>";

/// A page in a file of its own, opened.
fn opened(comparison: &Comparison, command: &str) -> Option<(Browser, tempfile::TempDir, String)> {
    let browser = Browser::start()?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("simulate.html");
    std::fs::write(&file, page::render(comparison, command).unwrap()).unwrap();
    let address = format!("file://{}", file.display());
    browser.open(&address);
    browser.wait("document.querySelector('#chart-cores svg')");
    Some((browser, folder, address))
}

/// The console is empty, and the page has loaded nothing but itself.
fn asks_nobody(browser: &Browser, address: &str) {
    assert_eq!(browser.console(), Vec::<String>::new());
    assert_eq!(browser.asked_for(), [address]);
}

/// Writes pictures to this folder, for people to look at.
fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("EHOS_PICTURES") {
        let file = std::path::Path::new(&folder).join(name);
        std::fs::write(file, browser.picture()).unwrap();
    }
}

#[test]
fn a_sweep_is_drawn_and_each_run_can_be_compared() {
    let comparison = comparison::sweep(&["ada", "grace"], true, |_| {});
    let Some((browser, _folder, address)) =
        opened(&comparison, "ehos simulate --jobs history.json")
    else {
        return;
    };
    for (name, width, scheme) in [
        ("light.png", 1440, "light"),
        ("dark.png", 1440, "dark"),
        ("narrow.png", 420, "light"),
    ] {
        browser.size(width, 900);
        browser.prefers(scheme);
        browser.wait(&format!(
            "document.querySelector('#scatter svg').clientWidth < {width} && document.querySelector('#scatter svg').clientWidth > {}",
            width / 2
        ));
        picture(&browser, name);
        // Nothing is wider than the window.
        assert_eq!(
            browser.js("return document.documentElement.scrollWidth <= innerWidth"),
            true,
            "{name}"
        );
    }
    browser.size(1440, 900);
    let runs = comparison.runs.len();
    let rows = || browser.js("return document.querySelectorAll('#runs tbody tr').length");
    let listed = comparison
        .runs
        .iter()
        .filter(|run| run.is_on_frontier)
        .count()
        + 1
        + 5;
    assert_eq!(rows(), json!(listed + 1));
    browser.js("document.querySelector('#more-runs').click()");
    assert_eq!(rows(), json!(runs + 1));
    assert_eq!(
        browser.js("return [document.querySelectorAll('#scatter .run').length, document.querySelectorAll('#scatter .mark-current').length, document.querySelectorAll('#scatter .mark-knee').length]"),
        json!([runs, 1, 1])
    );
    assert_eq!(
        browser.text("#advice p"),
        comparison.advice.clone().unwrap()
    );
    assert!(browser.text("#command").contains("--jobs history.json"));
    assert!(browser.text("#limits").contains("31 h, 812 job-hours"));
    assert!(
        browser
            .text("#notes")
            .contains("12 ends before it starts, first: line 17")
    );
    // The knee is compared first; a click on a mark compares its run.
    let chosen =
        || browser.js("return document.querySelector('#run').selectedOptions[0].textContent");
    assert_eq!(chosen(), json!("idle_timeout=2m nodes_spare=1"));
    browser.js("[...document.querySelectorAll('#scatter .run')].find((one) => one.querySelector('title').textContent.startsWith('queue-cores')).dispatchEvent(new MouseEvent('click'))");
    assert_eq!(chosen(), json!("queue-cores"));
    let legend = browser.text("#plots");
    assert!(legend.contains("paid, queue-cores"), "{legend}");
    assert!(browser.text("#differences").contains("2,540"));
    asks_nobody(&browser, &address);
}

#[test]
fn names_of_owners_are_text() {
    let comparison = comparison::sweep(&["ada", ATTACK], false, |run| {
        run.figures.rule = ATTACK.to_owned();
        run.figures.wait_by_owner[0].name = ATTACK.to_owned();
        run.figures.wait_by_request[0].name = ATTACK.to_owned();
        run.figures.limits[0].limit = ATTACK.to_owned();
        if !run.is_of_ehos() {
            run.name = ATTACK.to_owned();
        }
    });
    let mut comparison = comparison;
    comparison.workload.source = ATTACK.to_owned();
    comparison.advice = Some(ATTACK.to_owned());
    comparison
        .workload
        .notes
        .count(ATTACK, || ATTACK.to_owned());
    let Some((browser, _folder, address)) = opened(&comparison, ATTACK) else {
        return;
    };
    for place in [
        "#workload",
        "#advice",
        "#scatter",
        "#runs",
        "#limits",
        "#owners",
        "#requests",
        "#notes",
        "#command",
        "#run",
    ] {
        let text = browser.js(&format!(
            "return document.querySelector('{place}').textContent"
        ));
        assert!(text.as_str().unwrap().contains(ATTACK), "{place}: {text}");
    }
    assert_eq!(
        browser.js("return document.querySelectorAll('img').length"),
        0
    );
    // Without calendar time the charts count from the first submission.
    assert!(browser.text("#plots").contains("1 d"));
    asks_nobody(&browser, &address);
}

#[test]
fn one_run_without_a_sweep_is_a_page() {
    let mut comparison = comparison::small();
    comparison.runs.truncate(1);
    comparison.advice = None;
    let Some((browser, _folder, address)) = opened(&comparison, "ehos simulate") else {
        return;
    };
    browser.size(1440, 900);
    picture(&browser, "one.png");
    assert_eq!(
        browser.js("return ['advice', 'frontier', 'compare'].map((id) => document.getElementById(id).hidden)"),
        json!([true, true, true])
    );
    asks_nobody(&browser, &address);
}
