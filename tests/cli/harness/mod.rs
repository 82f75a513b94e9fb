//! Runs `ehos` in a folder of its own, with a clean environment, beside fake tools of HTCondor and scripted clouds.

pub mod cloud;
pub mod comparison;
pub mod condor;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use run::Run;

/// Longer than any tick here may take: whoever is stopped by it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The secrets of every site here. None may ever be seen.
pub const PASSWORD: &str = "pa55-w0rd-of-the-cloud";
pub const TOKEN: &str = "gAAAAAB-token-of-keystone";
pub const JOIN_TOKEN: &str = "eyJhbGciOi.eyJqb2luLW1l.token_of-a-node";
pub const POOL_PASSWORD: &str = "pa55-w0rd-of-the-pool";
/// The administrator's password in the recorded answer to a create.
pub const ADMIN_PASSWORD: &str = "b3RegyvnbXFZ";

pub const CREDENTIAL_SECRET: &str = "s3cret-of-the-application-credential";
/// What is in the file of the key that signs tokens.
pub const SIGNING_KEY: &str = "k3y-that-signs-tokens";

/// The key that signs the metadata of servers, beside the configuration.
pub const PROOF_KEY: &str = "5ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7";

const SECRETS: [&str; 8] = [
    PROOF_KEY,
    PASSWORD,
    TOKEN,
    JOIN_TOKEN,
    POOL_PASSWORD,
    ADMIN_PASSWORD,
    CREDENTIAL_SECRET,
    SIGNING_KEY,
];

/// The files of a state directory that is in use, as [`Site::state_names`] has them.
pub const STATE_NAMES: [&str; 8] = [
    "frontend.token",
    "history/DAY",
    "history/last.json",
    "lookups-lab.json",
    "state.json",
    "tick.lock",
    "token-lab.json",
    "wake.json",
];

/// A folder with a configuration, a state directory that is not there yet, and fake tools.
pub struct Site {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    overs: u32,
}

impl Site {
    /// A simulated site.
    pub fn simulated() -> Site {
        let demo = repository().join("configs/demo.yaml");
        Site::new(&fs::read_to_string(demo).unwrap())
    }

    /// A site with the cloud `lab` at `url`, and a pool with no node and no job.
    pub fn with_cloud(url: &str) -> Site {
        Site::new(&format!(
            "ehos:\n  cluster: pool-1\n  flavors: [m1.small]\n  image: GOLD CentOS 7\n  network: dualStack\n  \
             key: ehos\n  security_groups: [ehos]\n  userdata_file: {}\n\
             condor:\n  host_ip: 10.0.0.1\n  trust_domain: testbed\n  password: {POOL_PASSWORD}\n\
             clouds:\n{}",
            repository().join("configs/execute.yaml").display(),
            cloud::access("lab", url)
        ))
    }

    fn new(config: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let site = Site {
            dir,
            variables: BTreeMap::new(),
            overs: 0,
        };
        site.write("ehos.yaml", config);
        site.write("proof.key", &format!("{PROOF_KEY}\n"));
        condor::install(&site.tools());
        let path = format!("{}:/usr/bin:/bin", site.tools().display());
        site.set("PATH", &path)
    }

    /// The folder of it all.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path().join("ehos.yaml")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The folder of the fake tools.
    pub fn tools(&self) -> PathBuf {
        self.path().join("tools")
    }

    /// Writes a file of this user alone.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Merges this over the configuration.
    pub fn over(mut self, yaml: &str) -> Site {
        self.overs += 1;
        self.write(&format!("ehos.d/{:02}.yaml", self.overs), yaml);
        self
    }

    /// Sets a variable of the environment.
    pub fn set(mut self, name: &str, value: &str) -> Site {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Jobs that wait, each for one core and 512 MB.
    pub fn waiting(self, jobs: u64) -> Site {
        condor::answer(
            &self.tools(),
            "condor_q",
            "-totals",
            &condor::totals(jobs, 0),
        );
        condor::answer(
            &self.tools(),
            "condor_q",
            "-group-by",
            &condor::group(jobs, 1, 512),
        );
        self
    }

    /// What a tool of HTCondor answers from now on; see tests/fixtures/condor/replay.
    pub fn answers(self, tool: &str, word: &str, text: &str) -> Site {
        condor::answer(&self.tools(), tool, word, text);
        self
    }

    /// A shell script that is run instead of the tool from now on.
    pub fn script(self, tool: &str, word: &str, script: &str) -> Site {
        self.answers(tool, word, &format!("#!/bin/sh\n{script}\n"))
    }

    /// Every call of a tool so far, one a line.
    pub fn calls(&self) -> String {
        fs::read_to_string(self.tools().join("calls")).unwrap_or_default()
    }

    /// `ehos tick` with the site's configuration and state directory, and these arguments.
    pub fn tick(&self, more: &[&str]) -> Run {
        self.run(&self.tick_args(more))
    }

    /// `ehos` with these arguments.
    pub fn run<A: AsRef<std::ffi::OsStr>>(&self, args: &[A]) -> Run {
        let open = open_files(self.path(), &self.tools());
        let began = Instant::now();
        let output = assert_cmd::Command::new(testkit::program!())
            .args(args)
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.path())
            .timeout(PATIENCE)
            .output()
            .unwrap();
        let run = Run::new(output, began.elapsed());
        self.no_secret_is_seen(&run);
        // Nor in a file that others can read and that it has written.
        for (path, content) in open_files(self.path(), &self.tools()) {
            let text = String::from_utf8_lossy(&content);
            let new = open.get(&path) != Some(&content);
            for secret in SECRETS {
                assert!(
                    !new || !text.contains(secret),
                    "{secret} in {}",
                    path.display()
                );
            }
        }
        run
    }

    /// A tick that is left running.
    pub fn start_tick(&self, more: &[&str]) -> Child {
        self.command(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What runs a tick, not started yet.
    pub fn command(&self, more: &[&str]) -> Command {
        self.under(&[], more)
    }

    /// The same under another program, which runs the command that its arguments end with.
    pub fn under(&self, program: &[&str], more: &[&str]) -> Command {
        let args = self.tick_args(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.words(&[program, &[testkit::program!()], &args].concat())
    }

    /// A command of these words, in the folder and the environment of this site.
    pub fn words(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.path());
        command
    }

    /// A command of the user nobody, who is let into the folder of this site, its configuration and its tools; `None`
    /// where this is not root, who alone can be somebody else.
    pub fn as_nobody(&self, words: &[&str]) -> Option<Command> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can be somebody else");
            return None;
        }
        let binary = self.path().join("ehos");
        if !binary.exists() {
            fs::copy(testkit::program!(), &binary).unwrap();
        }
        // The fake tools write down how they were called.
        for (path, mode) in [
            (self.path(), 0o755),
            (&self.config(), 0o644),
            (&self.tools(), 0o777),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        if let Ok(calls) = fs::File::open(self.tools().join("calls")) {
            calls
                .set_permissions(fs::Permissions::from_mode(0o666))
                .unwrap();
        }
        let nobody = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            binary.to_str().unwrap(),
        ];
        Some(self.words(&[&nobody, words].concat()))
    }

    /// The end of a command that was not started yet.
    pub fn finish(&self, command: &mut Command) -> Run {
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).output().unwrap();
        let run = Run::new(output, began.elapsed());
        self.no_secret_is_seen(&run);
        run
    }

    /// The program at a terminal of its own, where somebody types `typed` once `question` is there: `\x04` is Ctrl-D,
    /// `\x03` Ctrl-C. What is typed earlier may reach nobody: Ctrl-C is a signal to whoever runs at that moment. Its
    /// standard error is in the standard output.
    pub fn at_a_terminal(&self, words: &[&str], question: &str, typed: &[u8]) -> Run {
        let command = [&[testkit::program!()], words].concat().join(" ");
        let patience = PATIENCE.as_secs().to_string();
        let mut script = self
            .words(&[
                "timeout",
                &patience,
                "script",
                "-qec",
                &command,
                "/dev/null",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = script.stdout.as_mut().unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&seen).contains(question) {
            let length = shown.read(&mut buffer).unwrap();
            if length == 0 {
                break;
            }
            seen.extend_from_slice(&buffer[..length]);
        }
        // Whoever asks nothing has ended. The end of its input would be an answer too.
        let mut stdin = script.stdin.take().unwrap();
        let typed = stdin.write_all(typed);
        let mut output = script.wait_with_output().unwrap();
        drop(stdin);
        seen.append(&mut output.stdout);
        // The terminal repeats what was typed, which may be no text.
        output.stdout = String::from_utf8_lossy(&seen).into_owned().into_bytes();
        let run = Run::new(output, Duration::ZERO);
        self.no_secret_is_seen(&run);
        run.says(question);
        typed.unwrap();
        run
    }

    /// The end of a tick that was left running.
    pub fn end(&self, tick: Child) -> Run {
        let run = Run::new(tick.wait_with_output().unwrap(), Duration::ZERO);
        self.no_secret_is_seen(&run);
        run
    }

    fn tick_args(&self, more: &[&str]) -> Vec<String> {
        let (config, state) = (self.config(), self.state());
        let named = [
            "tick",
            "--config",
            config.to_str().unwrap(),
            "--state-dir",
            state.to_str().unwrap(),
        ];
        named
            .iter()
            .chain(more)
            .map(|&arg| arg.to_owned())
            .collect()
    }

    /// The state as it is on disk.
    pub fn saved(&self) -> serde_json::Value {
        let text = fs::read(self.state().join("state.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["state"].clone()
    }

    /// Makes the last tick one of a minute ago.
    pub fn a_minute_later(&self) {
        let path = self.state().join("state.json");
        let mut file: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let last = file["state"]["last_tick"].as_str().unwrap();
        let last: jiff::Timestamp = last.parse().unwrap();
        let earlier = last - jiff::SignedDuration::from_mins(1);
        file["state"]["last_tick"] = serde_json::json!(earlier);
        fs::write(path, file.to_string()).unwrap();
    }

    /// The nodes in the state on disk.
    pub fn remembered(&self) -> Vec<String> {
        let nodes = self.saved()["nodes"].clone();
        nodes.as_object().unwrap().keys().cloned().collect()
    }

    /// Every file of the state directory with its content, and when it was written; `None` without the directory.
    pub fn state_files(&self) -> Option<BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)>> {
        let mut folders = vec![fs::read_dir(self.state()).ok()?];
        let mut files = BTreeMap::new();
        while let Some(folder) = folders.pop() {
            for entry in folder {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(fs::read_dir(path).unwrap());
                    continue;
                }
                let written = fs::metadata(&path).unwrap().modified().unwrap();
                files.insert(path.clone(), (fs::read(&path).unwrap(), written));
            }
        }
        Some(files)
    }

    /// Their names; days of the history and their steps are all called `history/DAY`.
    pub fn state_names(&self) -> Vec<String> {
        let state = self.state();
        let name = |path: PathBuf| {
            let name = path.strip_prefix(&state).unwrap().to_str().unwrap();
            match name.ends_with(".jsonl") || name.ends_with(".steps") {
                true => "history/DAY".to_owned(),
                false => name.to_owned(),
            }
        };
        let mut names: Vec<_> = self.state_files().unwrap().into_keys().map(name).collect();
        names.dedup();
        // It is there while a tick is due before the timer's.
        names.retain(|name| name != "wake");
        names
    }

    /// Rule 8, after each run: what a command says, what others can see of its children, and its state.
    fn no_secret_is_seen(&self, run: &Run) {
        let state = fs::read_to_string(self.state().join("state.json")).unwrap_or_default();
        let history = self.state_files().unwrap_or_default().into_iter();
        let history: String = history
            .filter(|(path, _)| path.starts_with(self.state().join("history")))
            .map(|(_, (text, _))| String::from_utf8_lossy(&text).into_owned())
            .collect();
        let places = [
            ("standard output", &run.stdout),
            ("standard error", &run.stderr),
            ("an argument of a tool", &self.calls()),
            ("state.json", &state),
            ("the history", &history),
        ];
        for secret in SECRETS {
            for (place, text) in places {
                assert!(!text.contains(secret), "{secret} in {place}: {text}");
            }
        }
    }
}

/// The files below `folder` that others can read, with their contents; the fake tools play their secrets.
fn open_files(folder: &Path, tools: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What has just gone is none.
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() && path != tools {
            files.extend(open_files(&path, tools));
        } else if metadata.is_file() && metadata.permissions().mode() & 0o044 != 0 {
            let content = fs::read(&path).unwrap_or_default();
            files.insert(path, content);
        }
    }
    files
}

/// The source tree.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
