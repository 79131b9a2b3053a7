//! Decides how long an experiment runs: a fast subset for every change, the whole of it for `scripts/soak`.

/// How many rounds, seeds or hosts an experiment takes: `always` in every run of the tests, `soaking` under `scripts/soak`.
///
/// The environment is asked (`RADDLE_SOAK=1`) because the test runner passes no arguments on.
#[must_use]
pub fn rounds(always: usize, soaking: usize) -> usize {
    if std::env::var_os("RADDLE_SOAK").is_some_and(|value| value == "1") { soaking } else { always }
}
