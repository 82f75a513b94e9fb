//! Threads of a scope, which do what may be done at once.
//!
//! `Scope::spawn` is compiled for each closure and each result, about 1 kB each time: 50 kB of the program.

use std::panic;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

/// A thread that finds a value.
#[derive(Debug)]
pub struct Thread<'scope, T> {
    handle: ScopedJoinHandle<'scope, ()>,
    found: Arc<Mutex<Option<T>>>,
}

/// Starts a thread of the scope, as `Scope::spawn` does.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    find: impl FnOnce() -> T + Send + 'scope,
) -> Thread<'scope, T> {
    let found = Arc::new(Mutex::new(None));
    let place = Arc::clone(&found);
    let work = move || {
        let value = find();
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    };
    Thread {
        handle: start(scope, Box::new(work)),
        found,
    }
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: Box<dyn FnOnce() + Send + 'scope>,
) -> ScopedJoinHandle<'scope, ()> {
    scope.spawn(work)
}

/// What a thread has found; its panic is ours.
pub fn joined<T>(thread: Thread<'_, T>) -> T {
    match thread.handle.join() {
        Ok(()) => found(&thread.found),
        Err(message) => panic::resume_unwind(message),
    }
}

/// A thread that has ended without a panic has found its value.
fn found<T>(place: &Mutex<Option<T>>) -> T {
    let value = place.lock().unwrap_or_else(PoisonError::into_inner).take();
    value.unwrap_or_else(|| panic::resume_unwind(Box::new("a thread found nothing")))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_finds_a_value_and_its_panic_is_ours() {
        let text = "of the scope".to_owned();
        let length = thread::scope(|scope| joined(spawn(scope, || text.len())));
        assert_eq!(length, 12);
        let panicked = panic::catch_unwind(|| {
            thread::scope(|scope| joined(spawn(scope, || -> u8 { panic!("in the thread") })))
        });
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"in the thread"));
    }
}
