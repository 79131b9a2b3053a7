//! Decides how long an experiment runs: a fast subset for every change, the whole of it for `scripts/soak`, or a part. And
//! whether what it measured is judged.

use std::fmt::Debug;

use anyhow::{Result, ensure};

/// How many rounds or seeds an experiment takes: `always` in every run of the tests, `soaking` under `scripts/soak`.
/// The environment is asked (`RADDLE_SOAK=1`, or `1/8` for an eighth of the rounds, but `always` at least) because the test
/// runner passes no arguments on.
#[must_use]
pub fn rounds(always: usize, soaking: usize) -> usize {
    part().map_or(always, |part| (soaking / part).max(always))
}

/// How large an experiment is: the same in every part of a soak.
#[must_use]
pub fn size(always: usize, soaking: usize) -> usize {
    part().map_or(always, |_| soaking)
}

/// Fails where more was measured than was promised. Only under `scripts/soak`, which has the machine to itself: elsewhere a
/// figure says as much of what runs beside it.
pub fn promised<T: PartialOrd + Debug>(what: &str, measured: T, most: T) -> Result<()> {
    ensure!(part().is_none() || measured <= most, "{what}: {measured:?}, and {most:?} at most are promised");
    Ok(())
}

/// Into how many parts the whole is cut, of which this is one.
fn part() -> Option<usize> {
    let value = std::env::var("RADDLE_SOAK").ok()?;
    let part = if value == "1" { "1" } else { value.strip_prefix("1/")? };
    part.parse().ok().filter(|part| *part > 0)
}
