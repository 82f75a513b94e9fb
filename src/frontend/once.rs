//! A page with its data as one file, for hosts that serve static files.

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

use super::page;
use super::routes::Router;

/// The page with what `site` shows now.
///
/// # Errors
/// When the history cannot be read.
pub fn html(site: &Router) -> anyhow::Result<String> {
    let data = site.all().context("the history cannot be read")?;
    let data = std::str::from_utf8(&data.body).context("the last tick is not UTF-8")?;
    charts_page(page::HTML, page::CSS, page::JS, data)
}

/// A page with charts, of this command or another: `css` and `js` follow the code of [`page::CHARTS_CSS`] and
/// [`page::CHARTS_JS`], and `data` is JSON, the text of the element `data`.
///
/// # Errors
/// When `html` lacks one of the places that a page has.
pub fn charts_page(html: &str, css: &str, js: &str, data: &str) -> anyhow::Result<String> {
    let css = format!("{}{css}", page::CHARTS_CSS);
    let js = format!("{}{js}", page::CHARTS_JS);
    single_file(html, &css, &js, data)
}

/// A page whose policy lets this style and this script run, and nothing be loaded.
fn single_file(html: &str, css: &str, js: &str, data: &str) -> anyhow::Result<String> {
    // Nothing in it ends the element that it is in; in JSON there is no `<` outside strings.
    let data = data.replace('<', "\\u003c");
    let icon = format!("data:image/svg+xml;base64,{}", BASE64.encode(page::ICON));
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash(js),
        hash(css)
    );
    let mut html = html.to_owned();
    // What is put in last may have such words in it; so the page's own come first.
    put(
        &mut html,
        "<meta charset=\"utf-8\">",
        &format!(
            "<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">"
        ),
    )?;
    put(&mut html, "\"icon.svg\"", &format!("\"{icon}\""))?;
    put(
        &mut html,
        "<link rel=\"stylesheet\" href=\"page.css\">",
        &format!("<style>{css}</style>"),
    )?;
    put(
        &mut html,
        "<script type=\"module\" src=\"page.js\"></script>",
        "",
    )?;
    let end = format!(
        "<script type=\"application/json\" id=\"data\">{data}</script>\n<script type=\"module\">{js}</script>\n</body>"
    );
    put(&mut html, "</body>", &end)?;
    Ok(html)
}

/// As a policy names what it lets run.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(Sha256::digest(text)))
}

fn put(html: &mut String, place: &str, text: &str) -> anyhow::Result<()> {
    let Some(at) = html.find(place) else {
        bail!("the page has no {place}; report this as a fault of ehos");
    };
    html.replace_range(at..at + place.len(), text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::History;

    #[test]
    fn nothing_in_the_page_ends_what_it_is_put_into_or_comes_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let mut last = report::TickReport::default();
        last.notices
            .push("</script><script>alert(1)</script> </body>".to_owned());
        let text = serde_json::to_vec(&last).unwrap();
        std::fs::write(report::history::last_file(folder.path()), text).unwrap();
        let html = html(&Router::new(History::new(folder.path().to_owned()))).unwrap();
        for script in [page::CHARTS_JS, page::JS] {
            assert!(!script.contains("</script"));
        }
        for style in [page::CHARTS_CSS, page::CSS] {
            assert!(!style.contains("</style"));
        }
        assert!(!html.contains("alert(1)</script>"));
        assert_eq!(html.matches("<script").count(), 2);
        assert_eq!(html.matches("</script").count(), 2);
        for other in [
            "src=\"",
            "href=\"page",
            "href=\"icon",
            "http://",
            "https://",
        ] {
            let known = "http://www.w3.org/";
            assert!(!html.replace(known, "").contains(other), "{other}");
        }
        let (_, data) = html.split_once("id=\"data\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(
            data["page"]["tick"]["notices"][0],
            "</script><script>alert(1)</script> </body>"
        );
        assert_eq!(data["series"]["30d"]["t"].as_array().unwrap().len(), 360);
        assert!(data["written"].is_string());
    }
}
