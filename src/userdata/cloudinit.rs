//! User data for servers: cloud-init templates with `{markup}` filled in.
//!
//! A tag is exactly `{name}` with a name of `[a-z_]+`, not next to another brace and not after a `$`. All other
//! braces pass through untouched: Jinja's `{{ }}` and `{% %}`, the shell's `${X}`, nftables' `{ a, b }`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use scaling::sorting::IntoSet;
use secrecy::{ExposeSecret, SecretString};

use crate::builtin_templates;
use system::advice::Advice;
use system::rights;

mod format;

use format::Format;

/// The tags that ehos knows, and what stands in their place.
pub const TAGS: [(&str, &str); 16] = [
    ("host_ip", "the central manager's address (condor.host_ip)"),
    ("master_ip", "the same as {host_ip}"),
    ("password", "the shared pool password (condor.password)"),
    ("token", "the token with which a node joins the pool"),
    (
        "trust_domain",
        "the TRUST_DOMAIN and UID_DOMAIN of the pool",
    ),
    ("ehos_node", "the id of the node"),
    ("ehos_cluster", "the id of the pool (ehos.cluster)"),
    ("cloud", "the cloud's name in the configuration"),
    ("region", "the cloud's region"),
    ("flavor", "the server's flavor, as configured"),
    ("image", "the server's image, as configured"),
    (
        "ccb_address",
        "the central manager's address and port for nodes that it cannot reach (ccb), else nothing",
    ),
    (
        "noclaim_shutdown",
        "the seconds without a claim after which a node powers itself off (condor.scale_down), else 0",
    ),
    (
        "retire_at",
        "the second of the Unix clock from which on a node takes no new jobs (max_lifetime), else 0",
    ),
    (
        "execute_yaml",
        "in master.yaml: the nodes' execute.yaml, in base64",
    ),
    (
        "ehos_yaml",
        "in master.yaml: the pool's ehos.yaml without secrets, in base64",
    ),
];

/// Nova takes at most this many characters of base64 (`user_data` in its API reference).
pub const MAX_BASE64: usize = 65_535;

const CLOUD_CONFIG: &str = "#cloud-config";
const JINJA: &str = "## template: jinja";
/// The key of the message that cloud-init prints when it is through.
const FINAL_MESSAGE: &str = "final_message:";

fn list<'a>(tags: impl Iterator<Item = &'a str>) -> String {
    tags.map(|tag| format!("{{{tag}}}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn meaning(tag: &str) -> &'static str {
    TAGS.iter()
        .find(|(name, _)| *name == tag)
        .map_or("no tag of ehos", |(_, meaning)| meaning)
}

/// A piece of a template.
enum Piece {
    Text(String),
    Tag {
        name: String,
        line: usize,
        column: usize,
    },
}

/// A cloud-init template.
pub struct Template {
    name: String,
    format: Format,
    jinja: bool,
    pieces: Vec<Piece>,
}

impl fmt::Debug for Template {
    // The text may hold what its author should rather have put into a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("name", &self.name)
            .field("tags", &self.tags())
            .finish_non_exhaustive()
    }
}

impl Template {
    /// The template in the file `path`.
    ///
    /// # Errors
    /// As [`Template::parse`], and when the file cannot be read.
    pub fn load(path: &Path) -> Result<Template, Advice> {
        let name = path.display().to_string();
        let bytes = builtin_templates::read_bytes(path).map_err(|error| {
            rights::told(path, &error)
                .at(format_args!("{name}: cannot read the user data template"))
        })?;
        let text = text_of(bytes).map_err(|(what, remedy)| {
            let problem = format!("{name}: the user data template is {what}");
            Advice::from((problem, remedy))
        })?;
        Template::parse(&name, &text)
    }

    /// `text` as a template; `name` is what errors call it.
    ///
    /// # Errors
    /// When it does not begin as cloud-init wants it, or has a tag that ehos does not know.
    pub fn parse(name: &str, text: &str) -> Result<Template, Advice> {
        // Editors of Windows begin a file with it; cloud-init would not know the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (format, jinja) = Format::of(text)
            .map_err(|why| format!("{name}:1: cloud-init ignores this user data: {why}"))?;
        let pieces = match format {
            Format::Mime => split(&format::with_readable_parts(text)),
            Format::CloudConfig | Format::Archive | Format::Opaque => split(text),
        };
        for piece in &pieces {
            if let Piece::Tag {
                name: tag, line, ..
            } = piece
                && !TAGS.iter().any(|(known, _)| known == tag)
            {
                let problem = format!(
                    "{name}:{line}: there is no tag `{{{tag}}}`: the tags are {}",
                    list(TAGS.iter().map(|(tag, _)| *tag))
                );
                let remedy = format!("write braces that are no tag as `{{ {tag} }}`");
                return Err((problem, remedy).into());
            }
        }
        Ok(Template {
            name: name.to_owned(),
            format,
            jinja,
            pieces,
        })
    }

    pub fn tags(&self) -> BTreeSet<&str> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Tag { name, .. } => Some(name.as_str()),
                Piece::Text(_) => None,
            })
            .into_set()
    }

    /// The part of the template's `final_message` by which it is known on a console: the longest one without a variable
    /// of cloud-init in it (`$uptime`, `{{ … }}`), a tag of ehos, or a line break. `None`: cloud-init prints its own
    /// message.
    pub fn final_message(&self) -> Option<String> {
        let text: String = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                // Not known here: it parts the message as a variable does.
                Piece::Tag { .. } => "${tag}",
            })
            .collect();
        // Jinja's statements are no YAML, but only this key and the indented lines after it are looked at.
        let mut lines = text
            .lines()
            .skip_while(|line| !line.starts_with(FINAL_MESSAGE));
        let mut block = lines.next()?.to_owned();
        for line in lines.take_while(|line| line.is_empty() || line.starts_with([' ', '\t'])) {
            block.push('\n');
            block.push_str(line);
        }
        let parsed: BTreeMap<String, String> = yaml::read(&block).ok()?;
        let message = parsed.into_values().next()?;
        fixed_parts(&message)
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .max_by_key(|part| part.len())
            .map(str::to_owned)
    }

    /// The user data, with `values` in the place of the tags. The result is a secret, as the values are.
    ///
    /// The further lines of a value that has several are indented to the tag's column, so that they stay in the
    /// YAML block that the tag stands in.
    ///
    /// # Errors
    /// When a tag has no value, a value cannot stand in a template, or the result is not YAML (where it is not
    /// to be rendered by Jinja first) or too long for Nova.
    pub fn render(&self, values: &BTreeMap<&str, SecretString>) -> Result<SecretString, Advice> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Tag { name, line, column } => {
                    let value = values
                        .get(name.as_str())
                        .ok_or_else(|| {
                            format!(
                                "{}:{line}: no value for `{{{name}}}` ({}): values are known for {}",
                                self.name,
                                meaning(name),
                                list(values.keys().copied())
                            )
                        })?
                        .expose_secret();
                    // The newline at the end of a file that the value was read from.
                    let value = value.strip_suffix('\n').unwrap_or(value);
                    self.check(value, name, *line, *column)?;
                    for (index, part) in value.split('\n').enumerate() {
                        if index > 0 {
                            out.push('\n');
                            out.extend(std::iter::repeat_n(' ', *column));
                        }
                        out.push_str(part);
                    }
                }
            }
        }
        let length = out.len().div_ceil(3) * 4;
        if length > MAX_BASE64 {
            let problem = format!(
                "{}: the user data is too long: {length} characters of base64, and Nova takes {MAX_BASE64}",
                self.name
            );
            return Err((problem, "move software into the image (base.yaml)").into());
        }
        if let Some(problem) = self.format.problem(&out) {
            let problem = format!(
                "{}: the user data is not YAML once its tags are filled in: {problem}",
                self.name
            );
            let remedy =
                "put a tag whose value may hold special characters into quotes or a block (`|`)";
            return Err((problem, remedy).into());
        }
        Ok(SecretString::from(out))
    }

    fn check(&self, value: &str, tag: &str, line: usize, column: usize) -> Result<(), Advice> {
        let why = if value.chars().any(|c| c.is_control() && c != '\n') {
            "has control characters"
        } else if column == 0 && value.contains('\n') {
            "has several lines, and the tag stands at the beginning of a line; indent the tag"
        } else if self.jinja && ["{{", "{%", "{#"].iter().any(|open| value.contains(open)) {
            "has `{{`, `{%` or `{#`, which Jinja would take for its own"
        } else {
            return Ok(());
        };
        let template = &self.name;
        let problem =
            format!("{template}:{line}: the value for `{{{tag}}}` cannot stand here: it {why}");
        Err(problem.into())
    }
}

/// The text in these bytes; else what they are, and what to do.
fn text_of(bytes: Vec<u8>) -> Result<String, (&'static str, &'static str)> {
    match bytes.as_slice() {
        [0x1f, 0x8b, ..] => {
            return Err(("compressed by gzip", "give it as it is before gzip"));
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [_, 0, ..] | [0, _, ..] => {
            return Err(("not UTF-8", "convert it: iconv -f UTF-16 -t UTF-8"));
        }
        _ => {}
    }
    String::from_utf8(bytes).map_err(|_| ("not UTF-8", "convert it: iconv -f ISO-8859-1 -t UTF-8"))
}

/// What stands between the variables and the line breaks of a message.
fn fixed_parts(message: &str) -> impl Iterator<Item = &str> {
    let variable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '{' | '}');
    message
        .lines()
        .flat_map(|line| line.split("{{"))
        .flat_map(|part| {
            part.split_once("}}")
                .map_or(part, |(_, after)| after)
                .split('$')
                .enumerate()
        })
        .map(move |(index, part)| match index {
            0 => part,
            _ => part.trim_start_matches(variable),
        })
}

/// `text` cut at its tags.
fn split(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let (mut line, mut column) = (1, 0);
    let mut before = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(name) = tag_at(rest, before) {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Tag {
                name: name.to_owned(),
                line,
                column,
            });
            let length = name.len() + 2;
            rest = rest.get(length..).unwrap_or_default();
            column += length;
            before = Some('}');
            continue;
        }
        plain.push(c);
        if c == '\n' {
            line += 1;
            column = 0;
        } else {
            column += 1;
        }
        before = Some(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    pieces.push(Piece::Text(plain));
    pieces
}

/// The name of the tag that `rest` begins with, after the character `before`.
fn tag_at(rest: &str, before: Option<char>) -> Option<&str> {
    if matches!(before, Some('{' | '}' | '$')) {
        return None;
    }
    let (name, after) = rest.strip_prefix('{')?.split_once('}')?;
    let named = !name.is_empty() && name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase());
    (named && !after.starts_with(['{', '}'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(pairs: &[(&'static str, &str)]) -> BTreeMap<&'static str, SecretString> {
        pairs
            .iter()
            .map(|(tag, value)| (*tag, SecretString::from(*value)))
            .collect()
    }

    fn render(text: &str, pairs: &[(&'static str, &str)]) -> Result<String, Advice> {
        Template::parse("t.yaml", text)?
            .render(&values(pairs))
            .map(|out| out.expose_secret().to_owned())
    }

    #[test]
    fn tags_are_filled_in_and_other_braces_pass_through() {
        let text = "## template: jinja\n#cloud-config\nruncmd:\n- echo {host_ip} {{ v1.region }} {{region}} ${token} \
                    $(({x}})) {Token} {a1} {} { token } {%if x%}{token}\n";
        let template = Template::parse("t", text).unwrap();
        assert_eq!(template.tags().into_iter().collect::<Vec<_>>(), ["host_ip"]);
        let out = render(text, &[("host_ip", "10.0.0.1")]).unwrap();
        assert_eq!(out, text.replace("{host_ip}", "10.0.0.1"));
    }

    #[test]
    fn an_unknown_tag_names_itself_its_line_and_the_known_ones() {
        let error = render("#cloud-config\na: 1\nb: x{hostip}\n", &[]).unwrap_err();
        insta::assert_snapshot!(error, @"t.yaml:3: there is no tag `{hostip}`: the tags are {host_ip}, {master_ip}, {password}, {token}, {trust_domain}, {ehos_node}, {ehos_cluster}, {cloud}, {region}, {flavor}, {image}, {ccb_address}, {noclaim_shutdown}, {retire_at}, {execute_yaml}, {ehos_yaml}; write braces that are no tag as `{ hostip }`");
    }

    #[test]
    fn an_unfilled_tag_names_itself_its_line_and_the_filled_ones() {
        let error = render(
            "#cloud-config\na: {token}\n",
            &[("flavor", "f"), ("host_ip", "secret")],
        )
        .unwrap_err();
        insta::assert_snapshot!(error, @"t.yaml:2: no value for `{token}` (the token with which a node joins the pool): values are known for {flavor}, {host_ip}");
    }

    #[test]
    fn the_first_line_is_what_cloud_init_wants() {
        for good in [
            "\u{feff}#cloud-config\n",
            "#cloud-config\n",
            "#cloud-config",
            "#cloud-config \r\na: 1\n",
            "## template: jinja\n#cloud-config\n",
        ] {
            assert!(Template::parse("t", good).is_ok(), "{good:?}");
        }
        // The last is the first line of the original's ehos.yaml: cloud-init ignores such user data.
        for bad in [
            "",
            "a: 1\n",
            "\n#cloud-config\n",
            "## template: jinja\n",
            "#cloud-init\n",
        ] {
            assert!(
                Template::parse("t", bad)
                    .is_err_and(|it| it.problem.contains("cloud-init ignores")),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn tags_in_scripts_messages_and_archives_are_filled_in() {
        let mime = "Content-Type: multipart/mixed; boundary=\"====\"\nMIME-Version: 1.0\n\n--====\nContent-Type: \
                    text/cloud-config\n\n#cloud-config\nruncmd: [[touch, /run/first]]\n--====\nContent-Type: \
                    text/x-shellscript\n\n#!/bin/sh\necho 'CONDOR_HOST = {host_ip}' > /etc/condor/config.d/10-pool\n--====--\n";
        let archive = "#cloud-config-archive\n- |\n  #!/bin/sh\n  echo {host_ip}\n";
        for text in [
            mime,
            archive,
            "#!/bin/sh\necho {host_ip} a: [\n",
            "#include https://{host_ip}/a\n",
        ] {
            let out = render(text, &[("host_ip", "10.0.0.1")]).unwrap();
            assert_eq!(out, text.replace("{host_ip}", "10.0.0.1"));
        }
        let error = render(
            &mime.replace("[[touch, ", "[[{cloud}, "),
            &[("host_ip", "a"), ("cloud", "[")],
        );
        let error = error.unwrap_err().to_string();
        let said = "t.yaml: the user data is not YAML once its tags are filled in: part 1: ";
        assert!(error.starts_with(said), "{error}");
    }

    #[test]
    fn what_is_no_text_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        for (bytes, said) in [
            (
                &b"\x1f\x8b\x08\0"[..],
                "is compressed by gzip; give it as it is before gzip",
            ),
            (
                b"\xff\xfe#\0c\0",
                "is not UTF-8; convert it: iconv -f UTF-16 -t UTF-8",
            ),
            (
                b"#cloud-config\na: \xe9\n",
                "is not UTF-8; convert it: iconv -f ISO-8859-1",
            ),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Template::load(&path).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_value_with_several_lines_stays_in_its_block() {
        let text = "#cloud-config\nwrite_files:\n- content: |\n    {token}\n  path: /t\n";
        let out = render(text, &[("token", "one\ntwo\n")]).unwrap();
        assert_eq!(
            out,
            "#cloud-config\nwrite_files:\n- content: |\n    one\n    two\n  path: /t\n"
        );
    }

    #[test]
    fn a_value_that_changes_the_template_is_refused_and_not_shown() {
        let cases = [
            ("#cloud-config\na: {token}\n", "hush\rhush"),
            ("#cloud-config\n{token}\n", "hush: 1\nruncmd: [x]"),
            ("#cloud-config\na: {token}\n", "hush: [hush"),
            (
                "## template: jinja\n#cloud-config\na: {token}\n",
                "hush{{ds}}",
            ),
        ];
        for (text, value) in cases {
            let error = render(text, &[("token", value)]).unwrap_err();
            assert!(
                error.problem.contains("cannot stand here") || error.problem.contains("not YAML"),
                "{error}"
            );
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
    }

    #[test]
    fn longer_than_nova_takes_is_refused() {
        let long = |length: usize| {
            let head = "#cloud-config\na: ";
            render(&format!("{head}{}", "x".repeat(length - head.len())), &[])
        };
        // 49149 bytes are 65532 characters of base64, one more is 65536.
        assert!(long(49_149).is_ok());
        assert!(matches!(
            long(49_150),
            Err(error) if error.problem.contains(": 65536 characters")
        ));
    }

    #[test]
    fn the_debug_form_shows_no_text() {
        let template = Template::parse("t", "#cloud-config\na: hush\n").unwrap();
        assert!(!format!("{template:?}").contains("hush"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>(), jinja in any::<bool>()) {
            let head = if jinja { "## template: jinja\n#cloud-config\n" } else { "#cloud-config\n" };
            if let Ok(template) = Template::parse("t", &format!("{head}{text}")) {
                let _ = template.render(&values(&[("host_ip", &text), ("token", "t")]));
            }
        }

        #[test]
        fn text_without_tags_is_unchanged(text in "[ -z|~\n{}$]*") {
            let text = format!("## template: jinja\n#cloud-config\n{text}");
            if let Ok(template) = Template::parse("t", &text)
                && template.tags().is_empty()
            {
                let out = template.render(&BTreeMap::new()).unwrap();
                prop_assert_eq!(out.expose_secret(), &text);
            }
        }

        #[test]
        fn pieces_are_the_text(text in "(\\{[a-z_]*\\}|[{}$a\n])*") {
            let again: String = split(&text)
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Tag { name, .. } => format!("{{{name}}}"),
                })
                .collect();
            prop_assert_eq!(again, text);
        }
    }

    #[test]
    fn the_final_message_is_known_by_its_longest_fixed_part() {
        let of = |text: &str| Template::parse("t", text).unwrap().final_message();
        let found = |text: &str| Some(text.to_owned());
        let base = include_str!("../../configs/base.yaml");
        assert_eq!(of(base), found("The EHOS vm is up after"));
        for (message, part) in [
            ("Up after $UPTIME seconds\n", found("Up after")),
            (
                "\"$uptime seconds: all is done\"\n",
                found("seconds: all is done"),
            ),
            (
                "|\n  one $version\n  the second line\n",
                found("the second line"),
            ),
            ("ready ${uptime}\nruncmd: [a b c d e f]\n", found("ready")),
            ("up at {{ v1.region }} now it is\n", found("now it is")),
            ("{cloud} is well\n", found("is well")),
            ("$UPTIME\n", None),
        ] {
            let text = format!(
                "## template: jinja\n#cloud-config\n{{% if x %}}\na: 1\nfinal_message: {message}"
            );
            assert_eq!(of(&text), part, "{text}");
        }
        assert_eq!(of("#cloud-config\nruncmd: [a]\n"), None);
    }
}
