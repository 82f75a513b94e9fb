//! Fake tools of HTCondor: `tests/fixtures/condor/replay`, linked to by each tool's name, and its answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::JOIN_TOKEN;

const TOOLS: [&str; 9] = [
    "condor_q",
    "condor_status",
    "condor_drain",
    "condor_history",
    "condor_advertise",
    "condor_reschedule",
    "condor_token_create",
    "condor_config_val",
    "condor_ping",
];

/// When the recorded answers were given.
const RECORDED: i64 = 1_795_353_048;

fn fixtures() -> PathBuf {
    super::repository().join("tests/fixtures/condor")
}

/// A recorded answer.
pub fn recorded(name: &str) -> String {
    fs::read_to_string(fixtures().join(name)).unwrap()
}

/// `tool` with the argument `word` (`any`: whatever the arguments) answers `text` from now on.
pub fn answer(tools: &Path, tool: &str, word: &str, text: &str) {
    fs::write(tools.join(format!("{tool}.{word}")), text).unwrap();
}

/// Puts the tools into the folder: a pool with a collector that has been up for long, no node and no job.
pub fn install(tools: &Path) {
    fs::create_dir(tools).unwrap();
    for tool in TOOLS {
        symlink(fixtures().join("replay"), tools.join(tool)).unwrap();
    }
    let status = |word, text: &str| answer(tools, "condor_status", word, text);
    // The recorded collector had been up for half a minute; here it is an hour.
    status(
        "-collector",
        &replaced("status-collector.txt", "\t34\t", "\t3600\t"),
    );
    status(
        "-any",
        &replaced("status-daemons.txt", "1795353014", "1795349448"),
    );
    status("any", "exit=0\n");
    let queue = |word, text: &str| answer(tools, "condor_q", word, text);
    queue("-totals", &totals(0, 0));
    queue("-group-by", "exit=0\n");
    queue("any", "exit=0\n");
    queue("-better-analyze:summary", &recorded("analyze"));
    answer(tools, "condor_drain", "any", &recorded("drain.txt"));
    let sent = "out|Sent \"Reschedule\" command to daemon at <x>\nexit=0\n";
    answer(tools, "condor_reschedule", "any", sent);
    answer(
        tools,
        "condor_advertise",
        "INVALIDATE_STARTD_ADS",
        "out|Sent 2 of 2 ads to x.\nexit=0\n",
    );
    answer(
        tools,
        "condor_advertise",
        "INVALIDATE_MASTER_ADS",
        "out|Sent 1 of 1 ad to x.\nexit=0\n",
    );
    answer(
        tools,
        "condor_token_create",
        "any",
        &format!("out|{JOIN_TOKEN}\nexit=0\n"),
    );
}

fn replaced(name: &str, old: &str, new: &str) -> String {
    let text = recorded(name);
    assert!(text.contains(old), "{text}");
    text.replace(old, new)
}

/// The answer to `condor_q -totals`.
pub fn totals(idle: u64, running: u64) -> String {
    let all = idle + running;
    format!("out|Summary\t{all}\t{idle}\t{running}\t0\t0\t{RECORDED}\nout|\nexit=0\n")
}

/// The answer to `condor_q -group-by` with one group of jobs that came 14 seconds ago.
pub fn group(jobs: u64, cpus: u64, memory_mb: u64) -> String {
    let since = RECORDED - 14;
    format!(
        "out|{jobs}\t{cpus}\t{memory_mb}\t45\t0\t{since}\t{since}\t7.0\t5\t1\t\t\t{cpus}\t{memory_mb}\t45\t\t\
         undefined\tundefined\talice\t0\t\nexit=0\n"
    )
}

/// The recorded answer to `condor_q -group-by`, also when it is asked for what Requirements refer to; without what the
/// negotiator would hold jobs back for.
pub fn recorded_groups(tools: &Path) {
    for (word, name) in [("some", "q-group-by.txt"), ("all", "q-group-by-names.txt")] {
        let free = replaced(name, "group_phys.a\tlic.a,sw:2", "\t");
        answer(tools, "condor_q", word, &free);
    }
    let script =
        "#!/bin/sh\ncase \"$*\" in *'unparse(opsysandver)'*) word=all ;; *) word=some ;; esac\n";
    let tool = tools.join("condor_q");
    let script = format!("{script}exec '{}' $word\n", tool.display());
    answer(tools, "condor_q", "-group-by", &script);
}

/// The line of the idle partitionable slot of a node (1 core, 1536 MB) of which the collector has just heard.
pub fn slot(machine: &str, server_id: &str, node: &str, idle_seconds: i64) -> String {
    line(machine, server_id, node, idle_seconds, None)
}

/// The same with a drain that is over, with this reason.
pub fn drained_slot(machine: &str, server_id: &str, node: &str, reason: &str) -> String {
    line(machine, server_id, node, 900, Some(reason))
}

fn line(machine: &str, server_id: &str, node: &str, idle: i64, drain: Option<&str>) -> String {
    let since = RECORDED - idle;
    let (state, draining, reason, id) = match drain {
        Some(reason) => ("Drained", true, format!("\"{reason}\""), "\"1\""),
        None => ("Unclaimed", false, String::new(), ""),
    };
    format!(
        "out|\"{machine}\"\t\"slot1@{machine}\"\t\"Partitionable\"\t\"{server_id}\"\t\"{node}\"\t60\t\"{state}\"\t\
         \"Idle\"\tfalse\t{draining}\t{reason}\t{id}\t1\t1536\t70908088\t0\t1\t1536\t70908088\t0\t0\t{since}\t\
         undefined\t{since}\t{RECORDED}\t{RECORDED}\t\"<{machine}:9618>\"\n"
    )
}
