//! What a move costs whoever talks to the container, as an open ping saw it.
//!
//! Owns the reading of `ping -D` and the distribution. Knows nothing of what moved.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};

use crate::{cni::Container, process::Process, wait::until};

/// A ping that goes on, and when each answer came.
#[derive(Debug)]
pub struct OpenPing(Process);

/// One move as the other end of the ping saw it.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// The longest pause between two answers during the move: the engine's time included.
    pub silence: Duration,
    /// From the moment the ADD had returned to the end of that pause: what the network adds.
    pub added: Duration,
}

/// Durations in order, for people.
pub struct Distribution(Vec<Duration>);

/// The clock of the machine, which is also that of `ping -D`.
pub fn clock() -> Result<Duration> {
    Ok(SystemTime::UNIX_EPOCH.elapsed()?)
}

impl OpenPing {
    /// A thousand pings a second from a container.
    pub fn start(from: &Container, name: &str, to: &str) -> Result<Self> {
        Ok(Self(from.spawn(name, &["ping", "-D", "-i", "0.001", "-W", "1", to])?))
    }

    fn answers(&self) -> Result<Vec<Duration>> {
        let text = self.0.output()?;
        let lines = text.lines().filter(|line| line.contains("bytes from"));
        let stamps = lines.filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok());
        Ok(stamps.map(Duration::from_secs_f64).collect())
    }

    /// Waits for an answer that came after this moment.
    pub fn until_answered_after(&self, moment: Duration) -> Result<()> {
        let later = |stamps: Vec<Duration>| stamps.last().is_some_and(|last| *last > moment);
        until("the open ping is answered", WAIT, || Ok(later(self.answers()?).then_some(())))
    }

    /// What a move was like whose DEL began and whose ADD ended at these moments.
    pub fn gap(&self, stopped: Duration, started: Duration) -> Result<Gap> {
        let stamps = self.answers()?;
        // From the last answer before the DEL, which the old place goes on giving for a while, to the first after the ADD.
        let before = stamps.iter().rposition(|stamp| *stamp < stopped).context("no answer before the move")?;
        let after = stamps.iter().position(|stamp| *stamp > started).context("no answer after the move")?;
        let pauses = stamps.get(before..=after).unwrap_or_default().windows(2);
        let pause = |pair: &[Duration]| {
            let (last, first) = (pair.first()?, pair.last()?);
            Some(Gap { silence: first.saturating_sub(*last), added: first.saturating_sub(started) })
        };
        pauses.filter_map(pause).max_by_key(|gap| gap.silence).context("no pause in the answers")
    }
}

impl Distribution {
    /// Of these.
    #[must_use]
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut durations: Vec<_> = durations.into_iter().collect();
        durations.sort_unstable();
        Self(durations)
    }

    fn percent(&self, percent: usize) -> Duration {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |percent| self.percent(percent).as_secs_f64() * 1000.0;
        write!(f, "p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", ms(50), ms(90), ms(99), ms(100))
    }
}

const WAIT: Duration = Duration::from_secs(10);
