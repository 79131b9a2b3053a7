//! Bytes ⇄ values: every format that leaves a router or reaches its disk.
//!
//! Decides what a thing looks like, never what is done about it. Knows no socket, clock, key or peer.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod chunk;
pub mod envelope;
pub mod frame;
mod id;
pub mod message;
mod network;
mod record;

pub use id::{
    ClusterId, Epoch, Hash, Identity, Mac, NetworkId, ParseHexError, PeerIndex, PeerName, PeerNameError, Slot,
};
pub use network::{Network, NetworkError, Pool, Pool6};
pub use record::{
    Addresses, CERTIFICATE_VERSION, Certificate, DecodeError, GENESIS_VERSION, Genesis, Homecoming, RECORD_VERSION,
    Range, Record, RecordBody, Signature, Title, Verify, decode, encode,
};
