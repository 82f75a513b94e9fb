use super::super::fake::FakeTools;
use super::*;
use ads::job_ad::Unread;
use scaling::job_requirements::JobFault;
use scaling::observation::JobCounts;

const LIMIT: Duration = Duration::from_secs(60);

/// The rest of a line after the times of a job.
const REST: &str = "\\t1.0\\t5\\t1\\t\\t\\t1\\t5\\t45\\t\\tundefined\\tundefined\\talice\\t0\\t";

fn totals(idle: u64) -> String {
    format!("out|Summary\t{idle}\t{idle}\t0\t0\t0\t1795350962\nexit=0\n")
}

/// Every idle job counts as demand.
fn waits(clusters: &BTreeMap<String, ClusterMarks>) -> Waits<'_> {
    Waits {
        young: Duration::ZERO,
        at: Timestamp::UNIX_EPOCH,
        clusters,
    }
}

fn observe(fake: &FakeTools) -> Result<ScheddView, Error> {
    let filter = JobFilter::new(&[], None, true);
    let observed = Schedd::local().observe(
        &fake.tools(LIMIT),
        &filter,
        &waits(&BTreeMap::new()),
        &Asked {
            columns: &Columns::default(),
            slow: &BTreeSet::new(),
        },
        &BTreeSet::new(),
        Deadline::within(LIMIT),
    );
    observed.map(|(view, _)| view)
}

/// Lines of groups or jobs: how many, and the memory that each asks for.
fn lines(jobs: &[(u64, u64)]) -> String {
    let line = |(count, memory): &(u64, u64)| {
        format!("printf '{count}\\t1\\t{memory}\\t45\\t0\\t1\\t1{REST}TARGET.x\\n'\n")
    };
    jobs.iter().map(line).collect()
}

fn jobs(view: &ScheddView) -> Vec<(u64, u64, bool)> {
    let demand = view.demand.iter();
    demand
        .map(|one| (one.jobs, one.request.memory_mb, one.fault.is_some()))
        .collect()
}

/// A schedd that takes long is not asked until there is no time left for what follows.
#[test]
fn a_slow_schedd_is_asked_again_in_the_next_tick() {
    let fake = FakeTools::new();
    let count = "echo x >>\"$(dirname \"$0\")/asked\"; sleep 1";
    let line = format!("printf '1\\t1\\t5\\t45\\t0\\t1\\t1{REST}Wanted > 1\\n'");
    fake.script("condor_q", "-group-by", &format!("{count}; {line}"));
    fake.answer("condor_q", "-totals", &totals(1));
    let filter = JobFilter::new(&[], None, true);
    let observed = Schedd::local().observe(
        &fake.tools(LIMIT),
        &filter,
        &waits(&BTreeMap::new()),
        &Asked {
            columns: &Columns::default(),
            slow: &BTreeSet::new(),
        },
        &BTreeSet::new(),
        Deadline::within(Duration::from_millis(2900)),
    );
    let (view, ads) = observed.unwrap();
    assert_eq!(view.demand[0].needs, Unread::Names.needs());
    assert!(ads.names.contains("wanted"), "the next tick asks for it");
    let asked = std::fs::read_to_string(fake.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 1);
}

/// It says so at random, with exit code 0, and leaves a group out.
#[test]
fn groups_with_the_same_id_are_checked_by_their_sum() {
    let fake = FakeTools::new();
    let same = "echo 'Error: Two results with the same ID.' >&2\n";
    fake.script(
        "condor_q",
        "-group-by",
        &(same.to_owned() + &lines(&[(4, 128), (3, 256)])),
    );
    fake.script("condor_q", "any", &lines(&[(4, 128), (3, 256), (2, 512)]));
    // Nothing is missing.
    fake.answer("condor_q", "-totals", &totals(7));
    let view = observe(&fake).unwrap();
    assert_eq!(jobs(&view), [(4, 128, false), (3, 256, false)]);
    // One that left meanwhile is no loss either.
    fake.answer("condor_q", "-totals", &totals(6));
    assert_eq!(jobs(&observe(&fake).unwrap()).len(), 2);
    // A group is missing: the jobs are told one by one.
    fake.answer("condor_q", "-totals", &totals(9));
    let view = observe(&fake).unwrap();
    assert_eq!(
        jobs(&view),
        [(4, 128, false), (3, 256, false), (2, 512, false)]
    );
    // That fails as well: what was told counts, and so does that there are more.
    fake.answer("condor_q", "any", "err|Failed\nexit=1\n");
    let view = observe(&fake).unwrap();
    assert_eq!(
        jobs(&view),
        [(4, 128, false), (3, 256, false), (2, 0, true)]
    );
    let unread = view.demand.last().unwrap();
    assert!(
        matches!(&unread.fault, Some(JobFault::Unread { problem, .. }) if problem.contains("did not list")),
        "{unread:?}"
    );
}

/// One owner's flood takes the time of that owner's jobs alone.
#[test]
fn a_query_that_takes_too_long_is_asked_owner_by_owner() {
    let fake = FakeTools::new();
    let of = |owner: &str| lines(&[(4, 128)]).replace("alice", owner);
    fake.answer(
        "condor_q",
        "Owner,JobStatus",
        "out|5000\tbob\nout|4\tcarol\nexit=0\n",
    );
    let script = format!(
        "case \"$*\" in *carol*) {} ;; *) sleep 60 ;; esac",
        of("carol").trim_end()
    );
    fake.script("condor_q", "-group-by", &script);
    fake.answer("condor_q", "-totals", &totals(5004));
    let filter = JobFilter::new(&[], None, true);
    let observed = Schedd::local().observe(
        &fake.tools(Duration::from_secs(2)),
        &filter,
        &waits(&BTreeMap::new()),
        &Asked {
            columns: &Columns::default(),
            slow: &BTreeSet::new(),
        },
        &BTreeSet::new(),
        Deadline::within(LIMIT),
    );
    let demand = observed.unwrap().0.demand;
    let of = |owner: &str| -> Vec<_> {
        let own = demand
            .iter()
            .filter(|one| one.owner.as_deref() == Some(owner));
        own.map(|one| (one.jobs, one.fault.clone())).collect()
    };
    assert_eq!(of("carol"), [(4, None)]);
    let bound = JobFault::OwnerBound {
        owner: Some("bob".to_owned()),
        bound: OwnerBound::Time,
    };
    assert_eq!(of("bob"), [(5000, Some(bound))]);
}

/// One group in a hundred may come or go between two answers.
#[test]
fn a_hundredth_of_a_large_queue_is_no_loss() {
    let fake = FakeTools::new();
    fake.script("condor_q", "-group-by", &lines(&[(991, 128)]));
    fake.script("condor_q", "any", &lines(&[(999, 512)]));
    fake.answer("condor_q", "-totals", &totals(1000));
    assert_eq!(jobs(&observe(&fake).unwrap()), [(991, 128, false)]);
    fake.script("condor_q", "-group-by", &lines(&[(989, 128)]));
    assert_eq!(jobs(&observe(&fake).unwrap()), [(999, 512, false)]);
}

/// What is missing from both answers waits unread: it is no job that has just come.
#[test]
fn jobs_that_no_answer_lists_are_unread() {
    let fake = FakeTools::new();
    fake.script("condor_q", "-group-by", &lines(&[(4, 128)]));
    fake.answer("condor_q", "-totals", &totals(9));
    for (each, told) in [
        (
            lines(&[(4, 128), (1, 256)]),
            &[(4, 128, false), (1, 256, false), (4, 0, true)][..],
        ),
        (lines(&[(1, 256)]), &[(4, 128, false), (5, 0, true)]),
        (lines(&[]), &[(4, 128, false), (5, 0, true)]),
    ] {
        fake.script("condor_q", "any", &each);
        assert_eq!(jobs(&observe(&fake).unwrap()), told);
    }
    // A condor_q that cannot group, too.
    fake.answer(
        "condor_q",
        "-group-by",
        "err|Error: unrecognized argument -group-by\nexit=1\n",
    );
    fake.script("condor_q", "any", &lines(&[(1, 256)]));
    assert_eq!(
        jobs(&observe(&fake).unwrap()),
        [(1, 256, false), (8, 0, true)]
    );
}

/// Whatever it fails at, the same jobs are told one by one; a schedd that does not do that either is unknown.
#[test]
fn a_query_for_groups_that_fails_is_asked_job_by_job() {
    let fake = FakeTools::new();
    fake.answer("condor_q", "-totals", &totals(2));
    for answer in [
        "err|Error: Two results with the same ID.\nexit=1\n",
        "err|Error: something odd\nexit=0\n",
        "exit=1\n",
        "#!/bin/sh\nkill -SEGV $$\n",
    ] {
        fake.answer("condor_q", "-group-by", answer);
        fake.script("condor_q", "any", &lines(&[(1, 128), (1, 256)]));
        let view = observe(&fake).unwrap();
        assert_eq!(jobs(&view), [(1, 128, false), (1, 256, false)], "{answer}");
        fake.script("condor_q", "any", "kill -SEGV $$");
        let error = observe(&fake).unwrap_err().to_string();
        assert!(
            error.ends_with("(killed by signal 11): no text on standard error"),
            "{error}"
        );
    }
}

/// Lines that are none of ours: the jobs are told one by one, and what is torn there too waits unread.
#[test]
fn a_torn_line_never_makes_a_schedd_unknown() {
    let fake = FakeTools::new();
    let torn =
        "printf '   {\\n      \"n1\",\\n   }\\n'\nhead -c 1200000 /dev/zero | tr '\\0' x; echo\n";
    fake.script(
        "condor_q",
        "-group-by",
        &(torn.to_owned() + &lines(&[(3, 128)])),
    );
    fake.script(
        "condor_q",
        "any",
        &(lines(&[(1, 128), (1, 128)]) + torn + &lines(&[(1, 256)])),
    );
    fake.answer("condor_q", "-totals", &totals(5));
    let view = observe(&fake).unwrap();
    assert_eq!(
        jobs(&view),
        [(2, 128, false), (1, 256, false), (2, 0, true)]
    );
    // Though all are told: of a torn line one is taken to wait.
    fake.answer("condor_q", "-totals", &totals(3));
    assert_eq!(jobs(&observe(&fake).unwrap()).last(), Some(&(1, 0, true)));
}

#[test]
fn an_empty_answer_though_jobs_wait_is_asked_one_by_one() {
    let fake = FakeTools::new();
    fake.answer("condor_q", "-group-by", "exit=0\n");
    fake.script("condor_q", "any", &lines(&[(1, 128)]));
    fake.answer("condor_q", "-totals", &totals(1));
    assert_eq!(jobs(&observe(&fake).unwrap()), [(1, 128, false)]);
    fake.answer("condor_q", "-totals", &totals(0));
    assert_eq!(jobs(&observe(&fake).unwrap()), []);
}

#[test]
fn jobs_of_factories_are_to_come() {
    let fake = FakeTools::new();
    fake.answer("condor_q", "-group-by", "exit=0\n");
    fake.answer("condor_q", "-totals", &totals(0));
    for (answer, to_come) in [
        ("out|5\t2\nout|3\t3\nexit=0\n", 3),
        ("exit=0\n", 0),
        (
            "out|error\t2\nout|{\nout|\t\nout|7\tundefined\nout|1\t9\nexit=0\n",
            7,
        ),
        ("err|usage\nexit=1\n", 0),
    ] {
        fake.answer("condor_q", "-factory", answer);
        assert_eq!(observe(&fake).unwrap().to_come, to_come, "{answer}");
    }
}

/// What it cannot be read of a job that runs, may be on any of the machines that are silent.
#[test]
fn a_job_that_cannot_be_read_where_it_runs_may_run_anywhere() {
    let silent = BTreeSet::from(["N1".to_owned(), "n2".to_owned()]);
    for (hosts, found, jobs) in [
        (&["slot1_1@n1", "slot1@other"][..], &["N1"][..], 1),
        (&["slot1@x@n2", "slot1@N2"], &["n2"], 2),
        (&["#type"], &["N1", "n2"], 0),
        (&["#long"], &["N1", "n2"], 0),
        (&["a\tb@n1"], &["N1", "n2"], 0),
        (&["slot1@other", ""], &[], 0),
    ] {
        let fake = FakeTools::new();
        let lines = hosts
            .iter()
            .map(|host| format!("out|{host}\t2400\tundefined\t5\t3.0\n"));
        let answer = lines.collect::<String>() + "out|\nexit=0\n";
        fake.answer("condor_q", "any", &answer);
        let tools = fake.tools(LIMIT);
        let running = Schedd::local().running_on(&tools, &silent, Deadline::within(LIMIT));
        let running = running.unwrap();
        assert_eq!(
            running.keys().collect::<Vec<_>>(),
            found.iter().collect::<Vec<_>>(),
            "{hosts:?}"
        );
        assert_eq!(
            running.values().map(Vec::len).sum::<usize>(),
            jobs,
            "{hosts:?}"
        );
    }
}

#[test]
fn totals_are_read_or_refused() {
    let totals = Totals::read("Summary\t49\t45\t2\t2\t1\t1795350962").unwrap();
    assert_eq!(
        totals.jobs,
        JobCounts {
            idle: 45,
            running: 3,
            held: 2
        }
    );
    assert!(totals.now() >= 1_795_350_962);
    for garbage in [
        "undefined\tundefined\talice\t0\tundefined\tundefined\talice\t0\tundefined\tundefined\talice\t0\tundefined",
        "Summary\t49",
        "Summary\t49\t-1\t2\t2\t1\t1795350962",
        "",
    ] {
        assert!(Totals::read(garbage).is_err(), "{garbage}");
    }
    // Beside the line that is right another costs nothing.
    let fake = FakeTools::new();
    fake.answer("condor_q", "-group-by", "exit=0\n");
    fake.answer(
        "condor_q",
        "-totals",
        &format!("out|{{\n{}", super::tests::totals(0)),
    );
    assert!(observe(&fake).is_ok());
    fake.answer("condor_q", "-totals", "out|{\nexit=0\n");
    assert!(observe(&fake).is_err());
}

#[test]
fn what_a_constraint_refers_to_is_part_of_the_group() {
    let filter = JobFilter::new(
        &[5, 11],
        Some("project == \"x\" && jobuniverse == 5"),
        false,
    );
    let group_by = filter.group_by(&Columns::default()).join(",");
    assert!(group_by.ends_with("NumShadowStarts,project"), "{group_by}");
    let columns = ["Owner", "qdate", "wanted", "requestcpus"].map(str::to_owned);
    let columns = Columns::default().with(&columns.into_iter().collect());
    let other = JobFilter::new(&[], Some("project == 1"), true);
    let group_by = other.group_by(&columns).join(",");
    assert!(
        group_by.ends_with("NumShadowStarts,Requirements,project,wanted"),
        "{group_by}"
    );
    assert_eq!(
        filter.idle(),
        format!(
            "unparse(JobStatus) == \"1\" && (unparse(JobUniverse) == \"5\" || unparse(JobUniverse) == \"11\") \
             && unparse(Managed) =!= \"\\\"External\\\"\" \
             && (({}) =!= true || (project == \"x\" && jobuniverse == 5))",
            plain::literals(["jobuniverse", "project"].into_iter())
        )
    );
    assert!(
        JobFilter::new(&[], None, true)
            .counted
            .starts_with("(unparse(JobUniverse) == \"5\" || unparse(JobUniverse) == \"11\")")
    );
}
