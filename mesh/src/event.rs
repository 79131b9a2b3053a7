//! What a mesh tells its owner and asks of it.
//!
//! Owns the words of `poll_event` and `poll_transmit`. Decides nothing.

use std::net::SocketAddr;

use wire::{Addresses, ClusterId, Identity, PeerIndex, PeerName};

use crate::gossip::Topic;
use crate::member::{Member, MemberChange};
use crate::refusal::RefuseReason;
use crate::route::Route;
use crate::token::TokenId;

/// Bytes for the underlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// What carries them.
    pub carrier: Carrier,
    /// A whole datagram; or bytes to be written to the stream as they are (their length is already in front of them).
    pub bytes: Vec<u8>,
}

/// What carries a control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// A UDP datagram to this address.
    Datagram(SocketAddr),
    /// A TCP stream. Its owner bounds what waits for it, and closes it when that is too much.
    Stream(StreamId),
}

/// A TCP stream, numbered by the owner of the sockets; a number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// An applicant waiting for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JoinId(pub u64);

/// How something came, or an answer to it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// As a datagram from this address.
    Datagram(SocketAddr),
    /// On a stream.
    Stream(StreamId),
    /// From this neighbour, which passed it on.
    Relay(Identity),
}

/// Who began a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// We, because [`Event::OpenStream`] asked for it.
    Dialed(Target),
    /// Somebody came from this address.
    Accepted(SocketAddr),
}

/// Whom a stream is dialled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A peer.
    Peer(Identity),
    /// Whoever is at an address that an operator named: it is asked which cluster it is of.
    Address(SocketAddr),
}

/// What may happen to a message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// Over a stream, in order. Lost only with the stream, with a full queue, or with the peer.
    Reliable,
    /// A datagram if it fits one: may be lost, doubled or late.
    Lossy,
    /// Both, if it fits a datagram: what is to arrive surely and, most of the time, without waiting for a retransmission. It
    /// may come twice.
    Swift,
}

/// What happened, or is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session with the peer is in use.
    PeerUp {
        /// Which peer.
        peer: Identity,
        /// Its place in the plan.
        index: PeerIndex,
        /// How it is reached.
        route: Route,
    },
    /// Datagrams for the peer go another way from now on.
    RouteChanged {
        /// Which peer.
        peer: Identity,
        /// How it is reached.
        route: Route,
    },
    /// The peer is silent or has restarted (then [`Event::PeerUp`] follows). Ownership of nothing changes (invariant I5).
    PeerDown {
        /// Which peer.
        peer: Identity,
        /// Why.
        reason: DownReason,
    },
    /// A revoked member has called and may not know that it is one: send it the proof. Nothing else goes to it, and nothing
    /// of what it says is heard.
    RevokedCalled {
        /// Which one.
        peer: Identity,
    },
    /// A member is new, or its certificate or addresses are: write it down, hand it to [`Mesh::new`](crate::Mesh::new) again.
    MemberAdmitted {
        /// The member as it is from now on.
        member: Box<Member>,
        /// Whether it was known.
        change: MemberChange,
    },
    /// A peer sent this.
    Message {
        /// Who sent it.
        from: Identity,
        /// What it is about.
        topic: Topic,
        /// What it says.
        payload: Vec<u8>,
    },
    /// Dial this address over TCP, then call `handle_stream_opened` with [`Origin::Dialed`], or `handle_dial_failed`.
    OpenStream {
        /// Whom the stream is for.
        target: Target,
        /// Where it listens.
        address: SocketAddr,
    },
    /// Close the stream when what was given for it has been written. No `handle_stream_closed` is needed.
    CloseStream {
        /// Which stream.
        stream: StreamId,
    },
    /// [`Mesh::plan`](crate::Mesh::plan) gives a newer plan.
    PlanChanged,
    /// Somebody proved to know a secret and wants to be a member: `certify_join`, write that and the use of
    /// the secret down, then `admit_join` and `answer_join`.
    JoinRequested(Box<Application>),
    /// Somebody wanted to join and was refused: for the log.
    JoinRefused {
        /// Where the attempt came from.
        from: SocketAddr,
        /// Why.
        reason: RefuseReason,
    },
    /// A router says that it is of another cluster: for the log. Anybody can say so, and nothing else follows from it.
    Stranger {
        /// Where it is.
        address: SocketAddr,
        /// How we met.
        encounter: Encounter,
    },
    /// Something an operator must know.
    Alarm(Alarm),
}

/// How a router of another cluster was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encounter {
    /// An operator named its address here, and it was asked.
    Named {
        /// The cluster it says it is of.
        cluster: ClusterId,
    },
    /// It asked us: somebody named our address there.
    Caller,
}

/// Why a peer is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// Nothing has been heard for too long.
    Silent,
    /// It has begun anew: what it was told and did not write down is gone.
    Restarted,
    /// It is no member any more.
    Revoked,
    /// This router is no member any more.
    RevokedHere,
}

/// An applicant, as far as the handshake proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Names the applicant in the answer.
    pub join: JoinId,
    /// Where it came from.
    pub from: SocketAddr,
    /// What it wants to be called.
    pub name: PeerName,
    /// Its signing key: proven.
    pub identity: Identity,
    /// Its handshake key: proven.
    pub noise_key: [u8; 32],
    /// The secret it knew.
    pub secret: SecretUsed,
    /// Whether it is a member already.
    pub standing: Standing,
    /// Where it says it listens.
    pub addresses: Addresses,
}

/// What an applicant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Not a member yet.
    Newcomer,
    /// A member whose answer was lost: certify and answer again, and use up nothing.
    Member,
}

/// How an applicant proved that it may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretUsed {
    /// The cluster's password.
    Password,
    /// A token.
    Token(TokenId),
}

/// What an operator must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// Two members have one name: each was admitted where the other was not known.
    NameTaken {
        /// The name.
        name: PeerName,
        /// Who has it here.
        holder: Identity,
        /// Who has it too.
        claimant: Identity,
    },
    /// There is a newer certificate of this router's with a key that is not its own: somebody else has its signing key.
    Impersonated,
}
