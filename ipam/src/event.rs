//! What a ledger tells its router.
//!
//! Owns the words. Decides nothing.

use std::net::Ipv4Addr;

use wire::{Identity, Mac, PeerName, Range};

use crate::lease::{ClaimError, Lease, PeerLabel, RequestId};
use crate::revoke::{Question, RevokeError};

/// Something that is true and durable now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Answers `claim`.
    Claimed {
        /// The question.
        request: RequestId,
        /// The lease, or why there is none.
        result: Result<Lease, ClaimError>,
    },
    /// Answers `release` and `release_workload`.
    Released {
        /// The question.
        request: RequestId,
        /// What became of it.
        outcome: Release,
    },
    /// Answers `invite`.
    Invited {
        /// The question.
        request: RequestId,
        /// What became of it.
        outcome: wire::message::Invited,
    },
    /// Answers `grant_join`: what the joiner starts from.
    JoinGranted {
        /// The joiner.
        identity: Identity,
        /// For [`crate::adopt_snapshot`] on its side.
        snapshot: Vec<u8>,
    },
    /// Answers `revoke`.
    RevokeDone {
        /// The question.
        request: RequestId,
        /// The revoked identities, or why they are not.
        result: Result<Vec<Identity>, RevokeError>,
    },
    /// This router has promised, durably, to refuse these identities: whom they vouch for from now on is nobody.
    Refused {
        /// Who.
        identities: Vec<Identity>,
    },
    /// A member that is not refused counts these as members, of whom this router has not heard: it may have refused whoever
    /// vouched for them before their certificates came, and no revocation is decided, or carried out, without them.
    MembersNamed {
        /// Whose word that is.
        by: Identity,
        /// Who.
        identities: Vec<Identity>,
    },
    /// Another router asks to revoke some, and this is what it is answered.
    RevocationAsked {
        /// The question.
        question: Question,
    },
    /// Members revoked these identities: their handshakes and frames are to be refused.
    Revoked {
        /// Who.
        identities: Vec<Identity>,
    },
    /// This router was revoked. It gives no address any more, and its leases are fenced.
    RevokedHere,
    /// `table()` or `exceptions()` have changed.
    TableChanged,
    /// A container's slot is no longer this host's: its port is to be blocked.
    Fenced {
        /// The lease.
        lease: Lease,
    },
    /// A fenced lease's slot is this host's again: its port is to be opened.
    Unfenced {
        /// The lease.
        lease: Lease,
    },
    /// Somebody has to look.
    Alarm(Alarm),
}

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It is done.
    Done,
    /// There was nothing to release: a late or repeated release frees nothing.
    Unknown,
    /// The store cannot be written: what there was is still there, and the release has to be repeated.
    ReadOnly,
}

/// What somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// Somebody signed two records for one range and epoch. The range is quarantined, the connection stays.
    #[error("{author} gave away slots {}..{} of network {} twice; they are quarantined", range.start, range.end(), range.network)]
    Equivocation {
        /// The slots.
        range: Range,
        /// Who signed.
        author: Identity,
    },
    /// An address moved too often in too short a time.
    #[error(
        "{address}{} moved more than {} times in {} s, between {}; it stays where it is until that is {2} s ago: find out \
         who starts its workload on more than one of them",
        workload.as_ref().map_or_else(String::new, |workload| format!(" of workload {workload:?}")),
        crate::moving::MOVES_MAX, crate::moving::MOVES_WINDOW.as_secs(), listed(hosts)
    )]
    Flapping {
        /// Which.
        address: Ipv4Addr,
        /// Whose it is.
        workload: Option<String>,
        /// Who had it.
        hosts: Vec<PeerLabel>,
    },
    /// A workload was started here and elsewhere while the two hosts could not speak to one another.
    #[error(
        "workload {workload:?} runs twice: here and on {winner}, which keeps the name; stop the one here, its address \
         {address} is then given up"
    )]
    SplitName {
        /// The workload.
        workload: String,
        /// The address it has here, where it lost.
        address: Ipv4Addr,
        /// Whose the name is.
        winner: PeerLabel,
    },
    /// Two workloads have one MAC: they were started while their hosts could not know of one another.
    #[error(
        "the MAC {mac} was given to workload {here:?} here and to {there:?} on {other}; the lower address has it, start the \
         other workload with another MAC"
    )]
    SameMac {
        /// The MAC.
        mac: Mac,
        /// The workload here.
        here: String,
        /// The other workload.
        there: String,
        /// Where that one is.
        other: PeerLabel,
    },
    /// A peer's store has gone back to an earlier state.
    #[error(
        "the store of {peer} is older than what it said before: it was restored from a copy and has forgotten what it \
         promised; stop it, run 'raddle revoke {peer}', then join it again with an empty --data-dir"
    )]
    RolledBack {
        /// Whose.
        peer: PeerLabel,
    },
    /// This router's store has.
    #[error(
        "this router's store was restored from a copy: other routers know what it has forgotten, so it gives no address \
         any more; stop it, run 'raddle revoke {name}' on another router, then 'raddle join' here with an empty --data-dir"
    )]
    RolledBackHere {
        /// This router.
        name: PeerLabel,
    },
    /// Somebody asks to revoke this router.
    #[error("{asker} asks the others to revoke this router")]
    RevocationAsked {
        /// Who asks.
        asker: Identity,
        /// What it is called.
        name: Option<PeerName>,
    },
    /// Somebody says that routers were revoked, and this one, which was not asked, does not believe it.
    #[error(
        "{asker} says that {} revoked, but too few have agreed for this router to believe it; if it is so: empty the \
         --data-dir of each of them, and join it again",
        told(victims)
    )]
    RevocationDoubted {
        /// Who asked for it.
        asker: PeerLabel,
        /// Who is to be revoked.
        victims: Vec<PeerLabel>,
    },
    /// An address that is kept for ever has lost its name to another router.
    #[error(
        "{winner} has started workload {workload:?}, for which this router keeps {address} for ever; it is kept, but \
         given to nobody: 'raddle release {workload}' here gives it up"
    )]
    NameLost {
        /// The workload.
        workload: String,
        /// The address that is kept for it.
        address: Ipv4Addr,
        /// Who has the name.
        winner: PeerLabel,
    },
    /// Others keep no further line of this router's.
    #[error(
        "this router keeps the names of {} workloads, and the others remember no more: what starts under a new name here is \
         not found when it moves; 'raddle release' those that are held for ever and not to come back",
        wire::message::LINES_MAX
    )]
    DirectoryFull,
}

fn listed(hosts: &[PeerLabel]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn told(victims: &[PeerLabel]) -> String {
    let names: Vec<_> = victims.iter().map(ToString::to_string).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "was" } else { "were" })
}
