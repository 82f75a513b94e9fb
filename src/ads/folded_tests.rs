use std::fmt::Write;

use proptest::prelude::*;

use scaling::idle_time::Clocks;
use scaling::observation::Demand;
use std::time::Duration;

use super::*;

/// What a line ends with after the times of a job in a pool where only room counts.
const PLAIN: &str = "\t7.0\t5\t1\t\t\t1\t5\t45\t\tundefined\tundefined\talice\t0";

/// … where Requirements count, before these.
const BEFORE: &str = "\t1.0\t5\t1\t\t\t1\t5\t45\t\tundefined\tundefined\talice\t0\t";

/// The schedd's clock alone.
fn clocks(now: i64) -> Clocks<'static> {
    Clocks {
        schedd: now,
        at: jiff::Timestamp::UNIX_EPOCH,
        marks: None,
        young: Duration::ZERO,
    }
}

fn fold(lines: &[&str]) -> Folded {
    let mut folded = Folded::default();
    for line in lines {
        folded.add(&format!("{line}{PLAIN}"));
    }
    folded
}

fn is_bound(demand: &Demand, bound: OwnerBound) -> bool {
    let owner = Some("alice".to_owned());
    demand.owner == owner && demand.fault == Some(JobFault::OwnerBound { owner, bound })
}

fn with_columns(names: &[&str]) -> Folded {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Folded::new(Columns::default().with(&names), true, true)
}

#[test]
fn jobs_of_equal_requests_are_one_demand_with_the_longest_wait() {
    let folded = fold(&[
        "40\t8\t16384\t1048576\t0\t1000\t1000",
        "3\t8\t16384\t1048576\t0\t900\t1010",
        "1\t8\t16384\t1048576\t0\t995\t995",
        "2\t1\t128\t45\t1\tundefined\tundefined",
    ]);
    let demand = folded.demand(clocks(1100), 0);
    assert_eq!(demand.len(), 2);
    assert_eq!(demand[0].request.gpus, 1);
    assert_eq!(demand[0].waiting, Duration::ZERO);
    assert_eq!(demand[1].jobs, 44);
    assert_eq!(demand[1].waiting, Duration::from_secs(105));
    assert_eq!(demand[1].example.as_deref(), Some("7.0"));
    assert_eq!(demand[1].owner.as_deref(), Some("alice"));
    assert_eq!(folded.newest_cluster(), Some(7));
    assert!(demand[1].needs.is_empty() && demand[1].fault.is_none());
    assert_eq!((folded.counted, folded.torn), (46, 0));
}

/// Amounts of jobs are added up, whatever a user has written there.
#[test]
fn a_job_asks_for_a_bounded_number_of_nodes() {
    let hosts = 1_u64 << 50;
    let lines: Vec<String> = (0..3)
        .map(|queued| format!("{hosts}\t{queued}\t128\t45\t0\t1\t1\t7.0\t11\t{hosts}\t\t\t1\t128\t45\t\tundefined\tundefined\talice\t0"))
        .collect();
    let mut folded = Folded::new(Columns::default(), false, true);
    lines.iter().for_each(|line| folded.add(line));
    let demand = folded.demand(clocks(1100), 0);
    assert_eq!((demand.len(), folded.torn), (3, 0));
    let mut one = Folded::new(Columns::default(), false, true);
    one.add(&lines[0].replacen(&hosts.to_string(), "2", 1));
    assert_eq!(one.demand(clocks(1100), 0)[0].jobs, 2_000_000);
}

/// Each is named with the attribute and its value, whatever it is.
#[test]
fn a_request_that_is_no_amount_is_named() {
    let line = |amounts: &str, raw: &str| {
        format!("2\t{amounts}\t1\t1\t7.0\t5\t1\t\t\t{raw}\tundefined\tundefined\talice\t0")
    };
    let table = [
        (
            "1\terror\t45\t0",
            "1\t\"4 GB\"\t45\t",
            "RequestMemory",
            "\"4 GB\"",
        ),
        ("1\terror\t45\t0", "1\t\t45\t", "RequestMemory", "undefined"),
        (
            "1\terror\t45\t0",
            "1\t{ 1, 2 }\t45\t",
            "RequestMemory",
            "{ 1, 2 }",
        ),
        ("1\terror\t45\t0", "1\ttrue\t45\t", "RequestMemory", "true"),
        (
            "1\tundefined\t45\t0",
            "1\terror\t45\t",
            "RequestMemory",
            "error",
        ),
        ("error\t5\t45\t0", "\"x\"\t5\t45\t", "RequestCpus", "\"x\""),
        ("-1\t5\t45\t0", "-1\t5\t45\t", "RequestCpus", "-1"),
        (
            "1\t5\t-9223372036854775808\t0",
            "1\t5\t1e300\t",
            "RequestDisk",
            "1e300",
        ),
        (
            "1\t5\t45\terror",
            "1\t5\t45\t[ a = 1 ]",
            "RequestGPUs",
            "[ a = 1 ]",
        ),
        (
            "1\t5\t45\terror",
            "1\t5\t45\t#long",
            "RequestGPUs",
            "longer than 1024 bytes",
        ),
    ];
    let mut folded = Folded::default();
    for (amounts, raw, ..) in table {
        folded.add(&line(amounts, raw));
    }
    // Beside them one that is well.
    folded.add(&line("1\t5\t45\t0", "1\t5\t45\t"));
    let demand = folded.demand(clocks(1), 0);
    assert_eq!(demand.iter().map(|demand| demand.jobs).sum::<u64>(), 22);
    for (.., attribute, value) in table {
        let fault = JobFault::Request {
            attribute: attribute.to_owned(),
            value: value.to_owned(),
        };
        let found: Vec<&Demand> = demand
            .iter()
            .filter(|one| one.fault == Some(fault.clone()))
            .collect();
        assert!(
            matches!(found[..], [one] if one.needs.is_unread() && one.jobs == 2),
            "{fault:?} {demand:?}"
        );
    }
    let well: Vec<&Demand> = demand.iter().filter(|one| one.fault.is_none()).collect();
    assert!(matches!(well[..], [one] if one.jobs == 2), "{demand:?}");
}

/// Where Requirements are not asked for, nobody says what the machine makes of a request.
#[test]
fn a_request_by_the_machine_is_not_read_where_nothing_is_matched() {
    let mut folded = Folded::default();
    folded.add(
        "2\t1\terror\t45\t0\t1\t1\t7.0\t5\t1\t\t\t1\tTotalMemory * 95 / 100\t45\t\tundefined\tundefined\talice\t0",
    );
    let demand = folded.demand(clocks(1), 0);
    let unread = |one: &Demand| matches!(&one.fault, Some(JobFault::Unread { attribute: Some(name), .. }) if name == "RequestMemory");
    assert!(matches!(&demand[..], [one] if unread(one)), "{demand:?}");
}

#[test]
fn a_torn_line_costs_itself_alone() {
    let mut columns = with_columns(&[]);
    let whole = format!("3\t1\t5\t45\t0\t1\t1{BEFORE}");
    let torn = [
        "3\t1\t5".to_owned(),
        format!("x\t1\t5\t45\t0\t1\t1{BEFORE}true"),
        String::new(),
        "   {".to_owned(),
        format!("{whole}true\t1"),
        whole.trim_end().to_owned(),
        format!("{whole}\"xxx\t#cut"),
    ];
    for line in &torn {
        columns.add(&format!("{whole}true"));
        columns.add(line);
    }
    assert_eq!((columns.counted, columns.torn), (21, 7));
    let demand = columns.demand(clocks(1), 5);
    let jobs = |unread: bool| -> u64 {
        let all = demand.iter().filter(|one| one.fault.is_some() == unread);
        all.map(|one| one.jobs).sum()
    };
    assert_eq!((jobs(false), jobs(true)), (21, 5), "{demand:?}");
}

/// Equal Requirements are read once.
#[test]
fn each_line_is_read_as_it_is_alone() {
    let mut all = with_columns(&["foo"]);
    let mut alone = Vec::new();
    for (universe, owner) in [(5, "alice"), (11, "alice"), (5, "bob")] {
        for (amount, memory) in [(5, "5"), (6, "6"), (7, "Foo * 7"), (8, "TARGET.Bar")] {
            for requirements in ["TARGET.A > Foo", "TARGET.B", "ProcId > 1 && Foo > 1"] {
                for foo in ["1", "2", "", "ProcId"] {
                    let line = format!(
                        "1\t1\t{amount}\t45\t0\t1\t1\t1.0\t{universe}\t1\t\t\t1\t{memory}\t45\t\tundefined\tundefined\t\
                         {owner}\t0\t{requirements}\t{foo}"
                    );
                    let mut one = with_columns(&["foo"]);
                    one.add(&line);
                    alone.extend(one.demand(clocks(9), one.torn));
                    all.add(&line);
                }
            }
        }
    }
    let told = |demand: Vec<Demand>| {
        let told = demand
            .iter()
            .map(|one| format!("{:?}", (one.request, &one.needs, &one.owner, &one.fault)));
        told.collect::<std::collections::BTreeSet<String>>()
    };
    let together = told(all.demand(clocks(9), all.torn));
    assert!(together.len() > 30, "{together:?}");
    assert_eq!(together, told(alone));
}

#[test]
fn jobs_that_need_the_same_are_one_kind() {
    let mut folded = with_columns(&["a", "b"]);
    for ending in [
        // b is none of its business.
        "TARGET.x > A\t1\t5",
        "TARGET.x > A\t1\t",
        "TARGET.x > A\t2\t",
        "TARGET.x > 1\t1\t",
        // Each of these is unread, for the same reason.
        "My.c\t1\t",
        "d.e > 5\t1\t",
    ] {
        folded.add(&format!("2\t1\t5\t45\t0\t1\t1{BEFORE}{ending}"));
    }
    let demand = folded.demand(clocks(1), 0);
    let jobs: BTreeMap<&str, u64> = demand
        .iter()
        .map(|d| (d.needs.0.as_str(), d.jobs))
        .collect();
    assert_eq!(jobs.len(), 4, "{demand:?}");
    assert_eq!(jobs["unread-names"], 4);
    assert_eq!(jobs.values().sum::<u64>(), 12);
    assert!(jobs.values().any(|jobs| *jobs == 4));
    assert_eq!(demand[0].example.as_deref(), Some("1.0"));
    let ads = folded.into_ads();
    assert_eq!(ads.ads.len(), 3);
    assert!(ads.names.contains("c") && ads.names.contains("a") && !ads.names.contains("b"));
}

#[test]
fn memory_has_a_bound_and_no_job_is_lost() {
    let mut folded = with_columns(&[]);
    let long = "x".repeat(10_000);
    for number in 0..2000 {
        folded.add(&format!("1\t1\t5\t45\t0\t1\t1{BEFORE}\"{long}{number}\""));
    }
    let demand = folded.demand(clocks(1), 0);
    assert_eq!(demand.iter().map(|demand| demand.jobs).sum::<u64>(), 2000);
    assert!(folded.all.ads_bytes < ADS_MAX + AD_MAX);
    assert!(folded.endings_bytes < ENDINGS_MAX + AD_MAX);
    let beyond = demand
        .iter()
        .find(|demand| is_bound(demand, OwnerBound::Requirements));
    assert!(beyond.is_some_and(|demand| demand.jobs > 1000));
}

/// Each job names a group of its own, and limits as long as may be.
#[test]
fn what_jobs_name_has_a_bound_and_no_job_is_lost() {
    let mut folded = Folded::default();
    let long = "x".repeat(4000);
    for number in 0..3000 {
        folded.add(&format!(
            "1\t1\t5\t45\t0\t1\t1\t1.0\t5\t1\tgroup{number}\t{long}{number}\t1\t5\t45\t\tundefined\tundefined\talice\t0"
        ));
    }
    assert!(
        folded.all.shapes_bytes < SHAPES_MAX + 10_000,
        "{}",
        folded.all.shapes_bytes
    );
    let demand = folded.demand(clocks(1), 0);
    assert_eq!(demand.iter().map(|demand| demand.jobs).sum::<u64>(), 3000);
}

/// A column that differs from job to job and is nobody's business fills what is kept of the answer, and takes no room
/// from what jobs need.
#[test]
fn what_no_job_refers_to_takes_no_room() {
    let mut folded = with_columns(&["a", "b"]);
    let long = "x".repeat(10_000);
    for number in 0..1000 {
        folded.add(&format!(
            "1\t1\t5\t45\t0\t1\t1{BEFORE}A > 1\t1\t\"{long}{number}\""
        ));
    }
    // This one comes last.
    folded.add(&format!("1\t1\t5\t45\t0\t1\t1{BEFORE}C > 1\t1\t"));
    assert!(
        folded.names().contains("c"),
        "what it refers to is asked for"
    );
    let demand = folded.demand(clocks(1), 0);
    let of = |unread: Unread| demand.iter().find(|demand| demand.needs == unread.needs());
    assert!(
        !demand
            .iter()
            .any(|demand| is_bound(demand, OwnerBound::Requirements))
    );
    assert_eq!(of(Unread::Names).unwrap().jobs, 1);
    assert_eq!((demand.len(), folded.ads.len()), (2, 1));
    assert!(folded.endings.len() < 1000);
}

#[test]
fn attributes_that_jobs_refer_to_have_a_bound() {
    let mut folded = with_columns(&[]);
    for number in 0..5000 {
        folded.add(&format!("1\t1\t5\t45\t0\t1\t1{BEFORE}a{number} > 1"));
    }
    assert!(folded.names().len() <= 1000, "{}", folded.names().len());
}

#[test]
fn a_job_of_several_nodes_counts_as_so_many() {
    let mut folded = Folded::default();
    let line = "2\t1\t5\t45\t0\t1\t1\t3.0\t";
    let end = "\t1\t5\t45\t\tundefined\tundefined\talice\t0";
    folded.add(&format!("{line}11\t4\tGroup_A\tsw:2,LIC.a{end}"));
    folded.add(&format!("{line}5\t4\t\t{end}"));
    let demand = folded.demand(clocks(1), 0);
    assert_eq!(demand.iter().map(|d| d.jobs).collect::<Vec<_>>(), [8, 2]);
    assert_eq!(demand[0].accounting_group.as_deref(), Some("group_a"));
    let limits = BTreeMap::from([("sw".to_owned(), 2.0), ("lic.a".to_owned(), 1.0)]);
    assert_eq!(demand[0].concurrency_limits, limits);
}

/// Nodes of this site are no dedicated scheduler's; elsewhere they must be those of the job's own.
#[test]
fn the_parallel_universe_is_told_or_asks_for_its_scheduler() {
    let line = "2\t1\t5\t45\t0\t1\t1\t3.0\t11\t4\t\t\t1\t5\t45\t\tundefined\tundefined\talice\t0\ttrue\t\"D@cm\"";
    let mut told = with_columns(&["scheduler"]).without_parallel();
    told.add(line);
    let demand = told.demand(clocks(1), 0);
    assert_eq!(
        (demand[0].jobs, demand[0].fault.clone()),
        (8, Some(JobFault::ParallelUniverse))
    );
    let mut served = with_columns(&["scheduler"]);
    served.add(line);
    assert_eq!(served.demand(clocks(1), 0)[0].fault, None);
    let ads = served.into_ads().ads;
    let ad = ads.values().next().unwrap();
    assert_eq!(
        ad.requirements,
        "(true) && (TARGET.DedicatedScheduler =?= MY.Scheduler)"
    );
    assert_eq!(ad.value("scheduler"), Some("\"D@cm\""));
}

#[test]
fn limits_and_groups_of_any_type_cost_their_own_jobs_alone() {
    let mut folded = Folded::default();
    for (group, limits) in [
        ("#type", ""),
        ("#long", ""),
        ("", "#type"),
        ("", "#long"),
        ("g", "a"),
    ] {
        folded.add(&format!(
            "1\t1\t5\t45\t0\t1\t1\t3.0\t5\t1\t{group}\t{limits}\t1\t5\t45\t\tundefined\tundefined\talice\t0"
        ));
    }
    let demand = folded.demand(clocks(1), 0);
    let mut faults = demand.iter().filter_map(|one| one.fault.as_ref());
    let unread = |fault: &JobFault| matches!(fault, JobFault::Unread { attribute: Some(name), .. } if name == "ConcurrencyLimits");
    assert!(faults.all(unread), "{demand:?}");
    let served = demand.iter().filter(|one| one.fault.is_none());
    assert_eq!(served.map(|one| one.jobs).sum::<u64>(), 3, "{demand:?}");
    assert_eq!(demand.iter().map(|one| one.jobs).sum::<u64>(), 5);
}

#[test]
fn deferred_jobs_wait_until_they_match() {
    let mut folded = Folded::default();
    let line = |begins: &str, ends: &str| {
        format!("1\t1\t5\t45\t0\t100\t100\t3.0\t5\t1\t\t\t1\t5\t45\t\t{begins}\t{ends}\talice\t0")
    };
    for (begins, ends) in [
        ("900", "2000"),
        ("4000", "5000"),
        ("4010", "5010"),
        ("9000", "9500"),
        ("500", "1000"),
        ("undefined", "undefined"),
        ("error", "5"),
    ] {
        folded.add(&line(begins, ends));
    }
    let demand = folded.demand(clocks(1000), 0);
    let seen: Vec<_> = demand
        .iter()
        .map(|one| {
            (
                one.jobs,
                one.waiting.as_secs(),
                one.deferred.map(|time| time.as_secs()),
            )
        })
        .collect();
    for expected in [
        (1, 100, None),
        (2, 0, Some(3000)),
        (1, 0, Some(8000)),
        (2, 900, None),
    ] {
        assert!(seen.contains(&expected), "{expected:?} {seen:?}");
    }
    let missed: Vec<&Demand> = demand
        .iter()
        .filter(|one| one.fault == Some(JobFault::Missed))
        .collect();
    assert!(matches!(missed[..], [one] if one.jobs == 1), "{demand:?}");
    assert_eq!(seen.len(), 5, "{seen:?}");
}

/// Of a group the numbers of its jobs are not known; told one by one they are, and so many are asked about.
#[test]
fn jobs_whose_requirements_name_their_number_are_told_one_by_one() {
    let line = |count: u64, name: &str| {
        format!(
            "{count}\t1\t5\t45\t0\t1\t1\t{name}\t5\t1\t\t\t1\t5\t45\t\tundefined\tundefined\talice\t0\tProcId < 2 || TARGET.x"
        )
    };
    let mut grouped = with_columns(&[]);
    grouped.add(&line(9, "3.0 ... 3.8"));
    assert!(grouped.needs_numbers());
    let mut each = Folded::new(Columns::default(), true, false);
    for number in 0..700 {
        each.add(&line(1, &format!("3.{number}")));
    }
    assert!(!each.needs_numbers());
    let demand = each.demand(clocks(1), 0);
    assert_eq!(demand.iter().map(|one| one.jobs).sum::<u64>(), 700);
    assert_eq!(each.ads.len(), NUMBERED_MAX);
    let number = Unread::Number.needs();
    let rest: Vec<&Demand> = demand.iter().filter(|one| one.needs == number).collect();
    assert!(matches!(rest[..], [one] if one.jobs == 200), "{rest:?}");
}

#[test]
fn columns_are_one_line_and_bounded_in_the_query() {
    let columns =
        Columns::default().with(&BTreeSet::from(["foo".to_owned(), "jobcount".to_owned()]));
    let all = Folded::expressions(&columns, true, true);
    assert_eq!(all.first().map(String::as_str), Some("JobCount"));
    assert_eq!(
        all.iter()
            .filter(|one| one.contains("unparse(foo)"))
            .count(),
        1
    );
    assert!(
        !all.iter().any(|one| one.contains("unparse(jobcount)")),
        "{all:?}"
    );
    for expression in &all {
        let bounded = expression.starts_with("ifThenElse(size(")
            || expression.starts_with("ifThenElse(isString(")
            || expression.starts_with("int(")
            || expression.contains("ceiling(");
        assert!(
            bounded || expression == "JobCount" || expression == "JobIds",
            "{expression}"
        );
    }
    let each = Folded::expressions(&columns, true, false);
    assert_eq!(
        each.first().map(String::as_str),
        Some("1"),
        "no attribute of a user's own"
    );
}

/// A line of a job as hostile as may be.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-0-9a-z\t\"\\\\{}\\[\\];#]{0,80}",
        "[0-9]\t[0-9]\t(error|-1|[0-9])\t[0-9]\t0\t[0-9]\t[0-9]\t[0-9.]{0,4}\t.{0,60}",
        any::<String>(),
        Just(format!("1\t1\t5\t45\t0\t1\t1{BEFORE}{{ \"x\"")),
        Just(format!("1\t1\t5\t45\t0\t1\t1{BEFORE}#long")),
        Just(format!("1\t1\t5\t45\t0\t1\t1{BEFORE}'a")),
    ]
}

proptest! {
    #[test]
    fn garbage_does_not_panic(lines in prop::collection::vec(hostile(), 0..8), requirements: bool) {
        let mut folded = Folded::new(Columns::default(), requirements, false);
        for line in &lines {
            folded.add(line);
        }
        let _ = folded.demand(clocks(i64::MIN), folded.torn);
    }

    #[test]
    fn no_job_is_lost_or_made_up(jobs in prop::collection::vec((1u64..9, 0u64..3, 0u64..3), 0..20)) {
        let mut folded = Folded::default();
        for (count, cpus, memory) in &jobs {
            folded.add(&format!("{count}\t{cpus}\t{memory}\t1\t0\t5\t5{PLAIN}"));
        }
        let total: u64 = folded.demand(clocks(9), 0).iter().map(|demand| demand.jobs).sum();
        prop_assert_eq!(total, jobs.iter().map(|(count, _, _)| count).sum::<u64>());
    }

    /// No line makes another line's jobs disappear, or changes what they ask for.
    #[test]
    fn a_line_costs_its_own_jobs_alone(lines in prop::collection::vec(hostile(), 1..8), at in 0usize..8) {
        let good = format!("7\t3\t777\t45\t0\t1\t1{BEFORE}TARGET.Good > 1");
        let mut alone = with_columns(&[]);
        alone.add(&good);
        let mut beside = with_columns(&[]);
        for (number, line) in lines.iter().enumerate() {
            if number == at.min(lines.len() - 1) {
                beside.add(&good);
            }
            beside.add(line);
        }
        let own = |folded: &Folded| {
            let all = folded.demand(clocks(9), 0);
            all.into_iter().find(|one| one.request.memory_mb == 777 && one.jobs >= 7)
        };
        let (alone, beside) = (own(&alone).unwrap(), own(&beside).unwrap());
        prop_assert_eq!((alone.request, alone.needs, alone.fault), (beside.request, beside.needs, beside.fault));
    }

    /// A value of any bytes on one line is one value of its own job.
    #[test]
    fn any_value_is_of_its_own_job(value in "[^\t\n\r]*") {
        let mut folded = with_columns(&["a"]);
        let mut text = String::new();
        let _ = write!(text, "2\t1\t5\t45\t0\t1\t1{BEFORE}A > 1\t{value}");
        folded.add(&text);
        prop_assert_eq!((folded.counted, folded.torn), (2, 0));
    }
}
