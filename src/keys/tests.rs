use std::time::Duration;

use super::*;

settings! {
    /// Settings.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Limits {
        /// A number
        /// of two lines.
        count [Positive, AtMost(9)]: u64 = 3;
        /// A time.
        time as "patience" [Positive, AtMost(10)]: Option<Duration> = None, "for ever";
        /// A share.
        share [Share, For("all")]: f64 = 0.5;
        /// A name.
        names [Also("name")]: Vec<String> = Vec::new();
        /// A word.
        word: Word = Word::Second;
    }
    beside {
        /// No key.
        other: u64 = 4;
    }
}

/// Words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Word {
    /// One.
    First,
    /// Two.
    Second,
}

words!(Word: First "first-one", Second "second");

static TABLE: Table = Table {
    groups: &[
        Group::of("all", Limits::KEYS),
        Group::all(keys! {
            /// A secret.
            password: Kind::Secret, "none";
            old: Kind::Unused("nobody needs it");
        }),
    ],
};

fn key(name: &str) -> &'static Key {
    Limits::KEYS.iter().find(|key| key.name == name).unwrap()
}

#[test]
fn a_struct_its_defaults_and_its_rows_come_of_one_list() {
    let mut settings = Limits::default();
    assert_eq!(
        (settings.count, settings.time, settings.other),
        (3, None, 4)
    );
    let names: Vec<&str> = Limits::KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names, ["count", "patience", "share", "names", "word"]);
    assert_eq!(key("count").text, " A number of two lines.");
    assert_eq!(key("patience").default_text, Some("for ever"));
    settings.set("patience", Value::Time(Duration::from_secs(5)));
    settings.set("count", Value::Text("of another kind".to_owned()));
    settings.set("other", Value::Whole(9));
    settings.set("word", key("word").kind.read("First One").unwrap());
    assert_eq!(
        settings,
        Limits {
            time: Some(Duration::from_secs(5)),
            word: Word::First,
            ..Limits::default()
        }
    );
    let text = |name| settings.get(name).and_then(|value| value.text());
    assert_eq!(text("patience").as_deref(), Some("5s"));
    assert_eq!(text("word").as_deref(), Some("first-one"));
    assert!(settings.get("other").is_none());
}

#[test]
fn bounds_are_those_of_the_rules() {
    let seconds = |seconds| Value::Time(Duration::from_secs_f64(seconds));
    for (name, value, said) in [
        ("count", Value::Whole(0), "at least 1"),
        ("count", Value::Whole(10), "at most 9"),
        ("patience", seconds(0.0), "longer than 0"),
        ("patience", seconds(10.5), "at most 10 s"),
        ("share", Value::Number(0.0), "a share"),
        ("share", Value::Number(1.5), "a share"),
    ] {
        let why = key(name).out_of_bounds(&value).unwrap();
        assert!(why.contains(said), "{name}: {why}");
    }
    for (name, value) in [
        ("count", Value::Whole(9)),
        ("patience", seconds(10.0)),
        ("share", Value::Number(1.0)),
    ] {
        assert_eq!(key(name).out_of_bounds(&value), None, "{name}");
    }
}

#[test]
fn a_table_knows_every_spelling_of_its_keys() {
    assert_eq!(
        TABLE.spellings(),
        ["share", "password", "password_file", "old"]
    );
    let found = |written: &str| TABLE.find(written).map(|(key, name)| (key.name, name));
    let is = |key, name: &str| Some((key, name.to_owned()));
    assert_eq!(found("password_file"), is("password", "password_file"));
    assert_eq!(found("share"), is("share", "share"));
    assert!(found("count").is_none() && found("share_file").is_none());
    static ALL: Table = Table {
        groups: &[Group::all(Limits::KEYS)],
    };
    assert_eq!(
        ALL.find("name").map(|(_, name)| name).as_deref(),
        Some("names")
    );
}
