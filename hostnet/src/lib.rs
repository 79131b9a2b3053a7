//! Linux: tap queues, UDP batches, veth pairs, the bridge, network namespaces.
//!
//! Owns every system call that needs `unsafe`, one module `sys` in each file that has any. Knows nothing of ledgers,
//! peers or keys.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod announce;
pub mod bridge;
pub mod edge;
pub mod forwarding;
pub mod link;
mod netlink;
pub mod netns;
mod own_thread;
pub mod process;
pub mod ready;
pub mod route;
mod sysctl;
pub mod tap;
pub mod udp;
pub mod veth;

pub use netlink::NetlinkError;
