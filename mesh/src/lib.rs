//! Who is there, how to reach them, under which keys.
//!
//! A pure crate: datagrams and stream bytes come in, datagrams and stream bytes go out; time and randomness are given.
//! [`Mesh`] is one router's membership in a cluster, [`Joiner`] the way into one, [`Plan`] what the data threads
//! get of it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admission;
pub mod aead;
mod calling;
mod channel;
mod config;
mod contact;
mod digest;
mod event;
pub mod formats;
mod gate;
mod gossip;
mod handshake;
mod identity;
mod join;
mod join_secret;
mod liveness;
mod member;
mod mesh;
mod named;
mod noise;
mod path;
mod path_mtu;
mod peer;
mod peers;
pub mod plan;
mod primitives;
mod refusal;
pub mod replay;
mod rng;
mod route;
mod seekers;
mod session;
mod sponsor;
mod streams;
mod sums;
mod swim;
mod token;
mod trial;
mod view;
mod ways;

pub use admission::{AdmitError, MEMBERS_MOST};
pub use aead::Suite;
pub use config::{Config, GateLimits, PeerTimes, SessionTimes};
pub use event::{
    Alarm, Application, Carrier, Delivery, DownReason, Encounter, Event, JoinId, Origin, SecretUsed, Standing,
    StreamId, Target, Transmit,
};
pub use gossip::Topic;
pub use identity::{Credentials, Secret, cluster_id, hash_of, issue_certificate, verify};
pub use join::{Candidate, JoinError, Joined, Joiner, Progress};
pub use join_secret::{JoinSecret, SecretKind, SecretState};
pub use member::{ADDRESSES_MOST, FIRST_GENERATION, MEMBER_VERSION, Member, MemberChange, SignedAddresses};
pub use mesh::{Mesh, PAYLOAD_BYTES, RenewError, SendError};
pub use plan::Plan;
pub use primitives::Primitives;
pub use refusal::RefuseReason;
pub use route::Route;
pub use token::{ParseTokenError, Token, TokenId};
pub use view::{Counters, PeerState, PeerView};
