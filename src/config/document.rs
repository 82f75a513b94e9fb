//! A configuration file as its keys and values: read by the table of keys, and merged.
//!
//! What is wrong with one value is kept as that, so that all of it is reported together.

use std::collections::BTreeMap;
use std::path::Path;

use super::diagnostics::KEEP_ONE;
use super::error::Diagnostic;
use super::table::FILE;
use super::yaml_error::{explain, hint};
use keys::{Kind, Setting, Table, Value};
use simulation::Scenario;
use system::advice::Advice;
use yaml::{self, Node};

/// A mapping of known keys: those that say something, in the order of the file.
#[derive(Debug, Default, Clone)]
pub(super) struct Section(pub(super) Vec<Entry>);

/// A key and what stands there.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its name in the table.
    pub(super) name: String,
    /// Its name in the file.
    pub(super) written: String,
    /// The file, by its number.
    pub(super) file: usize,
    pub(super) item: Item,
}

/// A part of a key's path.
pub(super) struct Step {
    /// As the table has it.
    pub(super) name: String,
    /// As the file has it.
    pub(super) written: String,
}

impl Step {
    pub(super) fn of(name: &str) -> Step {
        Step {
            name: name.to_owned(),
            written: name.to_owned(),
        }
    }
}

/// What stands at a key.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Value(Value),
    /// It was reported.
    Wrong,
    Unused,
    Section(Section),
    List(Vec<Section>),
    World(Box<Scenario>),
}

impl Section {
    pub(super) fn get(&self, name: &str) -> Option<&Item> {
        let entry = self.0.iter().find(|entry| entry.name == name);
        entry.map(|entry| &entry.item)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of this key; `None` also when it is wrong.
    pub(super) fn value<T: Setting>(&self, name: &str) -> Option<T> {
        match self.get(name)? {
            Item::Value(value) => T::of(value.clone()),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Item::Value(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The section of this key; an empty one where it is missing.
    pub(super) fn section(&self, name: &str) -> &Section {
        static EMPTY: Section = Section(Vec::new());
        match self.get(name) {
            Some(Item::Section(section)) => section,
            _ => &EMPTY,
        }
    }

    /// The sections that stand in it by name.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.0.iter().filter_map(|entry| match &entry.item {
            Item::Section(section) => Some((entry.name.as_str(), section)),
            _ => None,
        })
    }

    /// Puts an item at a key in the place of what is there.
    pub(super) fn put(&mut self, entry: Entry) {
        match self.0.iter_mut().find(|there| there.name == entry.name) {
            Some(there) => *there = entry,
            None => self.0.push(entry),
        }
    }

    /// Puts a value of no file at a key; nothing where there is none.
    pub(super) fn set(&mut self, name: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.set_item(name, Item::Value(value));
        }
    }

    pub(super) fn set_item(&mut self, name: &str, item: Item) {
        self.put(Entry {
            name: name.to_owned(),
            written: name.to_owned(),
            file: 0,
            item,
        });
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Item> {
        let at = self.0.iter().position(|entry| entry.name == name)?;
        Some(self.0.remove(at).item)
    }

    /// Puts what `over` says over this, key by key.
    pub(super) fn merge(&mut self, over: Section) {
        for entry in over.0 {
            let there = self.0.iter_mut().find(|there| there.name == entry.name);
            match (there.map(|there| &mut there.item), entry.item) {
                (Some(Item::Section(under)), Item::Section(over)) => under.merge(over),
                (_, item) => self.put(Entry { item, ..entry }),
            }
        }
    }

    /// Its `auth:`, and over it the same keys beside it.
    pub(super) fn login(&self) -> Section {
        let mut login = self.section("auth").clone();
        for entry in &self.0 {
            let is_login = super::table::AUTH.find(&entry.name).is_some();
            if is_login {
                login.put(entry.clone());
            }
        }
        login
    }

    /// Calls `f` for each value, with its key path.
    pub(super) fn visit(&self, path: &mut Vec<Step>, f: &mut dyn FnMut(&[Step], &Entry)) {
        for entry in &self.0 {
            path.push(Step {
                name: entry.name.clone(),
                written: entry.written.clone(),
            });
            match &entry.item {
                Item::Section(section) => section.visit(path, f),
                Item::List(sections) => {
                    for (index, section) in sections.iter().enumerate() {
                        path.push(Step::of(&(index + 1).to_string()));
                        section.visit(path, f);
                        path.pop();
                    }
                }
                Item::Value(_) | Item::Wrong | Item::Unused | Item::World(_) => f(path, entry),
            }
            path.pop();
        }
    }
}

/// A file that was read.
#[derive(Default)]
pub(super) struct Document {
    pub(super) keys: Section,
    /// Why it is not known what the file says: unknown keys, and what stands in the place of a section.
    pub(super) unknown: Vec<Diagnostic>,
    /// Wrong values.
    pub(super) wrong: Vec<Diagnostic>,
    /// Keys that are not used, or have another name now.
    pub(super) notes: Vec<Diagnostic>,
    /// A secret stands in it in plain text.
    pub(super) secret: bool,
}

/// The file with this text, the `number`th of the configuration.
pub(super) fn read(path: &Path, text: &str, number: usize) -> Result<Document, Diagnostic> {
    let tree = yaml::parse(text).map_err(|error| explain(path, text, &error))?;
    let mut reader = Reader {
        file: path,
        text,
        number,
        path: Vec::new(),
        found: Document::default(),
    };
    let keys = reader.section(&tree, &FILE);
    Ok(Document {
        keys: keys.unwrap_or_default(),
        ..reader.found
    })
}

struct Reader<'r> {
    file: &'r Path,
    text: &'r str,
    number: usize,
    path: Vec<String>,
    found: Document,
}

/// What a value is read as: nothing, a value, or why it is none.
type Read<T> = Option<Result<T, Advice>>;

impl Reader<'_> {
    /// A problem with the key at which the reader is.
    fn here(&self, what: impl Into<Advice>) -> Diagnostic {
        let keys: Vec<&str> = self.path.iter().map(String::as_str).collect();
        Diagnostic {
            place: yaml::find(self.text, &keys),
            key: (!keys.is_empty()).then(|| keys.join(".").into()),
            ..Diagnostic::of_file(self.file, what)
        }
    }

    fn unknown(&mut self, what: impl Into<Advice>) {
        let problem = self.here(what);
        self.found.unknown.push(problem);
    }

    fn note(&mut self, what: String) {
        let note = self.here(what);
        self.found.notes.push(note);
    }

    fn wrong(&mut self, what: impl Into<Advice>) -> Item {
        let problem = self.here(what);
        self.found.wrong.push(problem);
        Item::Wrong
    }

    /// The entries of a mapping, each name once; `None` where it is none.
    fn entries<'n>(&mut self, node: &'n Node, expected: &str) -> Option<Vec<(&'n str, &'n Node)>> {
        let entries = match node {
            Node::Map(entries) => entries,
            Node::Null => return Some(Vec::new()),
            _ => {
                self.unknown(format!("must be {expected}"));
                return None;
            }
        };
        let mut once: Vec<(&str, &Node)> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for (name, node) in entries {
            if names.insert(name) {
                once.push((name, node));
            } else {
                self.path.push(name.clone());
                self.unknown("this key is given twice");
                self.path.pop();
            }
        }
        Some(once)
    }

    /// `None` where there is no mapping.
    fn section(&mut self, node: &Node, table: &'static Table) -> Option<Section> {
        if *node == Node::Null {
            return None;
        }
        let at_top = self.path.is_empty();
        let mut section = Section::default();
        for (written, node) in self.entries(node, "a mapping of keys to values")? {
            self.path.push(written.to_owned());
            match table.find(written) {
                Some((key, name)) => {
                    let kind = if name == key.name {
                        key.kind
                    } else {
                        Kind::Path
                    };
                    if key.former() == Some(written) {
                        self.note(format!("is now called `{name}`; rename the key"));
                    }
                    let now = match node {
                        Node::Text(text) => key.word_now(text).map(|word| (text, word)),
                        _ => None,
                    };
                    if let Some((old, word)) = now {
                        self.note(format!("`{old}` is now called `{word}`; rename the value"));
                    }
                    let now = now.map(|(_, word)| Node::Text(word.to_owned()));
                    if let Some(item) = self.item(now.as_ref().unwrap_or(node), kind) {
                        self.put(&mut section, name, written, item);
                    }
                }
                // A place for anchors.
                None if at_top && written.starts_with("x-") => {}
                None => self.unknown(hint(written, &table.spellings())),
            }
            self.path.pop();
        }
        Some(section)
    }

    fn put(&mut self, section: &mut Section, name: String, written: &str, item: Item) {
        if let Some(other) = section.0.iter().find(|entry| entry.name == name) {
            // The problem stands at the other spelling of the two.
            let at = match written == name {
                true => other.written.clone(),
                false => written.to_owned(),
            };
            self.path.pop();
            self.path.push(at);
            self.wrong((format!("`{name}` is given too, and is the same"), KEEP_ONE));
        }
        section.put(Entry {
            name,
            written: written.to_owned(),
            file: self.number,
            item,
        });
    }

    fn item(&mut self, node: &Node, kind: Kind) -> Option<Item> {
        match kind {
            Kind::Unused(why) => {
                self.note(format!("not used: {why}"));
                Some(Item::Unused)
            }
            Kind::World => (*node != Node::Null).then(|| self.world()),
            Kind::Table(table) => self.section(node, table).map(Item::Section),
            Kind::AddressOr(table) => match node {
                Node::Text(_) => {
                    let address = self.value(node, Kind::Address)?;
                    let mut section = Section::default();
                    section.put(Entry {
                        name: "url".to_owned(),
                        written: "url".to_owned(),
                        file: self.number,
                        item: address,
                    });
                    Some(Item::Section(section))
                }
                Node::Map(_) => self.section(node, table).map(Item::Section),
                Node::Null => None,
                _ => {
                    self.unknown("must be an address, or a mapping of keys to values");
                    None
                }
            },
            Kind::Named(noun, table) => self.named(node, noun, table),
            Kind::Tables(table) => self.list(node, table),
            kind => self.value(node, kind),
        }
    }

    fn world(&mut self) -> Item {
        #[derive(serde::Deserialize)]
        struct Only {
            simulation: Scenario,
        }
        match yaml::read::<Only>(self.text) {
            Ok(only) => Item::World(Box::new(only.simulation)),
            Err(error) => {
                let problem = explain(self.file, self.text, &error);
                self.found.unknown.push(problem);
                Item::Wrong
            }
        }
    }

    fn named(&mut self, node: &Node, noun: &str, table: &'static Table) -> Option<Item> {
        if *node == Node::Null {
            return None;
        }
        let expected = format!("a mapping of names to {noun}s");
        let mut all = Section::default();
        for (name, node) in self.entries(node, &expected)? {
            self.path.push(name.to_owned());
            if is_placeholder(name) {
                self.wrong(("is still a placeholder", format!("give the {noun} a name")));
            }
            let section = self.section(node, table).unwrap_or_default();
            self.put(&mut all, name.to_owned(), name, Item::Section(section));
            self.path.pop();
        }
        Some(Item::Section(all))
    }

    fn list(&mut self, node: &Node, table: &'static Table) -> Option<Item> {
        let items = match node {
            Node::List(items) => items,
            Node::Null => return None,
            _ => {
                self.unknown("must be a list of mappings of keys to values");
                return None;
            }
        };
        let mut sections = Vec::new();
        for (index, node) in items.iter().enumerate() {
            self.path.push((index + 1).to_string());
            sections.push(self.section(node, table).unwrap_or_default());
            self.path.pop();
        }
        Some(Item::List(sections))
    }

    fn value(&mut self, node: &Node, kind: Kind) -> Option<Item> {
        Some(match value(node, kind)? {
            Ok(value) => {
                self.found.secret |= matches!(value, Value::Secret(_));
                Item::Value(value)
            }
            Err(why) => self.wrong(why),
        })
    }
}

/// The value of this kind that stands here.
fn value(node: &Node, kind: Kind) -> Read<Value> {
    match (kind, node) {
        (_, Node::Null) => None,
        (Kind::List, Node::List(items)) => Some(list(items).map(Value::List)),
        (Kind::List, Node::Text(_)) => Some(match one(node, Kind::Text)? {
            Ok(value) => Ok(Value::List(value.text().into_iter().collect())),
            Err(why) => Err(why),
        }),
        (Kind::List, _) => Some(Err("must be one value or a list of them".into())),
        (Kind::Texts, Node::Map(entries)) => Some(map(entries, kind).map(Value::Texts)),
        (Kind::Wholes, Node::Map(entries)) => Some(map(entries, kind).map(Value::Wholes)),
        (Kind::Numbers, Node::Map(entries)) => Some(map(entries, kind).map(Value::Numbers)),
        (Kind::Texts | Kind::Wholes | Kind::Numbers, Node::Text(text)) if text == "None" => None,
        (Kind::Texts | Kind::Wholes | Kind::Numbers, _) => {
            Some(Err("must be a mapping of names to values".into()))
        }
        _ => one(node, kind),
    }
}

fn list(items: &[Node]) -> Result<Vec<String>, Advice> {
    let values = items.iter().filter_map(|item| one(item, Kind::Text));
    values
        .map(|value| value.map(|value| value.text().unwrap_or_default()))
        .collect()
}

fn map<T: Setting>(entries: &[(String, Node)], kind: Kind) -> Result<BTreeMap<String, T>, Advice> {
    let mut map = BTreeMap::new();
    for (name, node) in entries {
        match one(node, kind) {
            None => {}
            Some(Err(why)) => return Err(why.at(format_args!("`{name}`"))),
            Some(Ok(value)) => {
                let twice = T::of(value).and_then(|value| map.insert(name.clone(), value));
                if twice.is_some() {
                    return Err(format!("`{name}` is given twice").into());
                }
            }
        }
    }
    Ok(map)
}

/// A single value; nothing also for `None`, as the original program writes it.
fn one(node: &Node, kind: Kind) -> Read<Value> {
    match node {
        Node::Text(text) => scalar(text, |text| {
            kind.read(text)
                .map_err(|(problem, remedy)| Advice { problem, remedy })
        }),
        Node::Null => None,
        Node::Map(_) => Some(Err((
            "must be one value, and is a mapping",
            "put the real value in the place of braces, or `None`",
        )
            .into())),
        Node::List(_) => Some(Err("must be one value, and is a list".into())),
        Node::Untold | Node::Tagged => {
            Some(Err(
                ("has an unknown tag of YAML (`!…`)", "remove the tag").into()
            ))
        }
    }
}

/// What `parse` makes of the text; nothing for `None`, and no placeholder.
pub(super) fn scalar<T, E: Into<Advice>>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Read<T> {
    match text {
        "None" => None,
        _ if is_placeholder(text) => Some(Err((
            "is still a placeholder",
            "put the real value in its place",
        )
            .into())),
        "" => Some(Err(("is empty", "give a value, or remove the key").into())),
        _ => Some(parse(text).map_err(Into::into)),
    }
}

/// `<IN_ANGLE_BRACKETS>`, as the examples of the original program write what is to be filled in.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .is_some_and(|inner| {
            inner.starts_with(|c: char| c.is_ascii_uppercase()) && !inner.contains(['<', '>'])
        })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use secrecy::{ExposeSecret, SecretString};

    use super::*;
    use scaling::schedule::Spare;

    /// What stands at a key of the type, written so: nothing, a value, or why it is none.
    fn parsed<T: Setting>(text: &str) -> Read<T> {
        let node = yaml::parse(text).unwrap();
        let read = value(&node, T::KIND)?;
        Some(read.map(|value| T::of(value).unwrap()))
    }

    fn ok<T: Setting>(text: &str) -> T {
        parsed(text).unwrap().unwrap()
    }

    fn is_wrong<T: Setting>(text: &str) -> bool {
        matches!(parsed::<T>(text), Some(Err(_)))
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        assert_eq!(ok::<String>("0123"), "0123");
        assert_eq!(ok::<String>("1e5"), "1e5");
        assert!(parsed::<String>("None").is_none());
        assert!(parsed::<u64>("~").is_none());
        assert_eq!(ok::<String>("'~'"), "~");
        assert_eq!(ok::<u64>("'12'"), 12);
        for yes in ["True", "yes", "on", "1", "'1'"] {
            assert!(ok::<bool>(yes), "{yes}");
        }
        assert!(is_wrong::<u64>("-1"));
        assert!(is_wrong::<f64>("nan"));
        for wrong in ["<URL>", "<BASE OS NAME, like X>", "''", "[a]", "!secret a"] {
            assert!(is_wrong::<String>(wrong), "{wrong}");
        }
        assert_eq!(ok::<PathBuf>("~/a"), Path::new("~/a"));
    }

    #[test]
    fn durations() {
        let seconds = |text| ok::<Duration>(text).as_secs_f64();
        assert_eq!(seconds("10m"), 600.0);
        assert_eq!(seconds("1h30m"), 5400.0);
        assert_eq!(seconds("1 hour 30 min"), 5400.0);
        assert_eq!(seconds("90"), 90.0);
        assert_eq!(seconds("0.5s"), 0.5);
        for wrong in ["-5", "5 apples", "-10m", "1.5", "99999999999999999999"] {
            assert!(is_wrong::<Duration>(wrong), "{wrong}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(ok::<Vec<String>>("a b"), ["a b"]);
        assert_eq!(ok::<Vec<String>>("[a, 2, None]"), ["a", "2"]);
        assert!(parsed::<Vec<String>>("None").is_none());
        assert_eq!(ok::<Vec<String>>("2"), ["2"]);
        assert!(is_wrong::<Vec<String>>("[a, <B>]"));
        assert!(is_wrong::<Vec<String>>("{a: b}"));
    }

    #[test]
    fn amounts_and_counts_by_name() {
        let amounts: BTreeMap<String, f64> = ok("{m1.small: 0.05, m1.large: '2'}");
        assert_eq!(
            amounts,
            BTreeMap::from([("m1.large".to_owned(), 2.0), ("m1.small".to_owned(), 0.05)])
        );
        for wrong in ["{a: -1}", "{a: cheap}", "{a: nan}", "a"] {
            assert!(is_wrong::<BTreeMap<String, f64>>(wrong), "{wrong}");
        }
        let counts: BTreeMap<String, u64> = ok("{g1.large: 2, m1.small: 0}");
        assert_eq!(
            counts,
            BTreeMap::from([("g1.large".to_owned(), 2), ("m1.small".to_owned(), 0)])
        );
        for wrong in ["{a: -1}", "{a: many}", "{a: 0.5}", "{a: 1, a: 2}"] {
            assert!(is_wrong::<BTreeMap<String, u64>>(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_count_or_a_share() {
        assert_eq!(ok::<Spare>("2"), Spare::Count(2));
        assert_eq!(ok::<Spare>("10%"), Spare::Percent(10));
        for wrong in ["-1", "10.5%", "many", "'%'", "5000%"] {
            assert!(is_wrong::<Spare>(wrong), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret: SecretString = ok("hush");
        assert_eq!(secret.expose_secret(), "hush");
        let document = keys("condor: {password: hush}\ninfluxdb: http://u:hush@h\n");
        assert!(!format!("{document:?}").contains("hush"));
    }

    fn keys(text: &str) -> Section {
        let found = read(Path::new("e.yaml"), text, 0).unwrap();
        assert!(found.unknown.is_empty() && found.wrong.is_empty(), "{text}");
        found.keys
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "# only a comment\n", "ehos:\ndaemon:\n"] {
            assert!(keys(text).0.is_empty(), "{text:?}");
        }
        let clouds = keys("clouds:\n  a:\n");
        assert_eq!(clouds.section("clouds").sections().count(), 1);
    }

    #[test]
    fn later_files_are_merged_over_key_by_key() {
        let mut file =
            keys("clouds:\n  b: {image: one, key: k}\n  a:\nehos: {flavor: f, tags: [a, b]}\n");
        file.merge(keys(
            "clouds:\n  a: {image: x}\n  c: {image: z}\n  b: {image: two, key: None}\nehos: {flavors: [g], tags: c}\n\
             daemon: {nodes_max: 1}\n",
        ));
        let clouds = file.section("clouds");
        let images: Vec<_> = clouds
            .sections()
            .map(|(name, cloud)| (name, cloud.text("image").unwrap()))
            .collect();
        assert_eq!(images, [("b", "two"), ("a", "x"), ("c", "z")]);
        assert_eq!(clouds.section("b").text("key"), Some("k"));
        assert_eq!(file.section("daemon").value("nodes_max"), Some(1_u64));
        let list = |key| file.section("ehos").value::<Vec<String>>(key).unwrap();
        assert_eq!(list("flavors"), ["g"]);
        assert_eq!(list("tags"), ["c"]);
    }
}
