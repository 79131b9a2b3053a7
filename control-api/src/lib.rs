#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! The words between the router and its clients, and the blocking client that speaks them.
//!
//! Owns what goes over the control socket: one JSON request a line, one JSON reply a line, each of bounded length.
//! Field names are an interface: they are only ever added to. Knows nothing of what the router does to answer.
//!
//! ```text
//!   {"verb":"token-create","ttl_s":3600,"uses":1}                                       client → router
//!   {"ok":{"token":"…","expires_s":3600,"uses":1}}                                      router → client
//!   {"error":{"code":"exhausted","message":"…","remedy":"…"}}                           … or this
//! ```

pub mod client;
pub mod lines;
pub mod prefix;
pub mod server;
pub mod spool;
pub mod words;

pub use client::{Client, ClientError};
pub use prefix::{Prefixed, PrefixedError};
pub use words::*;

/// Where the router listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/raddle/control.sock";

/// Where the router keeps its keys, its ledger and the spool unless it is told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/raddle";
