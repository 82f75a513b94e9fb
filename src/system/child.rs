//! A child process that cannot outlive its deadline: it runs in a process group of its own, which is killed and reaped
//! whole.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group,
    pidfd_open, prlimit, waitid,
};

use crate::deadline::Deadline;

/// The size of the first pieces of output. Output of that length is long: from then on, larger pieces are read.
const FIRST_PIECE: usize = 4 * 1024;
const PIECE: usize = 64 * 1024;
/// Output of more than one large piece is collected in its pipe for a while, and read at once: to be woken up for each few
/// lines takes more time than the lines. The first time, and the bounds of the others.
const COLLECTED: Duration = Duration::from_millis(25);
const COLLECTED_MIN: Duration = Duration::from_millis(5);
const COLLECTED_MAX: Duration = Duration::from_millis(400);
/// What the pipe of long output holds, so that no child waits for a reader.
const LONG_PIPE: usize = 1024 * 1024;
/// What is kept of standard error; the rest is read and dropped.
const STDERR_MAX: usize = 16 * 1024;
/// How long a killed process may take to go (it can hang in the kernel, on a dead network file system).
const DEATH: Duration = Duration::from_secs(2);

/// Environment variables that a child gets. All others stay here: the variables of OpenStack hold a password.
const VARIABLES: [&str; 26] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "XDG_RUNTIME_DIR",
    "SSH_AUTH_SOCK",
    "KRB5CCNAME",
    "CONDOR_CONFIG",
    "EHOS_CONFIG",
    "EHOS_STATE_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
];
/// Prefixes of further ones. `_CONDOR_NAME` is HTCondor's setting NAME. Source: HTCondor manual, "Introduction to Configuration".
const PREFIXES: [&str; 3] = ["LC_", "_CONDOR_", "TESTBED_"];

/// Bounds of one child besides its deadline. They hold for each process of its group.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// CPU time; the kernel kills a process that has used it up (`SIGXCPU`, `SIGKILL` a second later).
    pub cpu: Option<Duration>,
    /// Address space in bytes.
    pub memory: Option<u64>,
}

/// A child that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or the signal that killed it.
    pub status: ExitStatus,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

/// A child that was not heard to the end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not started.
    #[error("it could not be started: {0}")]
    NotStarted(#[source] io::Error),
    /// It was killed at the deadline.
    #[error("it did not end in time and was killed")]
    TimedOut,
    /// What it said, or how it ended, is lost.
    #[error("{what}: {source}")]
    Lost {
        what: &'static str,
        source: io::Error,
    },
}

/// Runs `command` until it has ended and all of its output was read. It reads `stdin` (nothing when that is empty);
/// `output` gets the pieces of its standard output. Whatever happens, its process group is gone afterwards.
pub fn run(
    command: &mut Command,
    stdin: Vec<u8>,
    deadline: Deadline,
    output: impl FnMut(&[u8]),
) -> Result<Ended, Error> {
    run_within(command, stdin, Bounds::default(), deadline, output)
}

/// The same, within these bounds.
pub fn run_within(
    command: &mut Command,
    stdin: Vec<u8>,
    bounds: Bounds,
    deadline: Deadline,
    mut output: impl FnMut(&[u8]),
) -> Result<Ended, Error> {
    let mut running = start(command, stdin, bounds).map_err(Error::NotStarted)?;
    let mut stderr = Vec::new();
    let mut piece = vec![0; FIRST_PIECE];
    let mut length: usize = 0;
    let mut collecting = Collecting::default();
    while !running.over() {
        match running.read(&mut piece, deadline) {
            Ok(Event::Output(text)) => {
                output(text);
                let read = text.len();
                length = length.saturating_add(read);
                if length >= FIRST_PIECE && piece.len() < PIECE {
                    piece = vec![0; PIECE];
                    collecting.room = running.widen();
                }
                collecting.read = collecting.read.saturating_add(read);
                if length > PIECE && (1..PIECE).contains(&read) {
                    running.wait_for_end(collecting.next(), deadline);
                }
            }
            Ok(Event::Errors(text)) => {
                let room = STDERR_MAX.saturating_sub(stderr.len());
                stderr.extend(text.iter().take(room));
            }
            Ok(Event::Nothing) => {}
            Ok(Event::TimedOut) => return Err(Error::TimedOut),
            Err(source) => {
                let what = "it could not be read";
                return Err(Error::Lost { what, source });
            }
        }
    }
    let status = running.end().map_err(|source| Error::Lost {
        what: "its exit status is lost",
        source,
    })?;
    Ok(Ended { status, stderr })
}

/// How long output is collected.
struct Collecting {
    time: Duration,
    /// What was read since the last time.
    read: usize,
    /// What the pipe holds.
    room: usize,
}

impl Default for Collecting {
    fn default() -> Collecting {
        Collecting {
            time: COLLECTED,
            read: 0,
            room: PIECE,
        }
    }
}

impl Collecting {
    /// The next time: the pipe is to be half full at most, or the child waits for its reader.
    fn next(&mut self) -> Duration {
        let read = std::mem::take(&mut self.read);
        if read > self.room / 2 {
            self.time /= 2;
        } else if read < self.room / 4 {
            self.time *= 2;
        }
        self.time = self.time.clamp(COLLECTED_MIN, COLLECTED_MAX);
        self.time
    }
}

/// Takes everything from the command's environment that no child needs; what the caller has set stays.
pub fn clean(command: &mut Command) -> &mut Command {
    let set: Vec<(OsString, Option<OsString>)> = command
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(OsStr::to_owned)))
        .collect();
    command.env_clear();
    command.envs(std::env::vars_os().filter(|(name, _)| is_passed(name)));
    for (name, value) in set {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn is_passed(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        VARIABLES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// Sets the limits of a child that has just been started. A child of its own inherits them.
fn limit(pid: Pid, bounds: Bounds) {
    let cpu = bounds.cpu.map(|time| time.as_secs().max(1));
    let limits = [
        // A core file would hold what the child was given.
        (Resource::Core, Some((0, 0))),
        (
            Resource::Cpu,
            cpu.map(|time| (time, time.saturating_add(1))),
        ),
        (Resource::As, bounds.memory.map(|bytes| (bytes, bytes))),
    ];
    for (resource, limit) in limits {
        let Some((current, maximum)) = limit else {
            continue;
        };
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(maximum),
        };
        if let Err(error) = prlimit(Some(pid), resource, limit) {
            // It may have ended already.
            log::debug!("process {pid} has no limit {resource:?}: {error}");
        }
    }
}

fn start(command: &mut Command, stdin: Vec<u8>, bounds: Bounds) -> io::Result<Running> {
    let mut child = clean(command)
        .stdin(if stdin.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let pid = Pid::from_child(&child);
    limit(pid, bounds);
    let input = child.stdin.take();
    let mut running = Running {
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        exit: None,
        child,
        reaped: false,
    };
    running.exit = Some(match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(exit) => exit,
        // Linux before 5.3.
        Err(_) => exit_by_thread(pid)?,
    });
    if let Some(mut pipe) = input {
        // Beside the reading: a pipe holds less than some children are given.
        thread::spawn(move || {
            // A child that does not read to the end says so by its exit status.
            if let Err(error) = pipe.write_all(&stdin) {
                log::debug!("process {pid} did not read its input: {error}");
            }
        });
    }
    Ok(running)
}

/// A pipe that is closed when the process has ended. It stays a zombie, so that its number is its own until it is reaped
/// after the kill.
fn exit_by_thread(pid: Pid) -> io::Result<OwnedFd> {
    let (exit, open) = io::pipe()?;
    thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = waitid(WaitId::Pid(pid), options) {
            if error != rustix::io::Errno::INTR {
                break;
            }
        }
        drop(open);
    });
    Ok(exit.into())
}

/// What comes from a child next.
enum Event<'p> {
    Output(&'p [u8]),
    Errors(&'p [u8]),
    /// The child has ended, or a signal came between.
    Nothing,
    TimedOut,
}

/// A child and its process group, which do not outlive this value.
struct Running {
    child: Child,
    /// Until it is closed by all who hold it.
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// Can be read when the child has ended and is a zombie.
    exit: Option<OwnedFd>,
    reaped: bool,
}

impl Running {
    /// It has ended, and nothing more can come from it.
    fn over(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none() && self.exit.is_none()
    }

    /// Waits for what comes next, and reads it into `piece`.
    fn read<'p>(&mut self, piece: &'p mut [u8], deadline: Deadline) -> io::Result<Event<'p>> {
        if deadline.passed() {
            return Ok(Event::TimedOut);
        }
        let pipes = [
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
            self.exit.as_ref().map(AsFd::as_fd),
        ];
        let [stdout, stderr, exit] = ready(pipes, deadline)?;
        if stdout && let Some(pipe) = &mut self.stdout {
            let length = read(pipe, piece)?;
            if length == Some(0) {
                self.stdout = None;
            }
            let text = piece.get(..length.unwrap_or(0)).unwrap_or_default();
            return Ok(Event::Output(text));
        }
        if stderr && let Some(pipe) = &mut self.stderr {
            let length = read(pipe, piece)?;
            if length == Some(0) {
                self.stderr = None;
            }
            let text = piece.get(..length.unwrap_or(0)).unwrap_or_default();
            return Ok(Event::Errors(text));
        }
        if exit {
            self.exit = None;
        }
        Ok(Event::Nothing)
    }

    /// Lets the pipe of the output hold more, and tells what it holds. Without that the child waits now and then.
    fn widen(&self) -> usize {
        let wider = self.stdout.as_ref().map(|pipe| {
            fcntl_setpipe_size(pipe, LONG_PIPE).inspect_err(|error| {
                log::debug!("process {}: its pipe stays small: {error}", self.child.id());
            })
        });
        wider.and_then(Result::ok).unwrap_or(PIECE)
    }

    /// Waits until all who can write output have closed it, at most for this time.
    fn wait_for_end(&self, time: Duration, deadline: Deadline) {
        let Some(pipe) = &self.stdout else {
            return;
        };
        // Only the end of a pipe is told to those who wait for nothing.
        let mut pipes = [PollFd::new(pipe, PollFlags::empty())];
        let timeout = Timespec::try_from(time.min(deadline.left())).ok();
        // Without the wait, the next read says what is wrong.
        if let Err(error) = poll(&mut pipes, timeout.as_ref()) {
            log::debug!("process {}: no wait for its end: {error}", self.child.id());
        }
    }

    /// Kills what there still is of the process group and reaps the child.
    fn end(&mut self) -> io::Result<ExitStatus> {
        // Before the child is reaped, the group's number cannot belong to anybody else.
        if let Err(error) = kill_process_group(Pid::from_child(&self.child), Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            log::warn!("process group {} lives on: {error}", self.child.id());
        }
        let deadline = Deadline::within(DEATH);
        while let Some(exit) = &self.exit {
            if deadline.passed() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let [ended] = ready([Some(exit.as_fd())], deadline)?;
            if ended {
                self.exit = None;
            }
        }
        self.reaped = true;
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped
            && let Err(error) = self.end()
        {
            log::warn!(
                "process {} was killed and is still there: {error}",
                self.child.id()
            );
        }
    }
}

/// Waits until something can be read from one of the pipes, or one is closed, and says which; none when the deadline
/// has passed.
fn ready<const N: usize>(
    pipes: [Option<BorrowedFd<'_>>; N],
    deadline: Deadline,
) -> io::Result<[bool; N]> {
    let open = pipes.iter().flatten();
    let mut fds: Vec<PollFd<'_>> = open
        .map(|pipe| PollFd::from_borrowed_fd(*pipe, PollFlags::IN))
        .collect();
    let timeout = Timespec::try_from(deadline.left()).ok();
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; N]),
        Err(error) => return Err(error.into()),
    }
    let mut found = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(pipes.map(|pipe| pipe.is_some() && found.next().unwrap_or(false)))
}

/// What a pipe has: 0 at its end, `None` when a signal came between.
fn read(pipe: &mut impl Read, piece: &mut [u8]) -> io::Result<Option<usize>> {
    match pipe.read(piece) {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// How a child ended, in words.
pub fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn said(script: &str, bounds: Bounds) -> (Ended, String) {
        let mut text = Vec::new();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env("EHOS_SAID", "said");
        let ended = run_within(
            &mut command,
            Vec::new(),
            bounds,
            Deadline::within(LONG),
            |piece| text.extend_from_slice(piece),
        );
        (ended.unwrap(), String::from_utf8(text).unwrap())
    }

    /// Cargo sets its own variables for a test, and no child needs them.
    #[test]
    fn a_child_gets_the_variables_that_it_needs_and_no_others() {
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let (_, text) = said("env", Bounds::default());
        let has = |name: &str| text.lines().any(|line| line.starts_with(name));
        assert!(has("PATH=") && has("EHOS_SAID=said"), "{text}");
        assert!(!has("CARGO"), "{text}");
        for kept in [
            "HOME",
            "LC_ALL",
            "_CONDOR_SEC_CLIENT_AUTHENTICATION",
            "TESTBED_DIR",
        ] {
            assert!(is_passed(OsStr::new(kept)), "{kept}");
        }
        for secret in [
            "OS_PASSWORD",
            "OS_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "INFLUX_TOKEN",
        ] {
            assert!(!is_passed(OsStr::new(secret)), "{secret}");
        }
    }

    #[test]
    fn long_output_is_read_whole_in_few_pieces() {
        let mut pieces = Vec::new();
        let mut command = Command::new("dd");
        let ended = run(
            command.args(["if=/dev/zero", "bs=1000", "count=400", "status=none"]),
            Vec::new(),
            Deadline::within(LONG),
            |piece| pieces.push(piece.len()),
        );
        assert!(ended.unwrap().status.success());
        assert_eq!(pieces.iter().sum::<usize>(), 400_000);
        assert!(pieces.len() < 200, "{}", pieces.len());
    }

    #[test]
    fn a_wait_for_the_end_ends_with_the_child_and_not_with_its_output() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo text; sleep 0.5"]);
        let begin = Instant::now();
        let mut running = start(&mut command, Vec::new(), Bounds::default()).unwrap();
        let deadline = Deadline::within(LONG);
        running.wait_for_end(LONG, deadline);
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(500), "{took:?}");
        assert!(took < LONG / 2, "{took:?}");
        let mut piece = [0; PIECE];
        let read = running.read(&mut piece, deadline);
        assert!(matches!(read, Ok(Event::Output(b"text\n"))));
    }

    #[test]
    fn output_is_collected_until_its_pipe_is_half_full() {
        let mut collecting = Collecting::default();
        let mut times = |read| {
            let next = |_| {
                collecting.read = read;
                collecting.next().as_millis()
            };
            [1, 2, 3, 4, 5, 6].map(next)
        };
        assert_eq!(times(10_000), [50, 100, 200, 400, 400, 400], "slow output");
        assert_eq!(times(40_000), [200, 100, 50, 25, 12, 6], "fast output");
        assert_eq!(times(20_000), [6, 6, 6, 6, 6, 6]);
        assert_eq!(times(40_000), [5, 5, 5, 5, 5, 5], "at least");
    }

    #[test]
    fn a_thread_notices_the_end_too() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exit 3"])
            .spawn()
            .unwrap();
        let exit = exit_by_thread(Pid::from_child(&child)).unwrap();
        let [ended] = ready([Some(exit.as_fd())], Deadline::within(LONG)).unwrap();
        assert!(ended);
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }

    #[test]
    fn a_child_writes_no_core_and_keeps_its_bounds() {
        let bounds = Bounds {
            cpu: Some(Duration::from_secs(1)),
            memory: Some(256 << 20),
        };
        // The limits are set right after the start.
        let (_, text) = said("sleep 0.2; ulimit -c; ulimit -t; ulimit -v", bounds);
        assert_eq!(text, format!("0\n1\n{}\n", 256 << 10));
        let (ended, _) = said("sleep 0.2; while :; do :; done", bounds);
        assert_eq!(described(ended.status), "killed by signal 24");
        let (_, text) = said("sleep 0.2; ulimit -c; ulimit -t", Bounds::default());
        assert!(text.starts_with("0\n"), "{text}");
    }
}
