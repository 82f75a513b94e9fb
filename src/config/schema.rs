//! The table of keys as a JSON schema (draft 2020-12), by which editors complete and check an ehos.yaml.

use serde_json::{Map, Value, json};

use super::table::FILE;
use keys::{Key, Kind, Rule, Table};

/// The schema of ehos.yaml.
pub fn schema() -> Value {
    let mut schema = table(&FILE);
    let more = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ehos.yaml",
        "description": "Configuration of ehos. `None` and an empty value are the same as leaving a key out.",
        "patternProperties": {"^x-": {"description": "A place for anchors."}},
        "$defs": {
            "none": {"enum": [null, "None"]},
            "flag": {"enum": [true, false, "yes", "no", "on", "off", 0, 1, null, "None"]},
            "duration": {"anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "description": "`10m`, `90s`, `1h30m`, or a number of seconds"},
                {"$ref": "#/$defs/none"},
            ]},
            "text": {"type": ["string", "number", "boolean", "null"]},
            "list": {"anyOf": [
                {"type": "array", "items": {"$ref": "#/$defs/text"}},
                {"$ref": "#/$defs/text"},
            ]},
        },
    });
    if let (Some(schema), Value::Object(more)) = (schema.as_object_mut(), more) {
        schema.extend(more);
    }
    schema
}

fn table(table: &Table) -> Value {
    let mut properties = Map::new();
    for key in table.keys() {
        let value = described(key, kind(key));
        for name in std::iter::once(key.name).chain(key.others()) {
            properties.insert(name.to_owned(), value.clone());
        }
        if let Some(former) = key.former() {
            let what = format!("Renamed to `{}`.", key.name);
            let mut value = value.clone();
            if let Some(value) = value.as_object_mut() {
                value.insert("description".to_owned(), json!(what));
                value.insert("deprecated".to_owned(), json!(true));
            }
            properties.insert(former.to_owned(), value);
        }
        if let Some(file) = key.file_key() {
            let what = format!("File that holds `{}`.", key.name);
            properties.insert(file, json!({"$ref": "#/$defs/text", "description": what}));
        }
    }
    json!({
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

fn described(key: &Key, mut value: Value) -> Value {
    if let Some(value) = value.as_object_mut() {
        let text = match key.kind {
            Kind::Unused(why) => format!("Not used: {why}."),
            _ => key.text.trim().to_owned(),
        };
        value.insert("description".to_owned(), json!(text));
        let default = (key.default)().and_then(|value| value.text());
        value.extend(default.map(|text| ("default".to_owned(), json!(text))));
        if matches!(key.kind, Kind::Unused(_)) {
            value.insert("deprecated".to_owned(), json!(true));
        }
    }
    value
}

/// A number, which may be written as a text.
fn number(of: &str, key: &Key) -> Value {
    let mut number = json!({"type": of, "minimum": u8::from(key.is(Rule::Positive))});
    for rule in key.rules {
        let most = match rule {
            Rule::AtMost(most) => *most,
            Rule::Share => 1,
            _ => continue,
        };
        if let Some(number) = number.as_object_mut() {
            number.insert("maximum".to_owned(), json!(most));
        }
    }
    json!({"anyOf": [number, {"type": "string", "pattern": "^[0-9.]+$"}, {"$ref": "#/$defs/none"}]})
}

fn kind(key: &Key) -> Value {
    let by_name = |value: Value| json!({"type": ["object", "null"], "additionalProperties": value});
    let amount = json!({"type": ["number", "string", "null"]});
    match key.kind {
        Kind::Flag => json!({"$ref": "#/$defs/flag"}),
        Kind::Whole => number("integer", key),
        Kind::Number => number("number", key),
        Kind::Time => json!({"$ref": "#/$defs/duration"}),
        Kind::Text | Kind::Path | Kind::Secret | Kind::Address => json!({"$ref": "#/$defs/text"}),
        Kind::List => json!({"$ref": "#/$defs/list"}),
        Kind::Texts => by_name(json!({"$ref": "#/$defs/text"})),
        Kind::Wholes | Kind::Numbers => by_name(amount),
        // Other spellings (`Fill First`) are understood, too.
        Kind::Choice(words) => json!({"anyOf": [
            {"enum": words},
            {"type": "string", "pattern": "[A-Z _]"},
            {"$ref": "#/$defs/none"},
        ]}),
        Kind::Form(form) => json!({"anyOf": [
            {"type": "string", "pattern": form.pattern},
            {"type": "integer", "minimum": 0},
            {"$ref": "#/$defs/none"},
        ]}),
        Kind::Table(section) => table(section),
        Kind::AddressOr(section) => json!({"anyOf": [table(section), {"$ref": "#/$defs/text"}]}),
        Kind::Named(_, section) => by_name(table(section)),
        Kind::Tables(section) => json!({"type": ["array", "null"], "items": table(section)}),
        Kind::World => json!({"type": ["object", "null"]}),
        Kind::Unused(_) => json!({}),
    }
}
