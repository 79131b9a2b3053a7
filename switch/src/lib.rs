//! Where addresses live, and what to do with one frame.
//!
//! Owns the forwarding table and the rules by which a frame goes on or is dropped. A frame's destination MAC names its
//! slot (a few are listed with theirs), the slot its owner: nothing is learned, and nothing unicast is ever flooded. Knows no socket, key, path or clock.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod broadcast_limit;
mod drops;
mod forward;
mod table;

pub use broadcast_limit::{Allowance, BroadcastLimit, BroadcastRate};
pub use drops::DropReason;
pub use forward::Verdict;
pub use table::{Arrival, Exception, Owner, Table};
