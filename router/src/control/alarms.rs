//! What an operator should look at: alarms of things that have happened, and troubles, which end when their cause does.
//!
//! Owns what has been told. Decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// All that is to be looked at.
#[derive(Default)]
pub(super) struct Alarms {
    /// In the order in which they were raised last.
    raised: VecDeque<(String, Instant)>,
    troubles: BTreeMap<Part, String>,
}

/// What a trouble is with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The bridge and the tap on it: without them no container has traffic.
    Bridge,
    /// What fits in one packet of the bridge and the tap.
    Mtu,
    /// The rules for what containers may send.
    Edge,
    /// The host's own rules for what is forwarded.
    HostRules,
    /// This data thread.
    Data(u8),
    /// The store: without it no address is given.
    Store,
}

/// Different alarms shown at a time, the newest; the log has all.
const ALARMS: usize = 32;

/// How long an alarm is shown after it was raised last.
const SHOWN: Duration = Duration::from_secs(3600);

impl Alarms {
    /// Tells of something that has happened.
    pub(super) fn raise(&mut self, alarm: &impl std::fmt::Display, now: Instant) {
        tracing::error!(%alarm, "alarm");
        self.withdraw(alarm);
        if self.raised.len() == ALARMS {
            self.raised.pop_front();
        }
        self.raised.push_back((alarm.to_string(), now));
    }

    /// An alarm whose cause is gone.
    pub(super) fn withdraw(&mut self, alarm: &impl std::fmt::Display) {
        let alarm = alarm.to_string();
        self.raised.retain(|(raised, _)| *raised != alarm);
    }

    /// How a part does now: its trouble, if it has one. Told when it changes.
    pub(super) fn judge(&mut self, part: Part, trouble: Option<String>) {
        if self.troubles.get(&part) == trouble.as_ref() {
            return;
        }
        match trouble {
            Some(trouble) => {
                tracing::error!(alarm = trouble, "alarm");
                self.troubles.insert(part, trouble);
            }
            None => {
                self.troubles.remove(&part);
                tracing::info!(?part, "works again");
            }
        }
    }

    /// Whether a part works, as far as is known.
    pub(super) fn works(&self, part: Part) -> bool {
        !self.troubles.contains_key(&part)
    }

    /// Everything to look at, for people.
    pub(super) fn shown(&self, now: Instant) -> impl Iterator<Item = &String> {
        let is_recent = move |at: Instant| now.saturating_duration_since(at) < SHOWN;
        let raised = self.raised.iter().filter(move |(_, at)| is_recent(*at)).map(|(alarm, _)| alarm);
        self.troubles.values().chain(raised)
    }
}

#[cfg(test)]
mod tests;
