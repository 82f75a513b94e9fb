//! The files of the page, which are part of the program.

use super::answer::Answer;

/// What the page is.
pub const HTML: &str = include_str!("page/index.html");
/// How it looks.
pub const CSS: &str = include_str!("page/page.css");
/// What it does.
pub const JS: &str = include_str!("page/page.js");
/// The icon of its tab.
pub const ICON: &str = include_str!("page/icon.svg");

pub fn file(path: &str) -> Option<Answer> {
    let (content_type, text) = match path {
        "/" => ("text/html; charset=utf-8", HTML),
        "/page.css" => ("text/css; charset=utf-8", CSS),
        "/page.js" => ("text/javascript; charset=utf-8", JS),
        "/icon.svg" => ("image/svg+xml", ICON),
        _ => return None,
    };
    Some(Answer::ok(content_type, text.as_bytes()))
}
