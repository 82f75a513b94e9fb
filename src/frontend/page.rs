//! The files of the page, which are part of the program.

use super::answer::Answer;

/// What the page is.
pub const HTML: &str = include_str!("page/index.html");
/// How it looks, besides its charts.
pub const CSS: &str = include_str!("page/page.css");
/// What it does, besides its charts.
pub const JS: &str = include_str!("page/page.js");
/// The style of a page with charts.
pub const CHARTS_CSS: &str = include_str!("page/charts.css");
/// The script of a page with charts.
pub const CHARTS_JS: &str = include_str!("page/charts.js");
/// The icon of its tab.
pub const ICON: &str = include_str!("page/icon.svg");

pub fn file(path: &str) -> Option<Answer> {
    let (content_type, parts) = match path {
        "/" => ("text/html; charset=utf-8", ["", HTML]),
        "/page.css" => ("text/css; charset=utf-8", [CHARTS_CSS, CSS]),
        "/page.js" => ("text/javascript; charset=utf-8", [CHARTS_JS, JS]),
        "/icon.svg" => ("image/svg+xml", ["", ICON]),
        _ => return None,
    };
    Some(Answer::ok(content_type, parts.concat().into_bytes()))
}
