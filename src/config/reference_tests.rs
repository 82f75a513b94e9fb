//! The pages and files that are made of the table of keys: `EHOS_BLESS=1` renews them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::schema;
use super::table::{BUDGET, CLOUD, CONDOR, DAEMON, EHOS, INFLUXDB, LIMIT, METRICS, NOTIFY, WINDOW};
use keys::{Key, Kind, Rule, Table};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Whether the file says this; with `EHOS_BLESS=1` it does from then on.
fn is_kept(path: &str, text: &str) -> bool {
    let file = project(path);
    if std::env::var_os("EHOS_BLESS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    std::fs::read_to_string(&file).is_ok_and(|there| there == text)
}

/// What a key takes, in a word.
fn type_name(key: &Key) -> &'static str {
    match key.kind {
        Kind::Flag => "flag",
        Kind::Whole => "whole number",
        Kind::Number => "number",
        Kind::Time => "duration",
        Kind::Text => "text",
        Kind::Path => "path",
        Kind::Secret => "secret",
        Kind::Address => "address",
        Kind::List => "list",
        Kind::Texts => "texts by name",
        Kind::Wholes => "whole numbers by name",
        Kind::Numbers => "numbers by name",
        Kind::Choice(_) => "choice",
        Kind::Form(form) => form.name,
        Kind::Table(_) => "section",
        Kind::AddressOr(_) => "address or section",
        Kind::Named(..) => "sections by name",
        Kind::Tables(_) => "list of sections",
        Kind::World => "section",
        Kind::Unused(_) => "-",
    }
}

fn default_of(key: &Key) -> String {
    match (
        key.default_text,
        (key.default)().and_then(|value| value.text()),
    ) {
        (Some(text), _) => text.to_owned(),
        (None, Some(value)) => format!("`{value}`"),
        (None, None) => String::new(),
    }
}

/// The rows of a section; of a cloud, without those that stand under `ehos:` or `daemon:` already.
fn rows(table: &'static Table, own: bool) -> String {
    let mut text = String::from("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in table.keys() {
        let shared = key.rules.iter().any(|rule| matches!(rule, Rule::For(_)));
        if matches!(key.kind, Kind::Unused(_)) || (own && shared) {
            continue;
        }
        let names = std::iter::once(key.name).chain(key.others());
        let names = names.map(str::to_owned).chain(key.file_key());
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let mut meaning = key.text.trim().replace("  ", " ");
        if let Kind::Choice(words) = key.kind
            && !meaning.contains(&format!("`{}`", words[0]))
        {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            write!(meaning, " One of {}.", words.join(", ")).unwrap();
        }
        writeln!(
            text,
            "| {} | {} | {} | {meaning} |",
            names.join(", "),
            type_name(key),
            default_of(key)
        )
        .unwrap();
    }
    text
}

fn unused() -> String {
    let mut names: Vec<&str> = [&EHOS, &DAEMON, &CLOUD]
        .into_iter()
        .flat_map(|table| table.keys())
        .filter(|key| matches!(key.kind, Kind::Unused(_)))
        .map(|key| key.name)
        .collect();
    names.sort_unstable();
    names.dedup();
    // Lines of a page have at most 100 columns.
    let mut lines = vec![String::new()];
    for (place, name) in names.iter().enumerate() {
        let end = if place + 1 == names.len() { '.' } else { ',' };
        let word = format!("`{name}`{end}");
        match lines.last_mut() {
            Some(line) if line.is_empty() => *line = word,
            Some(line) if line.len() + 1 + word.len() <= 100 => *line += &format!(" {word}"),
            _ => lines.push(word),
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_tables_of_the_configuration_page_are_those_of_the_program() {
    const PAGE: &str = "docs/configuration.md";
    let page = std::fs::read_to_string(project(PAGE)).unwrap();
    let mut made = String::new();
    let mut rest = page.as_str();
    let mut seen = 0;
    while let Some((before, after)) = rest.split_once("<!-- keys: ") {
        let (name, after) = after.split_once(" -->\n").unwrap();
        let (_, after) = after.split_once("<!-- end of keys -->\n").unwrap();
        let text = match name {
            "ehos" => rows(&EHOS, false),
            "daemon" => rows(&DAEMON, false),
            "budget" => rows(&BUDGET, false),
            "limit" => rows(&LIMIT, false),
            "schedule" => rows(&WINDOW, false),
            "condor" => rows(&CONDOR, false),
            "notify" => rows(&NOTIFY, false),
            "metrics" => rows(&METRICS, false),
            "influxdb" => rows(&INFLUXDB, false),
            "cloud" => rows(&CLOUD, true),
            "unused" => unused(),
            other => panic!("no table is called {other}"),
        };
        write!(
            made,
            "{before}<!-- keys: {name} -->\n{text}<!-- end of keys -->\n"
        )
        .unwrap();
        rest = after;
        seen += 1;
    }
    made.push_str(rest);
    assert_eq!(seen, 11);
    assert!(
        is_kept(PAGE, &made),
        "{PAGE} is not what the table of keys says: EHOS_BLESS=1 renews it"
    );
}

#[test]
fn no_table_has_a_key_twice() {
    for table in [
        &EHOS, &DAEMON, &CLOUD, &CONDOR, &NOTIFY, &METRICS, &INFLUXDB, &LIMIT, &WINDOW,
    ] {
        let mut spellings = table.spellings();
        spellings.sort_unstable();
        let count = spellings.len();
        spellings.dedup();
        assert_eq!(spellings.len(), count, "{spellings:?}");
    }
}

#[test]
fn every_link_of_a_key_leads_to_a_heading() {
    let page = std::fs::read_to_string(project("docs/configuration.md")).unwrap();
    let headings: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("##"))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|line| {
            let kept = |c: &char| c.is_alphanumeric() || " -".contains(*c);
            line.chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect();
    for link in page.split("](#").skip(1) {
        let name = link.split(')').next().unwrap();
        assert!(headings.iter().any(|heading| heading == name), "#{name}");
    }
}

#[test]
fn the_schema_is_kept_and_takes_what_the_program_takes() {
    const FILE: &str = "configs/ehos.schema.json";
    let schema = schema::schema();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    assert!(
        is_kept(FILE, &text),
        "{FILE} is not what the table of keys says: EHOS_BLESS=1 renews it"
    );
    let read =
        |path: &Path| -> Value { yaml::read(&std::fs::read_to_string(path).unwrap()).unwrap() };
    for name in ["full", "original-flat"] {
        let file = read(&project(&format!(
            "tests/fixtures/config/valid/{name}.yaml"
        )));
        assert_eq!(refusal(&schema, &schema, &file), None, "{name}");
    }
    let demo = read(&project("configs/demo.yaml"));
    assert_eq!(refusal(&schema, &schema, &demo), None);
    for (name, place) in [
        ("typo", "/clouds/a/auth/pasword"),
        ("economy-keys", "/clouds/a/budget/per_mont"),
    ] {
        let file = read(&project(&format!(
            "tests/fixtures/config/invalid/{name}.yaml"
        )));
        assert_eq!(refusal(&schema, &schema, &file).as_deref(), Some(place));
    }
    for wrong in [
        "daemon: {weight: 1}",
        "daemon: {max_actions: 0}",
        "clouds: {a: {weight: 1001}}",
    ] {
        let file: Value = yaml::read(wrong).unwrap();
        assert!(refusal(&schema, &schema, &file).is_some(), "{wrong}");
    }
}

/// Where the value is not what the schema says: as much of draft 2020-12 as [`schema`] uses.
fn refusal(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let here = || Some(String::new());
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap();
        return refusal(root, target, value);
    }
    if let Some(all) = schema["anyOf"].as_array() {
        let mut reasons = all.iter().map(|one| refusal(root, one, value));
        return match reasons.any(|reason| reason.is_none()) {
            true => None,
            false => here(),
        };
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return here();
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    if !types.is_empty() && !types.iter().any(is) {
        return here();
    }
    let number = value.as_f64();
    let too_small = number < schema["minimum"].as_f64();
    let too_large = schema["maximum"]
        .as_f64()
        .is_some_and(|most| number > Some(most));
    if number.is_some() && (too_small || too_large) {
        return here();
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        let fits = match pattern {
            "^[0-9.]+$" => text.parse::<f64>().is_ok(),
            "[A-Z _]" => text.contains(|c: char| c.is_ascii_uppercase() || " _".contains(c)),
            // The forms have tests of their own.
            _ => true,
        };
        if !fits {
            return here();
        }
    }
    if let Some(items) = value.as_array() {
        let mut items = items.iter().enumerate();
        return items.find_map(|(index, item)| {
            refusal(root, &schema["items"], item).map(|at| format!("/{index}{at}"))
        });
    }
    let mut entries = value.as_object()?.iter();
    entries.find_map(|(name, value)| {
        let below = match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, _) if name.starts_with("x-") => return None,
            (Value::Null, Value::Bool(false)) => return Some(format!("/{name}")),
            (Value::Null, Value::Null) => return None,
            (Value::Null, others) => others,
            (known, _) => known,
        };
        refusal(root, below, value).map(|at| format!("/{name}{at}"))
    })
}
