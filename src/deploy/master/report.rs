//! What came of a deploy, or would: for people and for programs.

use serde_json::{Value, json};

use super::conffile::FileChange;
use super::find::FoundMaster;
use super::install::Timer;
use super::spec::{DeployOverrides, MasterSpec};
use super::{DeployOptions, DeployPreview, Deployed, InstallPreview, Installed};
use system::exit::Exit;
use system::plain::line;

/// Prints the address of the page there.
const PAGE_ADDRESS: &str = "sudo -u ehos ehos frontend --url --state-dir /var/lib/ehos \\; cat";

/// A deploy that would be done.
pub struct DeployPlan<'p> {
    /// What would be asked for.
    pub spec: &'p MasterSpec,
    /// What is there, and what would change on it.
    pub preview: DeployPreview,
    /// What was chosen apart from the configuration.
    pub overrides: &'p DeployOverrides<'p>,
    /// What an operator should know.
    pub notices: &'p [String],
}

impl DeployPlan<'_> {
    fn files(&self) -> &[FileChange] {
        match &self.preview.changes {
            Some(Ok(preview)) => &preview.files,
            _ => &[],
        }
    }

    /// What would be done, in sentences.
    fn sentences(&self) -> Vec<String> {
        let mut plan = Vec::new();
        if self.overrides.builds_image {
            plan.push(
                "make a golden image in every cloud (see `ehos image build --dry-run`)".to_owned(),
            );
        }
        let spec = self.spec;
        plan.push(match &self.preview.found {
            Some(FoundMaster {
                record,
                is_ready: true,
            }) => format!(
                "install ehos again on {} ({}), which is ready",
                record.name, record.id
            ),
            Some(FoundMaster { record, .. }) => format!(
                "go on with {} ({}), which an earlier run left, or delete it if it failed and make {} anew",
                record.name, record.id, spec.name
            ),
            None => format!(
                "make the server {} of image {}, with keypair {} and the domain {}",
                spec.name, spec.image_name, spec.key.name, spec.trust_domain
            ),
        });
        if let Some(network) = self.overrides.floating_ip {
            plan.push(format!("give it a floating IP of {network}"));
        }
        let found = self.preview.found.as_ref();
        let how = if found.is_some_and(|found| found.is_ready) {
            "over SSH, with the secrets of the configuration; its timer stays as it is"
        } else {
            "install ehos there over SSH, with the secrets of the configuration, and start its timer"
        };
        plan.push(how.to_owned());
        match &self.preview.changes {
            Some(Ok(preview)) => plan.extend(in_sentences(preview)),
            Some(Err(why)) => plan.push(format!(
                "what would change in its files cannot be seen: {why}"
            )),
            None => {}
        }
        plan
    }

    /// For people.
    pub fn text(&self) -> String {
        let sentences = self.sentences();
        let lines = sentences.iter().map(|step| line!("{step}"));
        lines.collect::<String>() + &differences(self.files())
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "version": 2, "dry_run": true, "exit": Exit::Done as u8, "cloud": self.spec.cloud,
            "image": self.spec.image_name, "trust_domain": self.spec.trust_domain, "plan": self.sentences(),
            "files": self.files(), "notices": self.notices,
        })
    }
}

/// What a deploy would change on a central manager that is ready, in sentences.
fn in_sentences(preview: &InstallPreview) -> Vec<String> {
    let mut sentences = vec![format!(
        "the program: {} there, ehos {} here",
        preview.version,
        env!("CARGO_PKG_VERSION")
    )];
    let files = preview.files.iter();
    let changes: Vec<String> = files.filter_map(|file| file.told(true)).collect();
    if changes.is_empty() {
        sentences.push("its other files: all as they would come".to_owned());
    }
    sentences.extend(changes);
    sentences.extend(preview.timer.and_then(Timer::told).map(str::to_owned));
    sentences
}

/// What changes in the files, below each other.
fn differences(files: &[FileChange]) -> String {
    files
        .iter()
        .filter(|file| !file.difference.is_empty())
        .map(|file| {
            // A file on a server can hold what a terminal takes for commands.
            let clean = |line: &str| line.replace(|c: char| c.is_control() && c != '\t', "?");
            let lines = file.difference.lines().map(clean);
            format!("\n{}\n", lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// What came of a deploy.
#[derive(Debug)]
pub struct DeployReport<'r> {
    pub spec: &'r MasterSpec,
    /// How.
    pub options: &'r DeployOptions<'r>,
    pub deployed: &'r Deployed,
    /// What an operator should know, besides what became of the files.
    pub notices: Vec<String>,
}

impl DeployReport<'_> {
    /// Whether it went well to the first tick.
    pub fn exit(&self) -> Exit {
        let Deployed {
            made, installed, ..
        } = self.deployed;
        match (installed.tick_exit, installed.timer) {
            (Some(0), _) => Exit::Done,
            // Nothing was to tick there.
            (None, Some(timer)) if !timer.active && !made => Exit::Done,
            _ => Exit::Failed,
        }
    }

    fn notices(&self) -> Vec<String> {
        let mut notices = self.notices.clone();
        let Deployed {
            server, installed, ..
        } = self.deployed;
        if !self.deployed.made {
            notices.push(format!(
                "{} was there and ready: the program was installed again, with its units, templates and secrets; its \
                 server, its ehos.yaml and what was edited there were left as they are (what is new here, an image \
                 perhaps, goes into /etc/ehos/ehos.d there)",
                server.record.name
            ));
            notices.extend(installed.files.iter().filter_map(|file| file.told(false)));
            notices.extend(installed.timer.and_then(Timer::told).map(str::to_owned));
        }
        notices
    }

    fn addresses(&self) -> Vec<&str> {
        let known = self.deployed.server.addresses.iter();
        let mut addresses: Vec<&str> = known.map(|address| address.address.as_str()).collect();
        if let Some(floating) = &self.deployed.floating_ip
            && !addresses.contains(&floating.as_str())
        {
            addresses.insert(0, floating);
        }
        addresses
    }

    /// How to log in by hand, with the host key that was learnt.
    fn login(&self) -> String {
        let identity = match &self.spec.identity {
            Some(file) => format!(" -i {}", file.display()),
            None => String::new(),
        };
        let ssh = &self.deployed.installed.ssh;
        format!(
            "ssh{identity} -o UserKnownHostsFile={} -o HostKeyAlias={} {}@{}",
            self.options.proof.known_hosts.display(),
            self.deployed.server.record.id,
            ssh.user(),
            ssh.address
        )
    }

    /// How to reach the page of this central manager, which listens there on the loopback address.
    fn tunnel(&self) -> String {
        self.login()
            .replacen("ssh", "ssh -L 5000:127.0.0.1:5000", 1)
    }

    /// For people.
    pub fn text(&self) -> String {
        let Deployed {
            server, installed, ..
        } = self.deployed;
        // One that was there is of whatever image and domain it was made with.
        let made_of = if self.deployed.made {
            format!(
                ", image {}, domain {}",
                self.spec.image_name, self.spec.trust_domain
            )
        } else {
            String::new()
        };
        let mut text = line!(
            "the central manager {} ({}) is ready: {}",
            server.record.name,
            server.record.id,
            self.addresses().join(", "),
        );
        text.push_str(&line!("{}{made_of}", installed.version));
        for notice in self.notices() {
            text.push_str(&line!("note: {notice}"));
        }
        text.push_str(&differences(&installed.files));
        let ended = match installed.tick_exit {
            Some(0) => "went well".to_owned(),
            Some(code) => format!("FAILED with exit code {code}"),
            None if self.exit() == Exit::Done => "was not started".to_owned(),
            None => "has no exit code".to_owned(),
        };
        text.push('\n');
        text.push_str(&line!("its first tick {ended}:"));
        for line in installed.tick.lines() {
            text.push_str(&line!("    {line}"));
        }
        text.push('\n');
        text.push_str(&line!("log in:          {}", self.login()));
        text.push_str(
            "a first job:     as an ordinary user there: printf '%s\\n' executable=/bin/sleep arguments=60 queue | \
             condor_submit\n\
             what ehos does:  journalctl -fu ehos\n",
        );
        text.push_str(&line!("the page:        {} {PAGE_ADDRESS}", self.tunnel()));
        text.push_str("                 (it prints the address to open in a browser here)\n");
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let Deployed {
            server,
            made,
            floating_ip,
            installed,
        } = self.deployed;
        let Installed {
            ssh,
            files,
            version,
            timer,
            tick_exit,
            tick,
        } = installed;
        json!({
            "version": 2, "dry_run": false, "exit": self.exit() as u8, "cloud": self.spec.cloud,
            "server": {"id": server.record.id, "name": server.record.name},
            "created": made, "image": made.then_some(&self.spec.image_name),
            "trust_domain": made.then_some(&self.spec.trust_domain),
            "addresses": self.addresses(), "floating_ip": floating_ip, "address": ssh.address, "user": ssh.user(),
            "login": self.login(), "ehos": version,
            "tick": {"exit": tick_exit, "text": tick}, "files": files,
            "timer": timer, "page": format!("{} {PAGE_ADDRESS}", self.tunnel()),
            "notices": self.notices(),
        })
    }
}
