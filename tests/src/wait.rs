//! Waiting for a condition with a deadline: the only place in the tests that sleeps.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};

/// Asks `probe` until it has an answer. A probe that returns `Ok(None)` or an error is asked again until the deadline.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => String::from("not yet"),
            Err(error) => format!("{error:#}"),
        };
        if start.elapsed() >= limit {
            bail!("{what}: not within {limit:?} ({last})");
        }
        std::thread::sleep(PAUSE);
    }
}

/// Lets time pass, where time itself is what a test is about (an expiry). Never to give something else time to happen.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// The clock that clients print beside what they notice: milliseconds since 1970.
pub fn now_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_millis())?)
}

/// Short beside everything that is waited for, long beside the cost of asking (one or two processes).
const PAUSE: Duration = Duration::from_millis(20);
