//! What was pushed to all must be everywhere a while later, whatever was lost on its way and whoever was dead meanwhile.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use wire::{NetworkId, Slot, message::Message};

use crate::node::Node;

/// The records that were pushed lately.
#[derive(Default)]
pub(crate) struct Spread {
    pushed: VecDeque<(Instant, NetworkId, Slot)>,
    /// How many have been looked for.
    pub(crate) found: usize,
}

impl Spread {
    /// Notes what somebody tells everybody.
    pub(crate) fn note(&mut self, bytes: &[u8], now: Instant) {
        if let Ok(Message::Records(records)) = Message::parse(bytes) {
            let ranges = records.iter().map(|record| record.body.range);
            self.pushed.extend(ranges.map(|range| (now, range.network, range.start)));
        }
    }

    /// Looks for those that had their time, with everybody who lived all the while.
    pub(crate) fn check(&mut self, nodes: &[Node], now: Instant) -> Result<()> {
        while let Some(&(at, network, slot)) = self.pushed.front().filter(|(at, ..)| now - *at >= EVERYWHERE) {
            self.pushed.pop_front();
            if self.pushed.iter().any(|(_, other_network, other)| (*other_network, *other) == (network, slot)) {
                continue; // a newer one is on its way
            }
            let settled = nodes.iter().filter(|node| now - node.since >= EVERYWHERE);
            let answers: Vec<_> =
                settled.filter_map(|node| Some(node.running.as_ref()?.ipam.owner(network, slot))).collect();
            let owners: BTreeSet<_> = answers.iter().collect();
            ensure!(owners.len() <= 1, "{slot:?}, pushed {:?} ago, has the owners {owners:?}", now - at);
            // Where hardly anybody lived all the while, nobody was asked.
            self.found += usize::from(answers.len() > nodes.len() / 2);
        }
        Ok(())
    }
}

/// How long it may take.
const EVERYWHERE: Duration = Duration::from_secs(20);
