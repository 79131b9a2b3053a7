//! Who owns which address, and which workload has it: the ledger, leases, moves and revocation.
//!
//! Decides where an address belongs, and lets nobody hear of a decision before it is durable. Knows no socket, clock, disk or
//! container: time and bytes come in as arguments, batches for the store, bytes and events go out as values.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod config;
mod dice;
mod digest;
mod directory;
mod event;
mod gathering;
mod history;
mod ipam;
mod lease;
mod ledger;
mod members;
pub mod moving;
mod names;
mod outbox;
mod parts;
mod revoke;
mod seal;
mod space;
mod store;

pub use config::{
    ANSWER, CENSUS_AFTER, Config, Counted, GOSSIP, HOLD, Hold, LOW_WATER_PERCENT, PromiseRule, Quorum, REST, Rules,
};
pub use directory::key_of;
pub use event::{Alarm, Event, Release};
pub use history::{MOVES_KEPT, Moved};
pub use ipam::{Counts, Health, Ipam, Owned, RestoreError, SnapshotError, Wakeup, adopt_snapshot, found};
pub use lease::{
    Attachment, Claim, ClaimError, FrozenWhy, Lease, LeaseKey, LeaseState, PeerLabel, Place, RequestId, Reservation,
    Share, Stickiness,
};
pub use outbox::To;
pub use revoke::{Answer, Question, RevokeError};
pub use store::{Table, Write};

#[cfg(test)]
mod exploration;
#[cfg(test)]
mod stage;
