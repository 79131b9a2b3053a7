//! Why somebody may not join: the words both logs use.

use serde::{Deserialize, Serialize};
use wire::PeerName;

/// Why an applicant is refused. Numbers are its encoding: only ever extended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RefuseReason {
    /// The token is for another cluster.
    #[error("the token belongs to another cluster")]
    WrongCluster,
    /// No such token was made here.
    #[error("the token is not known here; it was withdrawn, or made on another router")]
    UnknownToken,
    /// The token has been used as often as it may.
    #[error("the token has been used already")]
    UsedToken,
    /// The token's time is over.
    #[error("the token has expired")]
    ExpiredToken,
    /// The token's id is right and its secret is not.
    #[error("the token's secret is wrong")]
    WrongToken,
    /// The password is not the cluster's.
    #[error("the password is wrong")]
    WrongPassword,
    /// This cluster is not joined by password.
    #[error("this cluster does not take a password")]
    NoPassword,
    /// The applicant's proof of identity does not hold.
    #[error("the applicant's signature does not fit its keys")]
    BadProof,
    /// Somebody else has the name.
    #[error("the name {name} is taken; choose another with --name")]
    NameTaken {
        /// The name.
        name: PeerName,
    },
    /// The identity has been revoked.
    #[error("this identity has been revoked; a new one is needed")]
    Revoked,
    /// The identity is a member with another handshake key.
    #[error("this identity is a member with another handshake key: the data directory is a copy")]
    KeyTaken,
    /// The sponsor cannot write, so it gives nothing away (invariant I10).
    #[error("the sponsor's store is read-only")]
    ReadOnly,
    /// The sponsor has no address space to give.
    #[error("no address space is left to give")]
    NoSpace,
    /// The sponsor has too much to do.
    #[error("the sponsor is busy; try again")]
    Busy,
    /// The sponsor speaks another version of the protocol.
    #[error("the sponsor reads another version of the protocol")]
    Version,
    /// The sponsor is no member any more.
    #[error("the router that was asked has been revoked itself; ask another one")]
    SponsorRevoked,
    /// The sponsor's store was restored from a copy, so it gives nothing away.
    #[error("the router that was asked gives no address: its store was restored from a copy; ask another one")]
    SponsorRolledBack,
    /// The sponsor has admitted many routers a moment ago.
    #[error(
        "the router that was asked has admitted as many as it does in four minutes; try again in {wait_s} s, or ask another \
         one"
    )]
    TooMany {
        /// When it admits again.
        wait_s: u32,
    },
    /// There is no room for one more member.
    #[error("the cluster has as many members as it can have; revoke those that are gone")]
    Full,
}
