//! Times as people write and read them: `1h30m`.
//!
//! Owns the units. Knows nothing of what is timed.

use std::time::Duration;

/// Reads `90s`, `10m`, `1h30m`, `2d`; each unit at most once, the larger first.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError { text: text.chars().take(80).collect() };
    let mut total: u64 = 0;
    let mut rest = text;
    for (letter, seconds) in UNITS {
        let Some((count, after)) = rest.split_once(letter) else { continue };
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let count: u64 = count.parse().map_err(|_| wrong())?;
        total = count.checked_mul(seconds).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if !rest.is_empty() || total == 0 || total > LONGEST_S {
        return Err(wrong());
    }
    Ok(Duration::from_secs(total))
}

/// The two largest units that are not nothing: `3h 12m`.
pub(super) fn readable(seconds: u64) -> String {
    let mut rest = seconds;
    let parts = UNITS.map(|(letter, unit)| {
        let count = rest / unit;
        rest %= unit;
        (count, letter)
    });
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    let shown = parts.iter().skip(first).take(2).enumerate().filter(|(at, (count, _))| *at == 0 || *count > 0);
    shown.map(|(_, (count, letter))| format!("{count}{letter}")).collect::<Vec<_>>().join(" ")
}

/// Text that is not a duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration from 1s to 3650d, such as 90s, 10m, 1h30m or 2d")]
pub(super) struct DurationError {
    text: String,
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// Ten years: nothing that expires is meant to last longer, and sums of it stay far from any overflow.
const LONGEST_S: u64 = 3650 * 86_400;

#[cfg(test)]
mod tests;
