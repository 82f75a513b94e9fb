//! Tests of all readers together: HTCondor's four forms of the same ads, damage, and large inputs.

use std::io::Read;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

const HISTORY: &str = include_str!("../../../tests/fixtures/workloads/cases.history");
/// As `condor_history` of HTCondor 23.9 printed that history.
const JSON: &str = include_str!("../../../tests/fixtures/workloads/cases.json");
const JSON_LINES: &str = include_str!("../../../tests/fixtures/workloads/cases.jsonl");
const LONG: &str = include_str!("../../../tests/fixtures/workloads/cases.long");
/// As the schedd of HTCondor 23.9 wrote it: two jobs removed while they ran, one while it was idle, one that completed.
const SCHEDD: &str = include_str!("../../../tests/fixtures/workloads/testbed.history");
const SCHEDD_JSON: &str = include_str!("../../../tests/fixtures/workloads/testbed.json");
const SWF: &str = include_str!("../../../tests/fixtures/workloads/nasa-head.swf");
const EVENTS: &str = include_str!("../../../tests/fixtures/condor/event-log.txt");
const TABLE: &str = "submitted,runs,owner\n0,60,alice\n5,70,\"b, c\"\n9,80,\n";

fn try_read(text: &[u8]) -> Result<Workload, WorkloadError> {
    read_from("FILE", text, &ReadOptions::default())
}

fn workload(text: &str) -> Workload {
    try_read(text.as_bytes()).unwrap()
}

fn times(workload: &Workload) -> Vec<(Seconds, Seconds, Seconds)> {
    let times = |job: &Job| (job.submitted, job.runs, job.removed);
    workload.jobs.iter().map(times).collect()
}

fn counts(workload: &Workload) -> Vec<(&str, u64)> {
    let counts = workload.notes.counts.iter();
    counts
        .map(|(what, count)| (&**what, count.records))
        .collect()
}

/// Of each record there is a job, or a count that says why not.
fn is_complete(notes: &Notes, jobs: usize) -> bool {
    jobs as u64 + notes.left_out == notes.records + notes.added
}

#[test]
fn the_forms_of_a_history_make_the_same_workload() {
    let history = workload(HISTORY);
    for text in [JSON, JSON_LINES, LONG] {
        let other = workload(text);
        assert_eq!(other.jobs, history.jobs);
        assert_eq!(other.classes, history.classes);
        assert_eq!(counts(&other), counts(&history));
    }
    let one_line = JSON.replace('\n', "");
    assert_eq!(workload(&one_line).jobs, history.jobs);
    let joined = workload(&format!("{JSON}{JSON}"));
    assert_eq!(joined.jobs, history.jobs);
    let again = "the same job again: left out";
    assert_eq!(joined.notes.counts[again].records, 20);
}

#[test]
fn the_history_of_a_schedd_is_read() {
    let history = workload(SCHEDD);
    assert_eq!(history.start.unwrap().to_string(), "2026-11-29T19:36:37Z");
    // `condor_history` prints the newest job first.
    let sorted = |workload: &Workload| {
        let mut times = times(workload);
        times.sort_unstable();
        times
    };
    assert_eq!(sorted(&history), sorted(&workload(SCHEDD_JSON)));
    assert_eq!((history.jobs.len(), history.notes.left_out), (4, 0));
    let removed = "removed while running: its run time until then counts";
    assert_eq!(history.notes.counts[removed].records, 2);
    assert_eq!(
        history.notes.counts["removed while idle, never started"].records,
        1
    );
}

#[test]
fn each_end_of_a_job_is_told_apart() {
    let history = workload(HISTORY);
    assert_eq!(history.start.unwrap().to_string(), "2026-11-28T21:08:20Z");
    assert_eq!(
        times(&history),
        [
            (0, 600, NEVER),
            (100, 400, NEVER),
            (200, 600, 1100),
            (300, 100, NEVER),
            (600, 600, NEVER),
            (600, 600, NEVER),
            (600, 600, NEVER),
            (730, 600, NEVER),
            (800, 600, NEVER),
            (900, 600, NEVER),
            (1000, 600, NEVER),
            (1250, 600, NEVER),
            (1500, 600, NEVER),
            (1600, 600, NEVER),
            (1800, 250, NEVER),
        ]
    );
    let class = |job: usize| history.class(&history.jobs[job]).unwrap();
    let request = class(0).request;
    assert_eq!(
        (request.cpus, request.memory_mb, request.disk_kb),
        (1, 2048, 75_776)
    );
    // Expressions: what the slot had.
    let request = class(8).request;
    assert_eq!(
        (request.cpus, request.memory_mb, request.gpus),
        (8, 8064, 1)
    );
    assert_eq!(class(8).accounting_group.as_deref(), Some("group_phys"));
    assert_eq!((&*class(9).owner, class(9).request.memory_mb), ("bob", 256));
    assert_eq!(class(9).accounting_group.as_deref(), Some("group_bio"));
    assert_eq!(
        (&*class(12).owner, class(12).request.memory_mb),
        ("alice", 128)
    );
    assert_eq!(
        counts(&history),
        [
            ("RequestCpus is an expression: CpusProvisioned counts", 1),
            ("RequestDisk is an expression: DiskUsage counts", 14),
            (
                "RequestMemory is an expression: MemoryProvisioned counts",
                1
            ),
            ("ends before it starts: RemoteWallClockTime counts", 1),
            ("ends before it starts: left out", 1),
            ("late materialization: submitted at JobMaterializeDate", 1),
            (
                "never started: the median run time of similar jobs is assumed",
                1
            ),
            ("no JobStatus: left out", 1),
            ("no RequestCpus: 1 assumed", 1),
            ("no RequestDisk: DiskUsage counts", 1),
            ("no RequestMemory: 128 MB assumed", 1),
            ("no RequestMemory: ResidentSetSize counts", 1),
            ("parallel universe: one job for each machine", 1),
            ("removed while held, never started: left out", 1),
            (
                "removed while idle or held after a run: the mean of its runs counts",
                1
            ),
            ("removed while idle, never started", 1),
            ("removed while running: its run time until then counts", 1),
            ("scheduler universe, runs on no node: left out", 1),
            ("shadows started that ran no job: not counted", 1),
            (
                "started more than once (evicted, requeued): the last start counts",
                2
            ),
            ("starts before it is submitted: submitted at its start", 1),
            (
                "submitted more than 10 years before or after the median submission: left out",
                2
            ),
            ("the same job again: left out", 1),
            ("was held: its time on hold counts as idle time", 2),
        ]
    );
    assert_eq!(
        history.notes.counts["no JobStatus: left out"].example,
        "FILE:509 job 118.0"
    );
    assert!(is_complete(&history.notes, history.jobs.len()));
}

#[test]
fn jobs_that_are_in_the_queue_are_told_apart() {
    let ads = [
        "JobStatus = 2\nNumJobStarts = 1\nJobCurrentStartDate = 1795900050\nServerTime = 1795900250",
        "JobStatus = 2\nNumJobStarts = 1\nJobCurrentStartDate = 1795900050",
        "JobStatus = 1",
        "JobStatus = 1\nNumJobStarts = 2\nRemoteWallClockTime = 300.0",
        "JobStatus = 5",
        "JobStatus = 5\nNumJobStarts = 1\nRemoteWallClockTime = 300.0",
        "JobStatus = 99",
        "JobStatus = 4\nJobUniverse = 9",
        "JobStatus = 4\nJobUniverse = 12",
    ];
    let number = |(number, ad): (usize, &&str)| {
        format!("ClusterId = 1\nProcId = {number}\nQDate = 1795900000\nOwner = \"a\"\n{ad}\n\n")
    };
    let queue = workload(&ads.iter().enumerate().map(number).collect::<String>());
    let runs: Vec<Seconds> = queue.jobs.iter().map(|job| job.runs).collect();
    assert_eq!(runs, [200, 200, 200, 150, 300]);
    let named = |what: &str| queue.notes.counts.get(what).map(|count| count.records);
    for (what, records) in [
        ("still running: its run time until then counts", 2),
        ("still idle, never started", 1),
        ("idle again after a run: the mean of its runs counts", 1),
        ("held, never started: left out", 1),
        ("held after a run: the mean of its runs counts", 1),
        ("unknown JobStatus: left out", 1),
        ("grid universe, runs on no node: left out", 1),
        ("local universe, runs on no node: left out", 1),
    ] {
        assert_eq!(named(what), Some(records), "{what}");
    }
    assert!(is_complete(&queue.notes, queue.jobs.len()));
}

#[test]
fn a_file_that_is_cut_off_loses_its_last_ad_alone() {
    for (text, cut) in [
        (HISTORY, 8700),
        (JSON, 9000),
        (JSON_LINES, 9000),
        (LONG, 9000),
        (LONG, LONG.len() - 4),
    ] {
        let cut = workload(&text[..cut]);
        let what = "cut off at the end of the file: left out";
        assert_eq!(cut.notes.counts[what].records, 1);
        assert!(is_complete(&cut.notes, cut.jobs.len()));
    }
    let list = workload(JSON.trim_end().trim_end_matches(']'));
    assert_eq!(
        list.notes.counts["the file ends before its list of ads does"].records,
        1
    );
}

#[test]
fn a_damaged_ad_costs_itself_alone() {
    let ads = |text: &str| workload(text).jobs.len();
    // An open string, a lost brace, a brace too many.
    for (old, new) in [
        ("\"Owner\": \"alice\",", "\"Owner\": \"alice,"),
        ("{\n  \"Cmd\"", "\n  \"Cmd\""),
        ("\n}\n,", "\n,"),
        ("\"JobStatus\": 4,", "\"JobStatus\": 4},"),
    ] {
        let at = JSON[5000..].find(old).unwrap() + 5000;
        let damaged = format!("{}{new}{}", &JSON[..at], &JSON[at + old.len()..]);
        let lost = ads(JSON) - ads(&damaged);
        assert!((1..=3).contains(&lost), "{old}: {lost} lost");
    }
    let no_banner = HISTORY.replacen("*** Offset", "-- damaged", 2);
    let what = "two ads without a banner between them: attributes may be missing";
    let read = workload(&no_banner);
    assert_eq!(read.notes.counts[what].records, 2);
    assert_eq!(read.jobs.len(), ads(HISTORY));
}

#[test]
fn the_ads_of_single_runs_are_no_jobs() {
    let epochs = HISTORY.replace("*** Offset = ", "*** EPOCH Offset = ");
    let error = try_read(epochs.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        error,
        "FILE: no jobs: ad of one run or transfer (epoch history): left out (20, the first: FILE:27); name a file with jobs, or a generator such as poisson:rate=30/h,days=7"
    );
}

#[test]
fn files_are_joined_and_directories_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let inputs = [
        file("history", HISTORY),
        file("history.old", ""),
        file("today", SCHEDD_JSON),
    ];
    let joined = read(&inputs, &ReadOptions::default()).unwrap();
    assert_eq!(joined.jobs.len(), 15 + 4);
    assert_eq!(joined.notes.counts["empty file"].records, 1);
    let told = |inputs: &[PathBuf]| {
        let error = read(inputs, &ReadOptions::default())
            .unwrap_err()
            .to_string();
        error.replace(folder.path().to_str().unwrap(), "DIR")
    };
    assert_eq!(
        told(&[folder.path().to_owned()]),
        "DIR: cannot be read: this is a directory; name its files, such as DIR/*"
    );
    assert_eq!(
        told(&[inputs[0].clone(), file("table.csv", TABLE)]),
        "DIR/table.csv: cannot be joined with DIR/history: only one of them has calendar times; simulate them one by one"
    );
    assert!(
        told(&[folder.path().join("none")]).starts_with("DIR/none: cannot be read: No such file")
    );
    assert_eq!(
        told(&[inputs[1].clone()]),
        "DIR/history.old: no jobs: empty file (1, the first: DIR/history.old); name a file with jobs, or a generator such as poisson:rate=30/h,days=7"
    );
}

#[test]
fn a_trace_with_a_tenth_of_its_lines_broken_keeps_the_rest() {
    let line = |number: u32| match number % 10 {
        3 => format!("{number} {number} -1 8?3 1\n"),
        _ => format!("{number} {number} -1 83 1 -1 -1 -1 1200 -1 -1 1 1 -1 -1 1 -1 -1\n"),
    };
    let text: String = (0..10_000).map(line).collect();
    let trace = workload(&text);
    assert_eq!((trace.jobs.len(), trace.notes.left_out), (9000, 1000));
    let count = &trace.notes.counts["not 18 numbers: left out"];
    assert_eq!(
        (count.records, &*count.example),
        (1000, "FILE:4 `3 3 -1 8?3 1`")
    );
}

/// Bytes that need no memory.
struct Long {
    start: &'static [u8],
    middle: u8,
    left: usize,
    end: &'static [u8],
}

impl Read for Long {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.start.is_empty() {
            return self.start.read(buffer);
        }
        if self.left == 0 {
            return self.end.read(buffer);
        }
        let most = buffer.len().min(self.left);
        buffer[..most].fill(self.middle);
        self.left -= most;
        Ok(most)
    }
}

#[test]
fn a_line_without_end_is_counted_within_bounded_memory() {
    let long = |start: &'static str, end: &'static str| Long {
        start: start.as_bytes(),
        middle: b'7',
        left: 64 << 20,
        end: end.as_bytes(),
    };
    for (start, end, what) in [
        (
            "submitted,runs\n0,60\n",
            "\n1,60\n",
            "not as many values as columns: left out",
        ),
        (
            "[\n{\n  \"ClusterId\": 1,\n  \"JobStatus\": 3,\n  \"Env\": \"",
            "\"\n}\n,\n{\n  \"ClusterId\": 2, \"ProcId\": 0, \"QDate\": 1795900000, \"JobStatus\": 1\n}\n]\n",
            "an ad of more than 4 MiB: left out",
        ),
        (
            "ClusterId = 1\nProcId = 0\nEnv = \"",
            "\"\nQDate = 1795900000\nJobStatus = 1\n\n",
            "an attribute of more than 1 MiB in an ad: ignored",
        ),
        (
            "; MaxJobs: 2\n1 0 -1 83 1 -1 -1 -1 1200 -1 -1 1 1 -1 -1 1 -1 -1\n",
            "\n",
            "not 18 numbers: left out",
        ),
    ] {
        let workload = read_from("FILE", long(start, end), &ReadOptions::default()).unwrap();
        assert_eq!(workload.notes.counts[what].records, 1, "{what}");
        assert!(is_complete(&workload.notes, workload.jobs.len()));
    }
}

#[test]
fn absurd_requests_and_long_names_are_counted_and_bounded() {
    let ad = |number: u32, more: &str| {
        format!(
            "ClusterId = 1\nProcId = {number}\nQDate = 1795900000\nJobStatus = 4\nRemoteWallClockTime = 60.0\n{more}\n\n"
        )
    };
    let long = "x".repeat(5000);
    let ads = [
        ad(0, "RequestCpus = 1e12\nOwner = \"a\""),
        ad(1, "RequestCpus = -3\nOwner = \"a\""),
        ad(2, "RequestMemory = 1e10\nRequestCpus = 1\nOwner = \"a\""),
        ad(3, &format!("RequestCpus = 1\nOwner = \"{long}\"")),
        ad(
            4,
            "JobUniverse = 11\nMinHosts = 100000\nRequestCpus = 1\nOwner = \"a\"",
        ),
    ];
    let swf = "1 0 -1 83 2 -1 -1 -1 -1 9e17 1 1 -1 -1 1 -1 -1 -1\n2 0 -1 83 1 -1 -1 -1 -1 -1 1 1 -1 -1 1 -1 -1 -1\n";
    let csv = format!(
        "submitted,runs,cpus,memory_mb,disk_mb,gpus,owner\n0,60,18446744073709551615,,,,a\n0,60,,,18446744073709551615,,a\n0,60,,,,9999999,a\n0,60,2,,,,{long}\n"
    );
    let events = EVENTS
        .replace("Cpus", "Memory (MB)")
        .replace(" 1\n", " 1e300\n");
    let what = "requests more than 1048576 cores or GPUs, or 1 PiB: left out";
    for (text, left_out) in [
        (ads.concat(), 2),
        (swf.to_owned(), 1),
        (csv, 3),
        (events, 0),
    ] {
        let workload = workload(&text);
        let count = workload
            .notes
            .counts
            .get(what)
            .map_or(0, |count| count.records);
        if left_out > 0 {
            assert_eq!(count, left_out, "{:?}", workload.notes);
        }
        assert!(is_complete(&workload.notes, workload.jobs.len()));
        for class in &workload.classes {
            assert!(
                class.request.fits(&REQUEST_MAX) && class.owner.len() <= NAME_MAX,
                "{class:?}"
            );
        }
    }
    let found = workload(&ads.concat());
    let counts = &found.notes.counts;
    for (what, records) in [
        ("RequestCpus is negative or more than 2^40: 1 assumed", 1),
        (
            "parallel universe: more than 10000 machines, 10000 assumed",
            1,
        ),
    ] {
        assert_eq!(counts[what].records, records, "{counts:?}");
    }
}

#[test]
fn requirements_besides_size_are_counted_by_their_most_frequent_attribute() {
    let ad = |number: u32, requirements: &str| {
        format!(
            "ClusterId = 1\nProcId = {number}\nQDate = 1795900000\nJobStatus = 4\nRemoteWallClockTime = 60.0\nRequestCpus = 1\nOwner = \"a\"\nRequirements = {requirements}\n\n"
        )
    };
    let ads = [
        ad(0, "TARGET.Memory >= RequestMemory"),
        ad(1, "HasSingularity && TARGET.Memory >= RequestMemory"),
        ad(2, "TARGET.HasSingularity"),
        ad(3, "Machine == \"a\""),
        ad(4, "true"),
    ];
    let long = workload(&ads.concat());
    let what = "Requirements name more than the size, most often HasSingularity (2 jobs): not checked, such a job runs on \
                each node that is large enough";
    let count = &long.notes.counts[what];
    assert_eq!((count.records, &*count.example), (3, "FILE:18 job 1.1"));
    assert_eq!(long.jobs.len(), 5);
    let json = r#"[{"ClusterId":1,"ProcId":0,"QDate":1795900000,"JobStatus":1,"Requirements":"\/Expr(TARGET.Machine == \"a\")\/"}]"#;
    let names = workload(json).notes.counts;
    assert!(
        names
            .keys()
            .any(|what| what.contains("most often Machine (1 jobs)")),
        "{names:?}"
    );
    let mut builder = Builder::default();
    builder.add(0, 60, None, &JobClass::default());
    for number in 0..ATTRIBUTES_MAX + 500 {
        builder.requires(&format!("{number}{}", "x".repeat(5000)), String::new);
    }
    assert!(builder.requirements.len() <= ATTRIBUTES_MAX + 1);
    assert!(
        builder
            .requirements
            .keys()
            .all(|name| name.len() <= NAME_MAX)
    );
}

#[test]
fn classes_and_distances_are_bounded() {
    let mut builder = Builder::default();
    for number in 0..CLASSES_MAX as u64 + 50_000 {
        let class = JobClass {
            owner: format!("user{number}"),
            request: Resources {
                cpus: number % 7 + 1,
                ..Resources::default()
            },
            ..JobClass::default()
        };
        builder.add(1000, 60, None, &class);
    }
    builder.add(0, 60, None, &JobClass::default());
    builder.add(i64::MAX, 60, None, &JobClass::default());
    builder.add(i64::MIN, 60, None, &JobClass::default());
    let workload = builder.build(true);
    // 1, 2, 4 and 8 cores.
    assert_eq!(workload.classes.len(), CLASSES_MAX + 4);
    assert_eq!(workload.jobs.len(), CLASSES_MAX + 50_001);
    assert_eq!(workload.notes.left_out, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3000 }))]

    /// Lines lost, doubled, cut, swapped and overwritten: never a panic, and of each record a job or a count.
    #[test]
    fn random_damage_loses_nothing_silently(
        input in 0..9_usize,
        damage in proptest::collection::vec((0..6_u8, any::<u16>(), any::<u8>()), 0..12),
    ) {
        let text = [HISTORY, JSON, JSON_LINES, LONG, SCHEDD, SCHEDD_JSON, SWF, EVENTS, TABLE][input];
        let mut text = text.as_bytes().to_vec();
        for (kind, place, byte) in damage {
            let at = usize::from(place) % text.len().max(1);
            let end = at + text[at..].iter().position(|b| *b == b'\n').unwrap_or(0);
            match kind {
                0 => text.truncate(at),
                1 => text[at..end].fill(byte),
                2 => { text.drain(at..(end + 1).min(text.len())); }
                3 => text.insert(at, byte),
                4 => { let line = text[at..end].to_vec(); text.splice(at..at, line); }
                _ => if let Some(old) = text.get_mut(at) { *old = b'0' + byte % 10 },
            }
            if text.is_empty() {
                break;
            }
        }
        if let Ok(workload) = try_read(&text) {
            prop_assert!(is_complete(&workload.notes, workload.jobs.len()), "{:?}", workload.notes);
            prop_assert!(workload.jobs.is_sorted_by_key(|job| job.submitted));
            prop_assert!(workload.jobs.iter().all(|job| job.runs > 0 && workload.class(job).is_some()));
            // What is written can be read, and is the same.
            let mut table = Vec::new();
            write_csv(&workload, &mut table).unwrap();
            let back = try_read(&table).unwrap();
            prop_assert_eq!(times(&back), times(&workload));
        }
    }

    /// Texts that somebody types.
    #[test]
    fn no_generator_panics(
        kind in "poisson|bursts|week|x",
        keys in proptest::collection::vec(
            (
                "rate|runs|cpus|every|jobs|over|peak|swing|weekend|owners|gpus|runs_max|[a-z]{0,3}",
                "[0-9]{0,3}[smhdx]?(/[smhd])?|(uniform|lognormal)\\([0-9]{1,2}m?,[0-9]{0,2}m?\\)?|[0-9:|.]{0,6}",
            ),
            0..5,
        ),
    ) {
        let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let text = format!("{kind}:days=0.001,{}", keys.join(","));
        if let Ok(workload) = read(&[text.into()], &ReadOptions::default()) {
            prop_assert!(is_complete(&workload.notes, workload.jobs.len()));
            prop_assert!(workload.jobs.iter().all(|job| job.submitted < 1000 * 86_400));
        }
    }
}
