//! Where addresses live, and what to do with one frame.
//!
//! Owns the forwarding table and the rules by which a frame goes on or is dropped. A frame's destination MAC names its
//! slot (a few are listed with theirs), the slot its owner: nothing is learned, and nothing unicast is ever flooded. Knows no socket, key, path or clock.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod drops;
mod forward;
mod guard;
mod table;

pub use drops::DropReason;
pub use forward::Verdict;
pub use guard::{Admission, Guard, GuardConfig};
pub use table::{Arrival, Exception, Owner, Table};
