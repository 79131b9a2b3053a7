//! What a data thread lost, and why.
//!
//! Owns one counter for each reason. The thread counts, control reads: relaxed atomics, each with one writer.

use std::sync::atomic::{AtomicU64, Ordering};

use switch::DropReason;

/// Declares the losses once: the enum, the list of all, and their names.
macro_rules! losses {
    ($($(#[$doc:meta])* $loss:ident = $name:literal,)*) => {
        /// Why something was lost that the switch did not drop.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Loss {
            $($(#[$doc])* $loss,)*
        }

        impl Loss {
            const NAMES: [&str; [$($name),*].len()] = [$($name),*];
        }
    };
}

losses! {
    /// No session with the peer, or nowhere to send to.
    NoSession = "no-session",
    /// The session's key may seal no more.
    KeyExhausted = "key-exhausted",
    /// The kernel's offload fields do not fit the frame, or would make far more of it than it is.
    Offload = "offload",
    /// Larger than the interface to the underlay takes.
    TooLarge = "too-large",
    /// The kernel did not take the datagram: no route, no room.
    Refused = "send-refused",
    /// A datagram that is nothing we read.
    Unreadable = "malformed-datagram",
    /// An envelope of a session that is not or no longer known.
    UnknownSession = "unknown-session",
    /// An envelope that is to be passed on to somebody that is not reached directly, or is none that is passed on.
    Unrelayed = "not-relayed",
    /// An envelope that was seen before or is too old.
    Replayed = "replayed",
    /// An envelope that does not authenticate.
    Forged = "forged",
    /// The plaintext is not a sequence of chunks.
    Chunk = "malformed-chunk",
    /// A frame in pieces of which one is missing.
    Pieces = "pieces-incomplete",
    /// The bridge takes frames slower than they come.
    TapFull = "tap-full",
    /// The kernel refused a frame for the bridge.
    TapRefused = "tap-refused",
    /// Control is behind with the reports.
    ReportsFull = "reports-full",
    /// Another thread is behind with the datagrams handed to it.
    StraysFull = "strays-full",
}

/// The counters of one thread.
#[derive(Default)]
pub(super) struct Counters {
    drops: [AtomicU64; DropReason::ALL.len()],
    losses: [AtomicU64; Loss::NAMES.len()],
}

impl Counters {
    pub(super) fn drop_frame(&self, reason: DropReason) {
        add(self.drops.get(reason as usize), 1);
    }

    pub(super) fn lose(&self, loss: Loss, how_many: u64) {
        add(self.losses.get(loss as usize), how_many);
    }
}

fn add(counter: Option<&AtomicU64>, how_many: u64) {
    if let Some(counter) = counter {
        // One writer: no read-modify-write needed.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(how_many), Ordering::Relaxed);
    }
}

/// Every reason with its sum over all threads.
pub(super) fn sums<'a>(threads: impl Iterator<Item = &'a Counters> + Clone) -> Vec<(&'static str, u64)> {
    let sum = |of: &dyn Fn(&Counters) -> Option<&AtomicU64>| -> u64 {
        threads.clone().filter_map(|counters| of(counters).map(|counter| counter.load(Ordering::Relaxed))).sum()
    };
    let drops =
        DropReason::ALL.iter().map(|&reason| (reason.name(), sum(&|counters| counters.drops.get(reason as usize))));
    let losses = Loss::NAMES.iter().enumerate().map(|(at, &name)| (name, sum(&|counters| counters.losses.get(at))));
    drops.chain(losses).collect()
}
