//! The formats of user data that cloud-init takes, and what can be checked in each.
//!
//! Source: cloud-init, "User data formats"; its cloudinit/user_data.py and cloudinit/handlers/__init__.py.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{CLOUD_CONFIG, JINJA};

const ARCHIVE: &str = "#cloud-config-archive";

/// Beginnings of user data of which nothing can be checked: scripts, lists of addresses, Python, JSON patches.
const OPAQUE: [&str; 6] = [
    "#!",
    "#include",
    "#cloud-boothook",
    "#part-handler",
    "#upstart-job",
    "#cloud-config-jsonp",
];

/// cloud-init looks for the header no further.
const MIME_HEAD: usize = 4096;

/// A format of user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    CloudConfig,
    /// A list of user data in YAML.
    Archive,
    /// A MIME message, of several parts or one.
    Mime,
    /// Something that is not YAML, or is not YAML before Jinja has rendered it.
    Opaque,
}

impl Format {
    /// The format of this text, and whether Jinja renders it on the node.
    ///
    /// # Errors
    /// When cloud-init would ignore it: why.
    pub(super) fn of(text: &str) -> Result<(Format, bool), &'static str> {
        let mut lines = text.lines().map(str::trim_end);
        let first = lines.next().unwrap_or_default();
        if first == JINJA {
            let second = lines.next().unwrap_or_default();
            let rendered = is_header(second, CLOUD_CONFIG)
                || second.starts_with("#!")
                || second.starts_with("#cloud-boothook");
            return if rendered {
                Ok((Format::Opaque, true))
            } else {
                Err("its second line must be `#cloud-config`, `#cloud-boothook` or begin with `#!`")
            };
        }
        if is_header(first, CLOUD_CONFIG) {
            return Ok((Format::CloudConfig, false));
        }
        if is_header(first, ARCHIVE) {
            return Ok((Format::Archive, false));
        }
        if OPAQUE.iter().any(|beginning| first.starts_with(beginning)) {
            return Ok((Format::Opaque, false));
        }
        if is_mime_header(first) {
            let head = text.get(..MIME_HEAD).unwrap_or(text).to_ascii_lowercase();
            return if head.contains("mime-version:") {
                Ok((Format::Mime, false))
            } else {
                Err("a MIME message needs a line `MIME-Version: 1.0` in its head")
            };
        }
        Err(
            "its first line must be `#cloud-config` (or `## template: jinja` and then that), `#!` and a program, \
             `#cloud-config-archive`, `#cloud-boothook`, `#include`, or the head of a MIME message",
        )
    }

    /// What is no YAML of this filled-in text and should be.
    pub(super) fn problem(self, text: &str) -> Option<String> {
        let yaml = |text: &str| {
            let parsed = yaml::read::<IgnoredAny>(text);
            parsed.err().map(|error| error.to_string())
        };
        match self {
            Format::CloudConfig => yaml(text),
            Format::Archive => match yaml::read::<Option<Vec<Entry>>>(text) {
                Err(error) => Some(error.to_string()),
                Ok(entries) => {
                    let mut entries = entries.into_iter().flatten().enumerate();
                    entries.find_map(|(index, entry)| {
                        let problem = yaml(entry.cloud_config()?)?;
                        Some(format!("entry {}: {problem}", index + 1))
                    })
                }
            },
            Format::Mime => parts(text).iter().enumerate().find_map(|(index, part)| {
                let problem = part.is_cloud_config().then(|| yaml(part.body))??;
                Some(format!("part {}: {problem}", index + 1))
            }),
            Format::Opaque => None,
        }
    }
}

fn is_header(line: &str, header: &str) -> bool {
    line.strip_prefix(header)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

fn is_mime_header(line: &str) -> bool {
    let name = line.split_once(':').map(|(name, _)| name);
    name.is_some_and(|name| {
        [
            "content-type",
            "mime-version",
            "from",
            "content-transfer-encoding",
        ]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// One entry of an archive.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Text(String),
    Typed {
        #[serde(default)]
        content: yaml::Value,
        #[serde(rename = "type")]
        kind: Option<String>,
    },
    Other(IgnoredAny),
}

impl Entry {
    fn cloud_config(&self) -> Option<&str> {
        let (text, kind) = match self {
            Entry::Text(text) => (text.as_str(), None),
            Entry::Typed { content, kind } => (content.as_str()?, kind.as_deref()),
            Entry::Other(_) => return None,
        };
        let first = text.lines().next().unwrap_or_default().trim_end();
        let is = match kind {
            Some(kind) => kind.trim() == "text/cloud-config",
            // cloud-init takes a text without a type and without a known beginning for one.
            None => !first.starts_with('#') || is_header(first, CLOUD_CONFIG),
        };
        is.then_some(text)
    }
}

/// A part of a MIME message.
pub(super) struct Part<'t> {
    kind: String,
    encoding: String,
    pub(super) body: &'t str,
}

impl Part<'_> {
    /// Whether it is YAML as it stands.
    fn is_cloud_config(&self) -> bool {
        let plain = ["", "7bit", "8bit", "binary"].contains(&self.encoding.as_str());
        let first = self.body.lines().next().unwrap_or_default().trim_end();
        // cloud-init goes by the beginning where the type says nothing.
        let by_type = self.kind == "text/cloud-config" && first != JINJA;
        let by_text = ["", "text/plain", "text/x-not-multipart"].contains(&self.kind.as_str())
            && is_header(first, CLOUD_CONFIG);
        plain && (by_type || by_text)
    }
}

/// The parts of a MIME message that are no containers (RFC 2046).
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut all = Vec::new();
    add_parts(text, 0, &mut all);
    all
}

fn add_parts<'t>(text: &'t str, depth: usize, all: &mut Vec<Part<'t>>) {
    let (head, body) = head_and_body(text);
    let kind = field(head, "content-type").unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    if media.starts_with("multipart/") && depth < 5 {
        if let Some(boundary) = boundary(&kind) {
            for part in between(body, &boundary) {
                add_parts(part, depth + 1, all);
            }
        }
        return;
    }
    let encoding = field(head, "content-transfer-encoding").unwrap_or_default();
    all.push(Part {
        kind: media,
        encoding: encoding.trim().to_ascii_lowercase(),
        body,
    });
}

/// The header fields, and what follows the empty line after them.
fn head_and_body(text: &str) -> (&str, &str) {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let after = end + line.len();
        if line.trim_end_matches(['\r', '\n']).is_empty() {
            return (
                text.get(..end).unwrap_or_default(),
                text.get(after..).unwrap_or_default(),
            );
        }
        end = after;
    }
    (text, "")
}

/// The value of a header field, with the lines that continue it.
fn field(head: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in head.lines() {
        match &mut value {
            Some(value) if line.starts_with([' ', '\t']) => value.push_str(line),
            Some(_) => break,
            None => {
                let (key, rest) = line.split_once(':').unwrap_or((line, ""));
                if key.eq_ignore_ascii_case(name) {
                    value = Some(rest.to_owned());
                }
            }
        }
    }
    value
}

fn boundary(kind: &str) -> Option<String> {
    kind.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// What stands between the lines with the boundary.
fn between<'t>(body: &'t str, boundary: &str) -> Vec<&'t str> {
    let mut all = Vec::new();
    let mut start: Option<usize> = None;
    let mut at = 0;
    for line in body.split_inclusive('\n') {
        let mark = line
            .trim_end()
            .strip_prefix("--")
            .and_then(|rest| rest.strip_prefix(boundary));
        if let Some(rest @ ("" | "--")) = mark {
            all.extend(start.and_then(|start| body.get(start..at)));
            start = rest.is_empty().then_some(at + line.len());
        }
        at += line.len();
    }
    all.extend(start.and_then(|start| body.get(start..)));
    all
}

/// The message with those of its texts in base64 as they are that are ASCII: tags in them can be filled in. Others keep
/// their encoding, for cloud-init reads letters beyond ASCII wrongly in a part without one.
pub(super) fn with_readable_parts(text: &str) -> String {
    let mut out = text.to_owned();
    for part in parts(text) {
        if part.encoding != "base64" || !part.kind.starts_with("text/") {
            continue;
        }
        let compact: String = part.body.split_whitespace().collect();
        let decoded = BASE64.decode(compact).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(decoded) = decoded.filter(|decoded| decoded.is_ascii()) else {
            continue;
        };
        let Some(start) = out.find(part.body).filter(|_| !part.body.trim().is_empty()) else {
            continue;
        };
        let (before, after) = out.split_at(start);
        let after = after.strip_prefix(part.body).unwrap_or(after);
        let head = before.to_ascii_lowercase();
        let Some(at) = head.rfind("content-transfer-encoding:") else {
            continue;
        };
        let length = head.get(at..).and_then(|rest| rest.find('\n'));
        let line_end = at + length.unwrap_or(0);
        let (Some(kept), Some(rest)) = (before.get(..at), before.get(line_end..)) else {
            continue;
        };
        let newline = if decoded.ends_with('\n') { "" } else { "\n" };
        out = format!("{kept}Content-Transfer-Encoding: 7bit{rest}{decoded}{newline}{after}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cloud_init_takes_is_taken() {
        for (text, format) in [
            ("#cloud-config\na: 1\n", Format::CloudConfig),
            ("#cloud-config # mine\n", Format::CloudConfig),
            ("#!/bin/sh\n", Format::Opaque),
            ("#!/usr/bin/env python3\n", Format::Opaque),
            ("#include\nhttps://a/b\n", Format::Opaque),
            ("#include https://a/b\n", Format::Opaque),
            ("#include-once\nhttps://a/b\n", Format::Opaque),
            ("#cloud-boothook\n#!/bin/sh\n", Format::Opaque),
            ("#part-handler\n", Format::Opaque),
            ("#cloud-config-jsonp\n[]\n", Format::Opaque),
            ("#cloud-config-archive\n- a\n", Format::Archive),
            ("## template: jinja\n#!/bin/sh\n", Format::Opaque),
            ("## template: jinja\n#cloud-config\n", Format::Opaque),
            (
                "MIME-Version: 1.0\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n",
                Format::Mime,
            ),
            (
                "Content-Type: multipart/mixed; boundary=\"=\"\nMIME-Version: 1.0\n\n",
                Format::Mime,
            ),
            (
                "content-type: multipart/mixed; boundary=a\r\nmime-version: 1.0\r\n\r\n",
                Format::Mime,
            ),
        ] {
            assert_eq!(
                Format::of(text).map(|(format, _)| format),
                Ok(format),
                "{text}"
            );
        }
        for text in [
            "",
            "a: 1\n",
            "#cloud-init\n",
            "#cloud-configuration\n",
            "<powershell>",
            "# a\n#cloud-config\n",
        ] {
            let why = Format::of(text).unwrap_err();
            assert!(why.starts_with("its first line must be"), "{text}");
        }
        let why = Format::of("Content-Type: multipart/mixed; boundary=a\n\n").unwrap_err();
        assert!(why.contains("MIME-Version: 1.0"), "{why}");
        let why = Format::of("## template: jinja\n#include\n").unwrap_err();
        assert!(why.starts_with("its second line"), "{why}");
    }

    #[test]
    fn only_the_cloud_config_in_a_message_or_an_archive_is_checked_as_yaml() {
        let mime = |first: &str, second: &str| {
            format!(
                "Content-Type: multipart/mixed;\n boundary=\"==\"\nMIME-Version: 1.0\n\n--==\n{first}\n--==\n{second}\n--==--\n"
            )
        };
        let script = "Content-Type: text/x-shellscript\n\n#!/bin/sh\necho 'a: [' \"b: {\"\n";
        let good = "Content-Type: text/cloud-config; charset=\"us-ascii\"\n\n#cloud-config\na: 1\n";
        let bad = "Content-Type: text/plain\n\n#cloud-config\na: [\n";
        assert_eq!(Format::Mime.problem(&mime(good, script)), None);
        let problem = Format::Mime.problem(&mime(script, bad)).unwrap();
        assert!(problem.starts_with("part 2: "), "{problem}");
        let crlf = mime(script, bad).replace('\n', "\r\n");
        assert!(Format::Mime.problem(&crlf).is_some());
        let jinja =
            "Content-Type: text/cloud-config\n\n## template: jinja\n#cloud-config\n{% if x %}\n";
        assert_eq!(Format::Mime.problem(&mime(script, jinja)), None);

        let archive =
            |entry: &str| format!("#cloud-config-archive\n- |\n  #!/bin/sh\n  a: [\n{entry}");
        assert_eq!(
            Format::Archive.problem(&archive("- {type: text/x-shellscript, content: 'a: ['}\n")),
            None
        );
        for bad in [
            "- |\n  #cloud-config\n  a: [\n",
            "- {type: text/cloud-config, content: 'a: ['}\n",
        ] {
            let problem = Format::Archive.problem(&archive(bad)).unwrap();
            assert!(problem.starts_with("entry 2: "), "{problem}");
        }
        assert!(
            Format::Archive
                .problem("#cloud-config-archive\n- a: [\n")
                .is_some()
        );
        assert_eq!(Format::Opaque.problem("#!/bin/sh\na: [\n"), None);
    }

    #[test]
    fn texts_in_base64_are_opened_where_they_are_ascii() {
        let message = |body: &str| {
            let body = BASE64.encode(body);
            format!(
                "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/cloud-config\n\
                 Content-Transfer-Encoding: base64\n\n{body}\n--x--\n"
            )
        };
        let open = with_readable_parts(&message("#cloud-config\na: {host_ip}\n"));
        assert!(
            open.contains("Content-Transfer-Encoding: 7bit\n\n#cloud-config\na: {host_ip}\n--x--"),
            "{open}"
        );
        let closed = message("#cloud-config\na: é\n");
        assert_eq!(with_readable_parts(&closed), closed);
    }
}
