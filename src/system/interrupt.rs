//! An interrupt of a long command that keeps what it has: the first signal requests the end, the second one is the end.
//!
//! Must not: be used by a command that changes anything. There an interrupt is a crash (docs/design-rules.md#rule-5).
//! Source: nohup(1), and POSIX "Shell Command Language", 2.11: a signal that was ignored at the start stays ignored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::debug;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether Ctrl-C, SIGTERM or the end of the terminal has requested the end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on, for the rest of the process, the first signal is only noted. A signal that cannot be caught ends the process.
    pub fn begin() -> Interrupt {
        let interrupt = Interrupt::default();
        let ignored = ignored();
        let caught = [SIGHUP, SIGINT, SIGTERM].into_iter();
        for signal in caught.filter(|signal| ignored & (1_u64 << (signal - 1)) == 0) {
            let noted = &interrupt.0;
            // In this order: the first signal finds the flag down.
            let result = flag::register_conditional_default(signal, Arc::clone(noted))
                .and_then(|_| flag::register(signal, Arc::clone(noted)));
            if let Err(error) = result {
                debug!("signal {signal} ends this command at once: {error}");
            }
        }
        interrupt
    }

    /// Whether a signal has come.
    pub fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The signals that this process ignores, one bit each (proc_pid_status(5), SigIgn).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut masks = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigIgn:"));
    masks
        .next()
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}
