//! Runs one tool of HTCondor as a child process that cannot outlive its deadline.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;

use super::error::Error;
use ads::lines::{LINE_MAX, Line, Lines};
use system::child::{self, Bounds, described};
use system::deadline::Deadline;

/// What an error tells of it.
const STDERR_TOLD: usize = 600;

/// HTCondor's command line tools: where they are, and how long each call may take.
#[derive(Debug, Clone)]
pub struct Tools {
    bin: Option<PathBuf>,
    limit: Duration,
    /// The collector; `None`: that of this machine's configuration.
    pool: Option<String>,
    variables: Vec<(&'static str, OsString)>,
    bounds: Bounds,
}

/// One call of a tool.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Its name, as `condor_q`.
    pub tool: &'a str,
    /// Its arguments: shown to everybody on the machine, so never a secret.
    pub args: Vec<&'a str>,
    /// What it reads on standard input, a few hundred bytes; nothing when empty.
    pub stdin: &'a str,
    /// Whom or what it is asked about, for errors.
    pub about: &'a str,
}

impl<'a> Call<'a> {
    pub fn new(tool: &'a str, args: &[&'a str], about: &'a str) -> Call<'a> {
        Call {
            tool,
            args: args.to_vec(),
            stdin: "",
            about,
        }
    }
}

impl Tools {
    /// The tools in the folder `bin`, or those of `$PATH`; each call ends within `limit`.
    pub fn new(bin: Option<PathBuf>, limit: Duration) -> Tools {
        Tools {
            bin,
            limit,
            pool: None,
            variables: Vec::new(),
            bounds: Bounds::default(),
        }
    }

    /// The same tools for the pool of this collector.
    pub fn of_pool(&self, pool: Option<&str>) -> Tools {
        let mut tools = self.clone();
        tools.pool = pool.map(str::to_owned);
        tools
    }

    pub(super) fn pool(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// A call that concerns the pool: `-pool` goes before the other arguments.
    pub(super) fn to_pool<'a>(
        &'a self,
        tool: &'a str,
        args: &[&'a str],
        about: &'a str,
    ) -> Call<'a> {
        let pool = self.pool().map(|pool| ["-pool", pool]);
        let args = pool.iter().flatten().chain(args).copied().collect();
        Call {
            args,
            ..Call::new(tool, &[], about)
        }
    }

    /// How long one call may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The same tools with bounds of their own for each call.
    pub(super) fn bounded(&self, bounds: Bounds) -> Tools {
        let mut tools = self.clone();
        tools.bounds = bounds;
        tools
    }

    /// The same tools with one more variable in their environment, which others than this user can not see: HTCondor
    /// takes `_CONDOR_NAME` for its setting NAME.
    pub(super) fn with(&self, name: &'static str, value: impl Into<OsString>) -> Tools {
        let mut tools = self.clone();
        tools.variables.push((name, value.into()));
        tools
    }

    /// Runs one tool; `line` gets each line of its standard output and puts it into `answer`. The answer is given
    /// out only when the tool has ended by then and said that all went well.
    pub(super) fn run<A>(
        &self,
        call: &Call,
        deadline: Deadline,
        answer: A,
        line: impl FnMut(&mut A, &str) -> Result<(), String>,
    ) -> Result<A, Error> {
        self.run_despite(call, None, deadline, answer, line)
    }

    /// The same, though standard error says `harmless`: the caller checks the answer by other means.
    pub(super) fn run_despite<A>(
        &self,
        call: &Call,
        harmless: Option<&str>,
        deadline: Deadline,
        mut answer: A,
        mut line: impl FnMut(&mut A, &str) -> Result<(), String>,
    ) -> Result<A, Error> {
        let read = &mut |text: &str| line(&mut answer, text);
        self.read(call, harmless, deadline, read)?;
        Ok(answer)
    }

    /// The same, with one copy of its code for all answers.
    fn read(
        &self,
        call: &Call,
        harmless: Option<&str>,
        deadline: Deadline,
        line: Line<'_>,
    ) -> Result<(), Error> {
        if deadline.passed() {
            return Err(Error::NoTime {
                tool: call.tool.to_owned(),
                about: call.about.to_owned(),
            });
        }
        let limit = self.limit.min(deadline.left());
        let deadline = deadline.at_most(limit);
        let mut lines = Lines::default();
        let mut wrong = None;
        let ended = child::run_within(
            Command::new(self.program(call))
                .args(call.args.iter().map(OsStr::new))
                // Its messages are judged by their English text.
                .env("LC_ALL", "C")
                .envs(Tools::patience(call, limit))
                .envs(self.variables.iter().map(|(name, value)| (name, value))),
            call.stdin.as_bytes().to_vec(),
            self.bounds,
            deadline,
            |text| {
                // A tool that fails may print its usage: why it failed tells more than that this is no answer.
                if wrong.is_none() {
                    wrong = lines.push(text, line).err();
                }
            },
        )
        .map_err(|error| match error {
            child::Error::NotStarted(source) => self.not_started(call, source),
            child::Error::TimedOut => Error::TimedOut {
                tool: call.tool.to_owned(),
                about: call.about.to_owned(),
                limit,
            },
            child::Error::Lost { .. } => unparsable(call, error.to_string()),
        })?;
        let status = ended.status;
        if self.bounds.cpu.is_some() && is_killed(status) {
            return Err(Error::OutOfBounds {
                tool: call.tool.to_owned(),
                about: call.about.to_owned(),
                status: described(status),
            });
        }
        let stderr = told(&ended.stderr);
        if !status.success() || says_error(&stderr, harmless) {
            return Err(Error::Failed {
                tool: call.tool.to_owned(),
                about: call.about.to_owned(),
                status: described(status),
                stderr: if stderr.is_empty() {
                    "no text on standard error".to_owned()
                } else {
                    stderr
                },
            });
        }
        if !stderr.is_empty() {
            log::debug!("{} for {}: {stderr}", call.tool, call.about);
        }
        match wrong {
            None => lines.end(line),
            Some(what) => Err(what),
        }
        .map_err(|what| unparsable(call, what))
    }

    /// Runs one tool and returns its short answer as it is.
    pub(super) fn text(&self, call: &Call, deadline: Deadline) -> Result<String, Error> {
        self.run(call, deadline, String::new(), |text, line| {
            if text.len() + line.len() > LINE_MAX {
                return Err("it is too long".to_owned());
            }
            text.push_str(line);
            text.push('\n');
            Ok(())
        })
    }

    /// condor_q gives up when a schedd is silent for 20 s, as one with a million jobs is: there the limit of the call is the one
    /// that counts. All other tools keep the site's timeouts.
    fn patience(call: &Call, limit: Duration) -> Option<(&'static str, String)> {
        let multiplier = multiplier(limit);
        (call.tool == "condor_q" && multiplier > 1)
            .then(|| ("_CONDOR_TIMEOUT_MULTIPLIER", multiplier.to_string()))
    }

    fn program(&self, call: &Call) -> PathBuf {
        match &self.bin {
            Some(bin) => bin.join(call.tool),
            None => PathBuf::from(call.tool),
        }
    }

    fn not_started(&self, call: &Call, source: io::Error) -> Error {
        let tool = call.tool.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            let place = match &self.bin {
                Some(bin) => bin.display().to_string(),
                None => "$PATH".to_owned(),
            };
            Error::NotFound { tool, place }
        } else {
            Error::NotStarted { tool, source }
        }
    }
}

/// The first lines of standard error as one, without what says nothing: HTCondor's word that this host's own name
/// does not resolve, and long general advice.
fn told(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut seen = BTreeSet::new();
    let mut told = String::new();
    for line in text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Extra Info:") && !line.starts_with("Usage:"))
        .map(without_time)
        .filter(|line| !line.is_empty() && !line.contains("init_local_hostname"))
        .filter(|line| seen.insert(*line))
        .take(8)
    {
        if !told.is_empty() {
            told.push_str(" | ");
        }
        told.extend(line.chars().filter(|c| !c.is_control()));
    }
    if let Some((end, _)) = told.char_indices().nth(STDERR_TOLD) {
        told.truncate(end);
        told.push('…');
    }
    told
}

/// A line of `-debug` without the date and time in front of it (`11/22/26 13:02:30 `).
fn without_time(line: &str) -> &str {
    let is_stamp = |word: &str| {
        word.len() == 8
            && word
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '/' | ':'))
    };
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(date), Some(time), Some(rest)) if is_stamp(date) && is_stamp(time) => rest,
        _ => line,
    }
}

/// What HTCondor's timeout for the silence of a daemon is multiplied with, so that it is no shorter than `limit`. The 20 s were
/// measured with 23.9.6; Q_QUERY_TIMEOUT does not change them.
/// Source: HTCondor manual, TIMEOUT_MULTIPLIER.
fn multiplier(limit: Duration) -> u64 {
    const SILENCE_SECONDS: u64 = 20;
    let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    seconds.div_ceil(SILENCE_SECONDS).max(1)
}

/// Whether a signal ended a tool, or the tool that a wrapper in its place has run: 128 and the signal is what a shell says then.
fn is_killed(status: ExitStatus) -> bool {
    let killed = [Signal::ABORT, Signal::KILL, Signal::SEGV, Signal::XCPU].map(Signal::as_raw);
    let by_shell = |code: i32| killed.iter().any(|signal| code == 128 + signal);
    status.signal().is_some() || status.code().is_some_and(by_shell)
}

/// Some tools end with 0 although they failed, and say so in words only.
fn says_error(stderr: &str, harmless: Option<&str>) -> bool {
    stderr.split(" | ").any(|line| {
        let error = line.starts_with("Error")
            || line.starts_with("ERROR")
            || line.starts_with("-- Failed")
            || line.starts_with("-- Parse error");
        error && harmless.is_none_or(|harmless| !line.contains(harmless))
    })
}

fn unparsable(call: &Call, what: String) -> Error {
    Error::Unparsable {
        tool: call.tool.to_owned(),
        about: call.about.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;
    use std::time::Instant;

    use rustix::process::Pid;

    use super::super::fake::FakeTools;
    use super::*;
    use ads::lines::{CUT, is_cut};

    const LONG: Duration = Duration::from_secs(60);

    fn call<'a>(stdin: &'a str) -> Call<'a> {
        Call {
            tool: "condor_q",
            args: Vec::new(),
            stdin,
            about: "schedd local",
        }
    }

    fn run(script: &str, limit: Duration) -> Result<String, Error> {
        let fake = FakeTools::new();
        fake.script("condor_q", "any", script);
        fake.tools(limit).text(&call(""), Deadline::within(LONG))
    }

    /// Whether the process is there and no zombie.
    fn lives(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
    }

    #[test]
    fn condor_q_waits_for_a_silent_schedd_as_long_as_the_call_may_take() {
        let script = r#"printf '%s' "$_CONDOR_TIMEOUT_MULTIPLIER""#;
        for (limit, multiplier) in [(1, ""), (20, ""), (21, "2\n"), (59, "3\n")] {
            let limit = Duration::from_secs(limit);
            assert_eq!(run(script, limit).unwrap(), multiplier, "{limit:?}");
        }
        let fake = FakeTools::new();
        fake.script("condor_drain", "any", script);
        let drain = Call::new("condor_drain", &[], "node n1");
        let tools = fake.tools(LONG);
        assert_eq!(tools.text(&drain, Deadline::within(LONG)).unwrap(), "");
    }

    #[test]
    fn an_answer_is_given_line_by_line() {
        let fake = FakeTools::new();
        fake.script("condor_q", "any", "printf 'one\\n\\ntwo'");
        let lines = fake
            .tools(LONG)
            .run(
                &call(""),
                Deadline::within(LONG),
                Vec::new(),
                |lines, line| {
                    lines.push(line.to_owned());
                    Ok(())
                },
            )
            .unwrap();
        assert_eq!(lines, ["one", "", "two"]);
    }

    #[test]
    fn a_long_answer_is_streamed() {
        let fake = FakeTools::new();
        fake.script("condor_q", "any", "seq 1 200000");
        let sum = fake
            .tools(LONG)
            .run(&call(""), Deadline::within(LONG), 0u64, |sum, line| {
                *sum += line.parse::<u64>().unwrap();
                Ok(())
            })
            .unwrap();
        assert_eq!(sum, 200_000 * 200_001 / 2);
    }

    #[test]
    fn an_answer_counts_only_when_the_tool_says_it_went_well() {
        let error = run("echo 5; echo 'Extra' >&2; exit 3", LONG).unwrap_err();
        assert_eq!(
            error.to_string(),
            "condor_q failed for schedd local (exit code 3): Extra"
        );
        let error = run("echo 5; kill -9 $$", LONG).unwrap_err();
        assert!(error.to_string().contains("killed by signal 9"), "{error}");
        // condor_off and the like: 0, and only words tell.
        let error = run("echo 5; echo 'Error: cannot' >&2", LONG).unwrap_err();
        assert!(matches!(error, Error::Failed { .. }), "{error}");
        assert_eq!(run("echo 5; echo 'a note' >&2", LONG).unwrap(), "5\n");
    }

    #[test]
    fn a_tool_that_is_not_there_is_named_with_what_to_do() {
        let tools = Tools::new(Some(PathBuf::from("/nonexistent/bin")), LONG);
        let error = tools.text(&call(""), Deadline::within(LONG)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/nonexistent/bin") && text.contains("condor.bin"),
            "{text}"
        );
        let error = tools
            .text(&call(""), Deadline::within(Duration::ZERO))
            .unwrap_err();
        assert!(matches!(error, Error::NoTime { .. }), "{error}");
    }

    #[test]
    fn a_tool_that_hangs_is_killed_with_its_children() {
        let fake = FakeTools::new();
        // A wrapper whose grandchild keeps the pipe open.
        fake.script(
            "condor_q",
            "any",
            "echo $$ >\"$(dirname \"$0\")/pids\"; sleep 600 & echo $! >>\"$(dirname \"$0\")/pids\"; echo half; wait",
        );
        let start = Instant::now();
        let limit = Duration::from_millis(500);
        let error = fake
            .tools(limit)
            .text(&call(""), Deadline::within(LONG))
            .unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(start.elapsed() < LONG);
        let pids = fs::read_to_string(fake.path().join("pids")).unwrap();
        assert_eq!(pids.lines().count(), 2);
        for pid in pids.lines() {
            // Killed at once; its new parent reaps the grandchild when it gets to it.
            while lives(pid) {
                assert!(start.elapsed() < LONG, "{pid} lives on");
                thread::yield_now();
            }
        }
    }

    #[test]
    fn a_tool_that_never_stops_talking_is_stopped() {
        let start = Instant::now();
        let error = run("yes >&2 & yes | cut -c 2-", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_pipe_that_stays_open_does_not_hold_the_tick() {
        // In a session of its own the grandchild survives the kill, with the pipe open.
        let fake = FakeTools::new();
        fake.script(
            "condor_q",
            "any",
            "setsid sleep 600 & echo $! >\"$(dirname \"$0\")/pid\"; echo half",
        );
        let start = Instant::now();
        let error = fake
            .tools(Duration::from_millis(500))
            .text(&call(""), Deadline::within(LONG))
            .unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(start.elapsed() < LONG);
        let pid = fs::read_to_string(fake.path().join("pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn input_is_read_and_may_be_ignored() {
        let fake = FakeTools::new();
        fake.script("condor_q", "any", "cat");
        let tools = fake.tools(LONG);
        let said = tools
            .text(&call("an ad\n"), Deadline::within(LONG))
            .unwrap();
        assert_eq!(said, "an ad\n");
        assert_eq!(run("exec <&-; echo fine", LONG).unwrap(), "fine\n");
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_refused() {
        let fake = FakeTools::new();
        fake.script("condor_q", "any", "echo x; seq 1 100000");
        let error = fake
            .tools(LONG)
            .run(&call(""), Deadline::within(LONG), (), |(), line| {
                Err(format!("no number: {line}"))
            })
            .unwrap_err();
        assert!(error.to_string().contains("no number: x"), "{error}");
        fake.script("condor_q", "any", "echo x; echo no rights >&2; exit 1");
        let error = fake
            .tools(LONG)
            .run(&call(""), Deadline::within(LONG), (), |(), line| {
                Err(format!("no number: {line}"))
            })
            .unwrap_err();
        assert!(error.to_string().contains("no rights"), "{error}");
        let error = run("head -c 3000000 /dev/zero", LONG).unwrap_err();
        assert!(matches!(error, Error::Unparsable { .. }), "{error}");
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself_alone() {
        let fake = FakeTools::new();
        let script = "echo one; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo three; head -c 1048577 /dev/zero | tr '\\0' y";
        fake.script("condor_q", "any", script);
        let lines = fake
            .tools(LONG)
            .run(
                &call(""),
                Deadline::within(LONG),
                Vec::new(),
                |lines, line| {
                    lines.push((
                        line.chars().take(5).collect::<String>(),
                        line.len(),
                        is_cut(line),
                    ));
                    Ok(())
                },
            )
            .unwrap();
        let cut = LINE_MAX + CUT.len();
        let whole = |text: &str| (text.to_owned(), text.len(), false);
        assert_eq!(
            lines,
            [
                whole("one"),
                ("xxxxx".to_owned(), cut, true),
                whole("three"),
                ("yyyyy".to_owned(), cut, true)
            ]
        );
    }

    #[test]
    fn an_error_that_the_caller_checks_by_other_means_is_none() {
        let fake = FakeTools::new();
        fake.script(
            "condor_q",
            "any",
            "echo 5; echo 'Error: Two results with the same ID.' >&2",
        );
        let run = |harmless| {
            let tools = fake.tools(LONG);
            tools.run_despite(
                &call(""),
                harmless,
                Deadline::within(LONG),
                0,
                |sum, line| {
                    *sum += line.len();
                    Ok(())
                },
            )
        };
        assert_eq!(run(Some("Two results")).unwrap(), 1);
        assert!(run(Some("Three results")).is_err() && run(None).is_err());
        fake.script("condor_q", "any", "echo 'Error: Two results' >&2; exit 1");
        assert!(run(Some("Two results")).is_err());
    }

    #[test]
    fn standard_error_is_told_short_and_clean() {
        let text = "11/22/26 12:40:55 init_local_hostname_impl: could not look up 'vm'\n\n\
                    11/22/26 12:40:55 ERROR: DENIED\n11/22/26 12:40:56 ERROR: DENIED\nsecond\x1b[0m\n\
                    Extra Info: you probably\nmore\n";
        assert_eq!(told(text.as_bytes()), "ERROR: DENIED | second[0m");
        assert!(told("é".repeat(9000).as_bytes()).len() < 2000);
        assert_eq!(told(b""), "");
    }
}
