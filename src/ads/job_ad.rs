//! What of a job decides where it may run: its Requirements and all that they refer to.
//!
//! Each name that an answer mentions becomes a column of the next query: learnt within three
//! rounds, and kept for the next tick.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use scaling::sorting::IntoSet;
use sha2::{Digest, Sha256};

use crate::column::LONG;
use crate::expression::{Names, STEPS_MAX, Scope, is_plain, renamed, steps};
use scaling::job_requirements::RequirementsDigest;
use scaling::observation::Resources;

/// More columns are not asked for, nor longer names.
pub const COLUMNS_MAX: usize = 100;
const NAME_MAX: usize = 64;

/// Known of each job without a column of its own; in small letters, as all names here.
const BUILT_IN: [&str; 10] = [
    "requestcpus",
    "requestmemory",
    "requestdisk",
    "requestgpus",
    "jobstatus",
    "jobuniverse",
    "currenttime",
    "requirements",
    "mytype",
    "targettype",
];
/// An ad that is matched has a number of its own: the job's stand there under other names.
const NUMBERS: [(&str, &str); 2] = [("clusterid", "EhosClusterId"), ("procid", "EhosProcId")];
/// Names that a group of jobs has of its own in an answer.
const OF_GROUPS: [&str; 3] = ["jobcount", "jobids", "id"];
/// Attributes of each job, which default requests refer to; no machine stands in for them.
const OF_EACH_JOB: [&str; 5] = [
    "memoryusage",
    "imagesize",
    "diskusage",
    "residentsetsize",
    "executablesize",
];
/// A deferred job asks in its Requirements whether its time has come. It is matched as if it had.
const DEFERRAL: (&str, &str) = ("deferraltime", "time() + 1");

/// The attributes of jobs that are asked for besides those of each query, in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// What Requirements, as far as they are known, refer to.
    pub names: BTreeSet<String>,
    /// What the nodes' own Requirements ask of a job; columns too.
    pub nodes_ask: BTreeSet<String>,
}

impl Columns {
    /// All of them, each once.
    pub fn all(&self) -> BTreeSet<&str> {
        let names = self.names.iter().chain(&self.nodes_ask);
        names
            .map(String::as_str)
            .filter(|name| !built_in(name) && is_plain(name) && !OF_GROUPS.contains(name))
            .into_set()
    }

    /// … with these, as far as there is room for them.
    pub fn with(mut self, names: &BTreeSet<String>) -> Columns {
        for name in names {
            if self.names.len() < COLUMNS_MAX && name.len() <= NAME_MAX && is_plain(name) {
                self.names.insert(name.clone());
            }
        }
        self
    }
}

/// Whether each ad that is matched has this attribute, by its name in small letters.
pub fn built_in(name: &str) -> bool {
    BUILT_IN.contains(&name) || number(name).is_some()
}

/// The name that stands for ClusterId or ProcId in an ad that is matched.
fn number(name: &str) -> Option<&'static str> {
    let same = |(own, _): &&(&str, &str)| name.eq_ignore_ascii_case(own);
    NUMBERS.iter().find(same).map(|(_, stands)| *stands)
}

/// An expression of an ad that is matched, with the names that the job has for its own number.
pub fn with_own_numbers(expression: &str) -> String {
    let mut text = expression.to_owned();
    for (name, (_, stands)) in ["ClusterId", "ProcId"].iter().zip(NUMBERS) {
        text = text.replace(stands, name);
    }
    text
}

/// A job as an answer tells it.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobColumns<'a> {
    pub universe: u64,
    pub requirements: &'a str,
    /// Requests as they are written, by the name of the attribute.
    pub requests: [(&'static str, &'a str); 4],
    /// Its ClusterId and ProcId, where it is told by itself.
    pub number: Option<[u64; 2]>,
    /// All of its attributes are told: what is missing it has not.
    pub whole: bool,
}

/// A job, as far as it matters where it may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAd {
    pub requirements: String,
    universe: u64,
    /// By name in small letters: what the Requirements refer to, and what nodes ask for.
    attributes: BTreeMap<String, String>,
    /// Requests that depend on the machine, by the name of the attribute.
    requests: BTreeMap<&'static str, String>,
    /// What it refers to changes by itself, so that no answer lasts.
    pub changes: bool,
}

/// Why there is no such ad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Attributes that were not asked for.
    Names,
    /// The number of the job itself, of which only the group is told.
    Number,
    /// What they refer to doubles with each step.
    Steps,
    /// An attribute is too long.
    Long(String),
}

impl Unread {
    /// The needs of such jobs.
    pub fn needs(&self) -> RequirementsDigest {
        RequirementsDigest::unread(match self {
            Unread::Names => "names",
            Unread::Number => "number",
            Unread::Steps => "steps",
            Unread::Long(_) => "long",
        })
    }

    /// Why HTCondor cannot be asked about them, when these are such needs.
    pub fn of(needs: &RequirementsDigest) -> Option<&'static str> {
        let all = [
            Unread::Names,
            Unread::Number,
            Unread::Steps,
            Unread::Long(String::new()),
        ];
        let unread = all.into_iter().find(|why| why.needs() == *needs)?;
        Some(match unread {
            Unread::Names => {
                "their Requirements refer to attributes that ehos has not queried yet; the next tick queries them"
            }
            Unread::Number => {
                "their Requirements name ClusterId or ProcId, and ehos asks about 500 of such jobs of one owner at most"
            }
            Unread::Steps => "what they refer to takes too long to evaluate",
            Unread::Long(_) => "their Requirements or what these refer to are too long",
        })
    }
}

impl JobAd {
    /// The ad of a job with the values of these columns. All names that it refers to are put into `names`.
    pub fn of<'a>(
        job: &JobColumns<'a>,
        columns: &BTreeMap<&str, &'a str>,
        nodes_ask: &BTreeSet<String>,
        names: &mut BTreeSet<String>,
    ) -> Result<JobAd, Unread> {
        let mut search = Search {
            columns,
            names,
            attributes: BTreeMap::new(),
            seen: BTreeSet::new(),
            absent: BTreeSet::new(),
            changes: false,
            numbered: false,
            whole: job.whole,
            refused: None,
        };
        if job.requirements == LONG {
            return Err(Unread::Long("Requirements".to_owned()));
        }
        let asked = nodes_ask.iter().filter(|name| number(name).is_none());
        search.follow(job.requirements, asked.cloned().collect());
        let mut requests = BTreeMap::new();
        for (name, expression) in job.requests {
            if expression.parse::<f64>().is_ok() {
                continue;
            }
            if expression == LONG {
                search.refused = search.refused.or(Some(Unread::Long(name.to_owned())));
            } else if search.depends_on_machine(expression) {
                requests.insert(name, renamed(expression, number));
            }
        }
        if search.numbered {
            match job.number {
                None => search.refused = search.refused.or(Some(Unread::Number)),
                Some(values) => {
                    for value in search.attributes.values_mut() {
                        *value = renamed(value, number);
                    }
                    for ((_, name), value) in NUMBERS.iter().zip(values) {
                        search
                            .attributes
                            .insert(name.to_ascii_lowercase(), value.to_string());
                    }
                }
            }
        }
        let expressions =
            std::iter::once(job.requirements).chain(requests.values().map(String::as_str));
        if search.refused.is_none() && steps(expressions, &search.attributes) > STEPS_MAX {
            search.refused = Some(Unread::Steps);
        }
        match search.refused {
            Some(why) => Err(why),
            None => Ok(JobAd {
                requirements: match search.numbered {
                    true => renamed(job.requirements, number),
                    false => job.requirements.to_owned(),
                },
                universe: job.universe,
                attributes: search.attributes,
                requests,
                changes: search.changes,
            }),
        }
    }

    /// Requests that depend on the machine: their attributes.
    pub fn machine_requests(&self) -> impl Iterator<Item = &'static str> {
        self.requests.keys().copied()
    }

    /// Whether its Requirements name the job's own number.
    pub fn is_numbered(&self) -> bool {
        let is =
            |(_, name): &(&str, &str)| self.attributes.contains_key(&name.to_ascii_lowercase());
        NUMBERS.iter().any(is)
    }

    /// The ad of a job that needs nothing.
    pub fn plain() -> JobAd {
        JobAd {
            requirements: "true".to_owned(),
            universe: 5,
            attributes: BTreeMap::new(),
            requests: BTreeMap::new(),
            changes: false,
        }
    }

    /// The digest by which such jobs are known.
    pub fn needs(&self) -> RequirementsDigest {
        let mut text = format!("{}\n{}\n", self.universe, self.requirements);
        for (name, value) in &self.attributes {
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            text.push('\n');
        }
        for (name, value) in &self.requests {
            let _ = writeln!(text, "{name}={value}");
        }
        RequirementsDigest(digest(&text))
    }

    /// Whether it has such an attribute, by its name in small letters.
    pub fn has(&self, name: &str) -> bool {
        built_in(name) || self.attributes.contains_key(name)
    }

    /// The value of one that it has.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// How much room it takes.
    pub fn size(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes: usize = attributes
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.requirements.len() + attributes
    }

    /// Writes it for HTCondor, as idle job `number`.0 that asks for `request`, with other Requirements in place of its
    /// own.
    pub fn write(&self, number: usize, request: &Resources, requirements: &str, out: &mut String) {
        for (name, value) in &self.attributes {
            let _ = writeln!(out, "{name} = {value}");
        }
        if !self.has("owner") {
            // condor_q takes a job without one for none that could run anywhere.
            out.push_str("Owner = \"ehos\"\n");
        }
        let _ = write!(
            out,
            "MyType = \"Job\"\nClusterId = {number}\nProcId = 0\nJobStatus = 1\nJobUniverse = {}\nCurrentTime = time()\n",
            self.universe
        );
        let amounts = [
            ("RequestCpus", request.cpus),
            ("RequestMemory", request.memory_mb),
            ("RequestDisk", request.disk_kb),
            ("RequestGPUs", request.gpus),
        ];
        for (name, amount) in amounts {
            match self.requests.get(name) {
                Some(expression) => drop(writeln!(out, "{name} = {expression}")),
                None if name == "RequestGPUs" && amount == 0 => {}
                None => drop(writeln!(out, "{name} = {amount}")),
            }
        }
        let _ = write!(out, "Requirements = {requirements}\n\n");
    }
}

/// Looks for all that a job's expressions refer to.
struct Search<'a, 'b> {
    columns: &'b BTreeMap<&'b str, &'a str>,
    names: &'b mut BTreeSet<String>,
    attributes: BTreeMap<String, String>,
    seen: BTreeSet<String>,
    /// Attributes that the job has not.
    absent: BTreeSet<String>,
    changes: bool,
    numbered: bool,
    whole: bool,
    refused: Option<Unread>,
}

impl<'a> Search<'a, '_> {
    /// Takes all attributes of the job that `expression` and those in `left` refer to.
    fn follow(&mut self, expression: &'a str, mut left: Vec<String>) {
        let mut expressions = vec![expression];
        loop {
            for expression in expressions.drain(..) {
                let named = Names::of(expression);
                self.changes |= named.change();
                let mine = named
                    .attributes
                    .iter()
                    .filter(|(scope, _)| *scope != Scope::Target);
                left.extend(mine.map(|(_, name)| name.to_ascii_lowercase()));
            }
            let Some(name) = left.pop() else { break };
            self.numbered |= number(&name).is_some();
            if built_in(&name) || self.seen.contains(&name) {
                continue;
            }
            match self.columns.get(name.as_str()) {
                None if self.whole => drop(self.absent.insert(name.clone())),
                None => self.refused = self.refused.take().or(Some(Unread::Names)),
                // Absent, or as good as.
                Some(&"" | &"undefined") => drop(self.absent.insert(name.clone())),
                Some(&LONG) => {
                    self.refused = self.refused.take().or(Some(Unread::Long(name.clone())));
                }
                Some(_) if name == DEFERRAL.0 => {
                    self.attributes.insert(name.clone(), DEFERRAL.1.to_owned());
                }
                Some(value) => {
                    self.attributes.insert(name.clone(), (*value).to_owned());
                    expressions.push(value);
                }
            }
            if !self.names.contains(&name) && is_plain(&name) {
                self.names.insert(name.clone());
            }
            self.seen.insert(name);
        }
    }

    /// Whether a request refers to what the job has not: HTCondor takes it from the machine. If it does, what else it
    /// refers to is taken.
    fn depends_on_machine(&mut self, expression: &'a str) -> bool {
        let named = Names::of(expression).attributes;
        let of_job = |(scope, name): &(Scope, &str)| {
            let name = name.to_ascii_lowercase();
            *scope != Scope::Target && (built_in(&name) || OF_EACH_JOB.contains(&name.as_str()))
        };
        if named.iter().all(of_job) {
            return false;
        }
        self.follow(expression, Vec::new());
        let of_machine = |(scope, name): &(Scope, &str)| match scope {
            Scope::Target => true,
            Scope::My => false,
            Scope::Either => {
                let name = name.to_ascii_lowercase();
                self.absent.contains(&name) && !OF_EACH_JOB.contains(&name.as_str())
            }
        };
        let mut all = named;
        let reached = self.attributes.values();
        all.extend(reached.flat_map(|value| Names::of(value).attributes));
        all.iter().any(of_machine)
    }
}

/// 16 hex digits that stand for `text`.
pub fn digest(text: &str) -> String {
    let mut hex = String::with_capacity(16);
    for byte in Sha256::digest(text.as_bytes()).iter().take(8) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        requirements: &str,
        columns: &[(&str, &str)],
        nodes_ask: &[&str],
    ) -> (Result<JobAd, Unread>, Vec<String>) {
        let mut names = BTreeSet::new();
        let nodes_ask = nodes_ask.iter().map(|name| (*name).to_owned()).collect();
        let columns: BTreeMap<&str, &str> = columns.iter().copied().collect();
        let job = JobColumns {
            universe: 5,
            requirements,
            ..JobColumns::default()
        };
        let ad = JobAd::of(&job, &columns, &nodes_ask, &mut names);
        names.retain(|name| !columns.contains_key(name.as_str()));
        (ad, names.into_iter().collect())
    }

    #[test]
    fn an_ad_has_what_its_requirements_refer_to_and_no_more() {
        let columns = [
            ("wanted", "Base * 2"),
            ("base", "4"),
            ("other", "\"x\""),
            ("opsysandver", ""),
            ("owner", "\"alice\""),
        ];
        let requirements = "TARGET.Foo > My.Wanted && OpSysAndVer == \"x\" && RequestCpus > 1";
        let (ad, missing) = read(requirements, &columns, &[]);
        let ad = ad.unwrap();
        assert_eq!(missing, Vec::<String>::new());
        assert_eq!(ad.attributes.keys().collect::<Vec<_>>(), ["base", "wanted"]);
        assert!(ad.has("base") && ad.has("requestcpus") && !ad.has("opsysandver"));
        assert!(!ad.changes);
        let asked = read(requirements, &columns, &["owner"]).0.unwrap();
        assert_eq!(asked.value("owner"), Some("\"alice\""));
        assert_ne!(ad.needs(), asked.needs());
        assert_eq!(ad.needs().0.len(), 16);

        let mut text = String::new();
        let request = Resources {
            cpus: 2,
            memory_mb: 3,
            disk_kb: 4,
            gpus: 1,
        };
        ad.write(7, &request, "true", &mut text);
        assert!(
            text.starts_with("base = 4\nwanted = Base * 2\nOwner = \"ehos\"\nMyType"),
            "{text}"
        );
        assert!(text.contains("ClusterId = 7\n") && text.contains("RequestGPUs = 1\n"));
        assert!(text.ends_with("Requirements = true\n\n"));
    }

    #[test]
    fn what_was_not_asked_for_is_named() {
        let (ad, missing) = read("A && TARGET.B && MY.C", &[("a", "D + 1")], &["e"]);
        assert_eq!(ad, Err(Unread::Names));
        assert_eq!(missing, ["c", "d", "e"]);
        assert_eq!(read("ProcId == 3", &[], &[]).0, Err(Unread::Number));
        for why in [Unread::Names, Unread::Number] {
            assert!(Unread::of(&why.needs()).is_some());
        }
        assert_eq!(
            Unread::of(&RequirementsDigest("0123456789abcdef".to_owned())),
            None
        );
    }

    #[test]
    fn what_changes_by_itself_is_seen_behind_an_attribute_too() {
        assert!(read("(time() - 5) > 1", &[], &[]).0.unwrap().changes);
        let (ad, _) = read("Late", &[("late", "time() > 7")], &[]);
        assert!(ad.unwrap().changes);
    }

    /// `condor_q -af` leaves out what it cannot read and all that follows, with exit code 0: the whole answer would be torn.
    #[test]
    fn names_that_condor_q_cannot_read_are_no_columns() {
        let (ad, missing) = read("'1a' > 1 && 'is' && 'Target' && 'b' > 1", &[], &[]);
        assert_eq!(ad, Err(Unread::Names));
        assert_eq!(missing, ["b"]);
        let odd = ["1a", "is", "isnt", "true", "a b", "", "x"].map(str::to_owned);
        let columns = Columns {
            nodes_ask: odd.clone().into(),
            ..Columns::default()
        };
        assert_eq!(columns.all(), BTreeSet::from(["x"]));
        assert_eq!(Columns::default().with(&odd.into()).names.len(), 1);
    }

    #[test]
    fn columns_are_bounded() {
        let names = (0..500).map(|n| format!("n{n}")).collect();
        assert_eq!(Columns::default().with(&names).names.len(), COLUMNS_MAX);
        let long = BTreeSet::from(["x".repeat(65), "jobstatus".to_owned()]);
        assert_eq!(Columns::default().with(&long).all(), BTreeSet::new());
    }

    /// The ad that is matched has a number of its own.
    #[test]
    fn a_job_is_matched_by_its_own_number() {
        let columns = BTreeMap::from([("mod", "MY.ProcId % 2")]);
        let mut names = BTreeSet::new();
        let mut of = |number| {
            let job = JobColumns {
                requirements: "(Mod == 0 && 'ProcId' < 9) || TARGET.ClusterId > clusterid",
                number,
                ..JobColumns::default()
            };
            JobAd::of(&job, &columns, &BTreeSet::new(), &mut names)
        };
        assert_eq!(of(None), Err(Unread::Number));
        let ad = of(Some([7, 3])).unwrap();
        assert!(ad.is_numbered());
        assert_eq!(
            ad.requirements,
            "(Mod == 0 && 'EhosProcId' < 9) || TARGET.ClusterId > EhosClusterId"
        );
        assert_eq!(ad.value("mod"), Some("MY.EhosProcId % 2"));
        assert_eq!(
            (ad.value("ehosclusterid"), ad.value("ehosprocid")),
            (Some("7"), Some("3"))
        );
        assert_ne!(ad.needs(), of(Some([7, 4])).unwrap().needs());
        assert_eq!(
            with_own_numbers(&ad.requirements),
            "(Mod == 0 && 'ProcId' < 9) || TARGET.ClusterId > ClusterId"
        );
        // Who refers to none has none.
        assert!(!read("TARGET.ProcId > 1", &[], &[]).0.unwrap().is_numbered());
    }

    /// As sites write requests for whole nodes: what the job has not, HTCondor takes from the machine.
    #[test]
    fn a_request_that_refers_to_the_machine_is_left_to_it() {
        let columns = BTreeMap::from([
            ("wantwholenode", "true"),
            ("totalcpus", ""),
            ("jobcpus", "1"),
            ("share", "Other / 2"),
            ("other", ""),
        ]);
        let mut names = BTreeSet::new();
        let mut of = |memory: &'static str| {
            let mut requests = JobColumns::default().requests;
            requests[1] = ("RequestMemory", memory);
            let job = JobColumns {
                requirements: "true",
                requests,
                ..JobColumns::default()
            };
            JobAd::of(&job, &columns, &BTreeSet::new(), &mut names)
        };
        for own in [
            "2048",
            "2048.5",
            "",
            "ifthenelse(MemoryUsage isnt undefined,MemoryUsage,(ImageSize + 1023) / 1024)",
            "JobCpus * 2000",
            "\"4 GB\"",
            "MY.TotalCpus * 5",
        ] {
            assert_eq!(of(own).unwrap().machine_requests().count(), 0, "{own}");
        }
        for machine in [
            "ifThenElse(WantWholeNode is true,!isUndefined(TotalCpus) ? TotalCpus : JobCpus,1)",
            "TARGET.Memory",
            "Share",
        ] {
            let ad = of(machine).unwrap();
            assert_eq!(
                ad.machine_requests().collect::<Vec<_>>(),
                ["RequestMemory"],
                "{machine}"
            );
            let mut text = String::new();
            ad.write(3, &Resources::default(), "true", &mut text);
            assert!(
                text.contains(&format!("RequestMemory = {machine}\n")),
                "{text}"
            );
        }
        assert_eq!(of("NotAskedFor"), Err(Unread::Names));
        assert_eq!(of(LONG), Err(Unread::Long("RequestMemory".to_owned())));
        assert!(names.contains("notaskedfor"));
    }

    #[test]
    fn a_deferred_job_is_matched_as_if_its_time_had_come() {
        let requirements = "time() + 10 >= DeferralTime - DeferralPrepTime";
        let columns = [("deferraltime", "1795934709"), ("deferralpreptime", "120")];
        let ad = read(requirements, &columns, &[]).0.unwrap();
        assert_eq!(ad.value("deferraltime"), Some("time() + 1"));
        let later = [("deferraltime", "1999999999"), ("deferralpreptime", "120")];
        assert_eq!(
            ad.needs(),
            read(requirements, &later, &[]).0.unwrap().needs()
        );
    }

    #[test]
    fn what_is_too_long_is_named() {
        assert_eq!(
            read(LONG, &[], &[]).0,
            Err(Unread::Long("Requirements".to_owned()))
        );
        assert_eq!(
            read("Foo > 1", &[("foo", LONG)], &[]).0,
            Err(Unread::Long("foo".to_owned()))
        );
        // Whom it does not concern it does not touch.
        assert!(
            read("Bar > 1", &[("foo", LONG), ("bar", "1")], &[])
                .0
                .is_ok()
        );
    }
}
