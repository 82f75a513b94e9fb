//! Kills ehos at each point where it sends something: a proxy before the API of a cloud and a stub before each tool of
//! HTCondor do it, before they pass a request on, and again before they pass on its answer. The product knows nothing
//! of that.
//!
//! A point is what is sent, how many of its like this tick has sent, and the moment. While the points are armed, each
//! tick is killed at the first one at which none was killed before. So the next tick gets one point further, and a
//! story that comes to its end has been killed once at each point that there is.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The exit code of a tick that was killed, as a shell would say.
pub const KILLED: i32 = 137;

/// Longer than any tick or request may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// All points, in a folder that the stubs share.
#[derive(Clone)]
pub struct Points(Arc<Shared>);

struct Shared {
    dir: tempfile::TempDir,
    /// The tick that runs, counted from 1.
    turn: AtomicUsize,
    pid: Mutex<Option<Pid>>,
    /// Requests that the proxy has and has not answered.
    requests: AtomicUsize,
    over: AtomicBool,
}

/// A tick that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Points {
    /// None yet, and not armed.
    #[allow(clippy::new_without_default)] // Each is a folder of its own.
    pub fn new() -> Points {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["tools", "tick", "seen", "hit", "running"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("part"), "").unwrap();
        Points(Arc::new(Shared {
            dir,
            turn: AtomicUsize::new(0),
            pid: Mutex::default(),
            requests: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }))
    }

    /// The folder of stubs for the tools in `real`: `condor.bin`.
    pub fn before(&self, real: &Path) -> PathBuf {
        let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("stub");
        let tools = self.folder("tools");
        for tool in fs::read_dir(real).unwrap() {
            let name = tool.unwrap().file_name();
            if name.to_string_lossy().starts_with("condor_") {
                symlink(&stub, tools.join(name)).unwrap();
            }
        }
        let (points, real) = (self.0.dir.path().display(), real.display());
        let settings = format!("POINTS='{points}'\nREAL='{real}'\n");
        fs::write(tools.join("settings"), settings).unwrap();
        tools
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.dir.path().join(name)
    }

    /// Ticks are killed from now on.
    pub fn arm(&self) {
        fs::write(self.folder("armed"), "").unwrap();
    }

    /// Ticks are killed at this point alone, of those that are known, from now on.
    pub fn arm_only(&self, point: &str, known: &BTreeSet<String>) {
        for other in known.iter().filter(|other| *other != point) {
            fs::create_dir(self.folder("hit").join(other)).unwrap();
        }
        self.arm();
    }

    /// What is sent from now on is of this part of a story, and of no other.
    pub fn part(&self, name: &str) {
        fs::write(self.folder("part"), name).unwrap();
    }

    fn names(&self, folder: &str) -> BTreeSet<String> {
        let names = fs::read_dir(self.folder(folder)).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// The points that were come by.
    pub fn seen(&self) -> BTreeSet<String> {
        self.names("seen")
    }

    /// Those of them at which a tick was killed.
    pub fn hit(&self) -> BTreeSet<String> {
        self.names("hit")
    }

    /// Runs one tick, to its end or its death, and what it leaves over: tools and requests.
    pub fn run(&self, command: &mut Command) -> Ended {
        // Of no process: a tool of a killed tick that only starts now would take that one for the one that runs, and mark it
        // as killed.
        fs::write(self.folder("pid"), "0").unwrap();
        self.quiet();
        let _ = fs::remove_file(self.folder("killed"));
        // A tool that a killed tick leaves over may be making its folder in it just now.
        let (tick, old) = (self.folder("tick"), self.folder("old"));
        if tick.exists() {
            fs::rename(tick, &old).unwrap();
            fs::remove_dir_all(old).unwrap();
        }
        fs::create_dir_all(self.folder("tick")).unwrap();
        fs::write(self.folder("pid"), "").unwrap();
        self.0.turn.fetch_add(1, Ordering::SeqCst);
        let tick = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        *self.0.pid.lock().unwrap() = Some(Pid::from_child(&tick));
        fs::write(self.folder("pid"), tick.id().to_string()).unwrap();
        let output = tick.wait_with_output().unwrap();
        *self.0.pid.lock().unwrap() = None;
        self.quiet();
        Ended::of(output)
    }

    /// Waits for the end of what a killed tick leaves over.
    fn quiet(&self) {
        let end = Instant::now() + PATIENCE;
        while self.0.requests.load(Ordering::SeqCst) > 0 || !self.names("running").is_empty() {
            for pid in self.names("running") {
                if !Path::new("/proc").join(&pid).exists() {
                    // It was killed itself, with the group of a tool that took too long, and has left its folder.
                    println!("a tool that was killed: {pid}");
                    let _ = fs::remove_dir_all(self.folder("running").join(pid));
                }
            }
            let said = |pid: &String| fs::read_to_string(format!("/proc/{pid}/cmdline"));
            assert!(
                Instant::now() < end,
                "still running: {:?}, {} requests",
                self.names("running").iter().map(said).collect::<Vec<_>>(),
                self.0.requests.load(Ordering::SeqCst)
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The name of what is sent, with its number in this tick.
    fn number(&self, what: &str, turn: usize) -> String {
        let tick = self.folder("tick").join(format!("turn-{turn}"));
        fs::create_dir_all(&tick).unwrap();
        let part = fs::read_to_string(self.folder("part")).unwrap();
        (1..)
            .map(|n| format!("{part}{what} {n}"))
            .find(|label| fs::create_dir(tick.join(label)).is_ok())
            .unwrap()
    }

    /// Kills the tick `turn` here, if it runs and is to be killed here.
    fn kill(&self, label: &str, moment: &str, turn: usize) -> bool {
        let point = format!("{label} {moment}");
        if self.0.turn.load(Ordering::SeqCst) == turn {
            fs::create_dir_all(self.folder("seen").join(&point)).unwrap();
        }
        // Started before its number was written down.
        let end = Instant::now() + Duration::from_secs(5);
        while fs::read(self.folder("pid")).unwrap().is_empty() && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        let pid = self.0.pid.lock().unwrap();
        let Some(pid) = *pid else {
            return false;
        };
        if self.0.turn.load(Ordering::SeqCst) != turn
            || !self.folder("armed").exists()
            || self.folder("hit").join(&point).exists()
            || fs::File::create_new(self.folder("killed")).is_err()
        {
            return false;
        }
        fs::create_dir(self.folder("hit").join(&point)).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        true
    }
}

impl Ended {
    fn of(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended {
            code: match (output.status.code(), output.status.signal()) {
                (Some(code), _) => code,
                (None, signal) => 128 + signal.unwrap_or_default(),
            },
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// A request that a service has answered, and how.
#[derive(Debug, Clone)]
pub struct Passed {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub body: String,
    pub status: u16,
}

/// Stands before every service of a cloud: `http://PROXY/HOST:PORT/...` is `http://HOST:PORT/...`, and what addresses an
/// answer names, as Keystone's catalog does, are put behind it too.
pub struct Proxy {
    base: String,
    points: Points,
    passed: Arc<Mutex<Vec<Passed>>>,
}

impl Proxy {
    pub fn start(points: &Points) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let passed = Arc::<Mutex<Vec<Passed>>>::default();
        let proxy = Proxy {
            base: base.clone(),
            points: points.clone(),
            passed: Arc::clone(&passed),
        };
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build(),
        );
        let points = points.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if points.0.over.load(Ordering::SeqCst) {
                    break;
                }
                let (points, base, passed) = (points.clone(), base.clone(), Arc::clone(&passed));
                let agent = agent.clone();
                points.0.requests.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    // A client that is dead reads no answer.
                    let _ = serve(&stream.unwrap(), &agent, &points, &base, &passed);
                    points.0.requests.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        proxy
    }

    /// This address behind the proxy.
    pub fn before(&self, url: &str) -> String {
        behind(&self.base, url)
    }

    /// The requests with this method and this end of the path that a service has answered with success.
    pub fn done(&self, method: &str, end: &str) -> Vec<Passed> {
        let passed = self.passed.lock().unwrap();
        let fits = |one: &&Passed| {
            one.method == method && one.path.ends_with(end) && (200..300).contains(&one.status)
        };
        passed.iter().filter(fits).cloned().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.points.0.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.base.trim_start_matches("http://")));
    }
}

fn behind(base: &str, text: &str) -> String {
    text.replace("http://", &format!("{base}/"))
}

/// The path with every id in it replaced: what all requests of a kind have in common.
fn kind_of(path: &str) -> String {
    let word = |word: &str| match word.len() >= 32
        && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
    {
        true => "ID".to_owned(),
        false => word.to_owned(),
    };
    // Without the service's address; a slash cannot stand in a file's name.
    let words = path.trim_start_matches('/').split('/').skip(1);
    words.map(word).collect::<Vec<_>>().join(":")
}

fn serve(
    stream: &TcpStream,
    agent: &ureq::Agent,
    points: &Points,
    base: &str,
    passed: &Mutex<Vec<Passed>>,
) -> io::Result<()> {
    let turn = points.0.turn.load(Ordering::SeqCst);
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let mut request = ureq::http::Request::builder()
        .method(method.as_str())
        .uri(format!("http:/{target}"));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
            "host" | "connection" | "accept-encoding" => {}
            _ => request = request.header(name, value.trim()),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;

    let path = target.split('?').next().unwrap_or_default();
    let label = points.number(&format!("{method} {}", kind_of(path)), turn);
    if points.kill(&label, "before", turn) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let answer = if body.is_empty() {
        agent.run(request.body(()).map_err(io::Error::other)?)
    } else {
        agent.run(request.body(body).map_err(io::Error::other)?)
    };
    let mut answer = answer.map_err(io::Error::other)?;
    let status = answer.status();
    let body = answer.body_mut().read_to_vec().map_err(io::Error::other)?;
    passed.lock().unwrap().push(Passed {
        method,
        path: path.to_owned(),
        body: text,
        status: status.as_u16(),
    });
    if points.kill(&label, "after", turn) {
        return Ok(());
    }
    let body = behind(base, &String::from_utf8_lossy(&body));
    let mut head = format!("HTTP/1.1 {} X\r\n", status.as_u16());
    for (name, value) in answer.headers() {
        let own = ["content-length", "connection", "transfer-encoding"];
        if !own.contains(&name.as_str()) {
            head += &format!("{name}: {}\r\n", value.to_str().map_err(io::Error::other)?);
        }
    }
    head += &format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

/// Reads a state file over and over: at each moment it is whole, or not there yet.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Result<usize, String>>>,
}

impl Watch {
    pub fn over(path: PathBuf) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut looks = 0;
            let mut was_there = false;
            while !end.load(Ordering::SeqCst) {
                match fs::read(&path) {
                    Ok(text) => {
                        let whole = serde_json::from_slice::<serde_json::Value>(&text)
                            .is_ok_and(|state| state["state"]["nodes"].is_object());
                        if !whole {
                            return Err(String::from_utf8_lossy(&text).into_owned());
                        }
                        was_there = true;
                    }
                    Err(_) if !was_there => {}
                    Err(error) => return Err(error.to_string()),
                }
                looks += 1;
                thread::sleep(Duration::from_micros(500));
            }
            Ok(looks)
        });
        Watch {
            over,
            thread: Some(thread),
        }
    }

    /// Stops. How often it looked.
    #[track_caller]
    pub fn end(mut self) -> usize {
        self.over.store(true, Ordering::SeqCst);
        match self.thread.take().unwrap().join().unwrap() {
            Ok(looks) => looks,
            Err(found) => panic!("the state was not whole: {found}"),
        }
    }
}
