//! Runs something on a thread of its own and waits for it.
//!
//! Knows nothing of what runs. A host without threads to spare is an error like any other: a container that has taken all of
//! them is no reason to end.

use std::io;
use std::thread;

/// Runs it. The thread is in the caller's network namespace, and ends before this returns.
///
/// # Errors
/// There is no thread for it; it has not run.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, work)?.join() {
        Ok(result) => Ok(result),
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
