//! Decides how long an experiment runs: a fast subset for every change, the whole of it for `scripts/soak`, or a part.

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

/// Into how many parts the whole is cut, of which this is one.
fn part() -> Option<usize> {
    let value = std::env::var("RADDLE_SOAK").ok()?;
    let part = if value == "1" { "1" } else { value.strip_prefix("1/")? };
    part.parse().ok().filter(|part| *part > 0)
}
