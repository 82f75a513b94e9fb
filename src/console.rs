//! What a server's console tells of its first boot: whether cloud-init is done, and whether it went well.

/// The line that ehos's own templates print when something cannot be done; what follows says what.
const FAILED: &str = "EHOS: FAILED";

/// What cloud-init itself prints when it ends and nobody gave it another message (`final_message` in its reference).
const DEFAULT_FINAL_MESSAGE: &str = " finished at ";

/// What cloud-init says on the console when a part of the user data fails.
const CLOUD_INIT_FAILURES: [&str; 3] = [
    "Failed running /var/lib/cloud/instance/scripts/",
    "Failed to run module ",
    "Failed loading yaml blob",
];

/// How far a server has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// It is still at it; the last line that it printed, if any.
    Running(Option<String>),
    /// The final message is there, and nothing failed before it.
    Finished,
    /// Something failed: the line that says so.
    Failed(String),
}

/// Reads a whole console log. The final message begins with `final_message` (the part of the template's before its first
/// variable), or is cloud-init's own. Other lines may follow it: buffered output of children, the login prompt.
pub fn boot(console: &str, final_message: Option<&str>) -> Boot {
    let mut finished = false;
    for line in console.lines() {
        let ours = line.find(FAILED).and_then(|at| line.get(at..));
        let of_cloud_init = CLOUD_INIT_FAILURES.iter().any(|words| line.contains(words));
        if let Some(why) = ours {
            return Boot::Failed(why.trim().to_owned());
        }
        if of_cloud_init && !finished {
            return Boot::Failed(line.trim().to_owned());
        }
        finished |= match final_message {
            Some(message) => line.contains(message),
            None => line.contains("Cloud-init v.") && line.contains(DEFAULT_FINAL_MESSAGE),
        };
    }
    if finished {
        return Boot::Finished;
    }
    let last = console.lines().rfind(|line| !line.trim().is_empty());
    Boot::Running(last.map(|line| line.trim().to_owned()))
}
