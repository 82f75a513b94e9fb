//! Threads of a scope, which do what may be done at once.

use std::panic;
use std::thread::ScopedJoinHandle;

/// What a thread has found; its panic is ours.
pub fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|message| panic::resume_unwind(message))
}
