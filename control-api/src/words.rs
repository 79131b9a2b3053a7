//! Requests, replies and errors.
//!
//! Owns the names on the wire. Knows nothing of who sends them.

mod history;
mod lease;
mod moved;
mod view;

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use history::{MoveReason, MoveView, Moves};
pub use lease::{
    Attachment, AttachmentId, Collected, CollectedAttachment, DEFAULT_NETWORK, GcRequest, Lease, LeaseRequest,
    OwnerKind,
};
pub use moved::{MoveState, Moved};
pub use view::{
    Container, Containers, Health, LeaseState, LeaseView, Leases, PathKind, Peer, PeerCounts, PeerState, Peers,
    SlotCounts, Status, StoreState,
};

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Request {
    /// How the router is: answered by [`Status`].
    Status,
    /// Who it knows: answered by [`Peers`].
    Peers,
    /// Which containers are attached here: answered by [`Containers`].
    Ps,
    /// Which leases it knows: answered by [`Leases`].
    Leases,
    /// Which moves it has heard of: answered by [`Moves`].
    Moves,
    /// A new join token: answered by [`TokenCreated`].
    TokenCreate {
        /// For how long it can be used, in seconds.
        ttl_s: u64,
        /// How often it can be used.
        uses: u32,
    },
    /// Which join tokens it made: answered by [`Tokens`].
    TokenList,
    /// A join token is good for nothing any more: answered by [`Done`].
    TokenWithdraw {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// A new handshake key for the router: answered by [`Renewed`].
    Renew,
    /// An address for a container: answered by [`Lease`]. Repeated for the same attachment, the same lease.
    Lease(LeaseRequest),
    /// The attachment is gone: answered by [`Done`], also when nothing was there.
    Release(Attachment),
    /// Whether the attachment still has its lease: answered by [`Lease`], or an error of kind `unknown`.
    Check(Attachment),
    /// Drops what a runtime no longer knows: answered by [`Collected`].
    Gc(GcRequest),
    /// Whether such a lease would be given: answered by [`Done`], or an error that says why not.
    Ready {
        /// The raddle network.
        #[serde(default = "lease::default_network")]
        network: String,
        /// Whether what the container sends beyond its network is to leave under the host's address.
        #[serde(default)]
        masquerade: bool,
    },
    /// Also tries these addresses, and keeps trying after a restart: answered by [`Done`].
    Connect {
        /// Underlay addresses: `host`, `host:port`, `[v6]:port`.
        addresses: Vec<String>,
    },
    /// No longer tries these addresses: answered by [`Done`]. Connected peers stay.
    Forget {
        /// As they were given to `connect`.
        addresses: Vec<String>,
    },
    /// Takes everything from routers that are gone for good: answered by [`Revoked`].
    Revoke {
        /// Names or identities.
        names: Vec<String>,
        /// Also those whom these let in, directly or through others, and who are not connected.
        #[serde(default)]
        with_admitted: bool,
    },
    /// Keeps an address for a workload before its first start: answered by [`Lease`].
    Reserve {
        /// The raddle network.
        network: String,
        /// The workload key.
        workload: String,
        /// The interface inside its container.
        ifname: String,
        /// This address and no other.
        #[serde(default)]
        address: Option<Ipv4Addr>,
    },
    /// Takes a workload's address to a router, for its next start there: answered by [`Moved`].
    Move {
        /// The raddle network.
        network: String,
        /// The workload key.
        workload: String,
        /// The interface inside its container.
        ifname: String,
        /// The router's name or identity.
        to: String,
        /// Whether a container that still has it is cut off.
        #[serde(default)]
        take_over: bool,
    },
    /// Calls a move off that waits for its workload to stop: answered by [`Done`].
    CancelMove {
        /// The raddle network.
        network: String,
        /// The workload key.
        workload: String,
        /// The interface inside its container.
        ifname: String,
    },
    /// Gives up a held address before its time: answered by [`Done`].
    ReleaseWorkload {
        /// The raddle network.
        network: String,
        /// The workload key.
        workload: String,
    },
}

/// One line back: `{"ok": …}` or `{"error": …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    /// It was done; here is the answer.
    Ok(T),
    /// It was not done.
    Error(ApiError),
}

/// Any answer, for the router. A client knows which one its request has.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "each variant is named after the struct it holds")]
pub enum Answer {
    Status(Box<Status>),
    Peers(Peers),
    Containers(Containers),
    Leases(Leases),
    Moves(Moves),
    TokenCreated(TokenCreated),
    Tokens(Tokens),
    Lease(Box<Lease>),
    Collected(Collected),
    Revoked(Revoked),
    Renewed(Renewed),
    Moved(Moved),
    Done(Done),
}

/// Nothing to say but that it was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// A join token. It is a secret: whoever has it can join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCreated {
    /// What to give to `raddle join`.
    pub token: String,
    /// In how many seconds it expires.
    pub expires_s: u64,
    /// How many routers it admits.
    pub uses: u32,
    /// What it is called by: not secret.
    pub id: String,
}

/// The answer of `token-list`. No secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The tokens that this router made, in no order.
    pub tokens: Vec<TokenView>,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// What it is called by.
    pub id: String,
    /// What it is worth.
    pub state: TokenState,
    /// How many routers it still admits.
    pub uses: u32,
    /// In how many seconds it expires; 0 when it has.
    pub expires_s: u64,
}

/// What a token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenState {
    /// Whoever has it can join.
    Live,
    /// It has admitted as many as it may.
    Used,
    /// Its time is over.
    Expired,
    /// A state that a newer router knows.
    #[serde(other)]
    Unknown,
}

impl fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCreated")
            .field("expires_s", &self.expires_s)
            .field("uses", &self.uses)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The router has a new handshake key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The generation of its certificate: 1, and one more with every renewal.
    pub generation: u32,
    /// Routers that are not connected: they learn of it when they are, as long as they have not renewed theirs meanwhile.
    pub away: Vec<String>,
}

/// A revocation that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The names whose addresses have passed on.
    pub revoked: Vec<String>,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure it is.
    pub code: ErrorKind,
    /// One sentence for a person, naming the operand.
    pub message: String,
    /// What to do about it, if anything can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl ApiError {
    /// An error without a remedy.
    pub fn new(code: ErrorKind, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// The kinds of failure a client tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Not yet: an answer from a peer is missing, or the router is starting. The same request may succeed later.
    TryAgain,
    /// The workload or address is in use on another host, which the message names. It may be free later.
    Held,
    /// The address wanted belongs to something else for good.
    Taken,
    /// No address is left, here or from any peer.
    Exhausted,
    /// The container already has an interface of that name.
    Duplicate,
    /// The request itself is wrong.
    Invalid,
    /// There is no such thing.
    Unknown,
    /// The store cannot be written, so nothing new is given out.
    ReadOnly,
    /// The router runs but cannot give leases: none are left, or it was revoked.
    NotReady,
    /// It cannot, and containers that are attached suffer too: its bridge or its tap is not there.
    Impaired,
    /// The router's own fault, or a kind that a newer router knows.
    #[serde(other)]
    Internal,
}

impl ErrorKind {
    /// As it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TryAgain => "try-again",
            Self::Held => "held",
            Self::Taken => "taken",
            Self::Exhausted => "exhausted",
            Self::Duplicate => "duplicate",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
            Self::ReadOnly => "read-only",
            Self::NotReady => "not-ready",
            Self::Impaired => "impaired",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests;
