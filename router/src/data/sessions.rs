//! The keys and paths of one data thread.
//!
//! Owns a sealer for each session it sends under and an opener for each of the peers' queues that is its own, so that
//! every counter and every replay window has one owner. Follows the plan; knows no handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh::aead::{OpenError, Opener, Sealer};
use mesh::plan::{DataSession, PeerPlan, Plan};
use wire::PeerIndex;
use wire::envelope::Header;

/// Keys and paths, as the newest plan has them.
pub(super) struct Sessions {
    thread: u8,
    threads: u8,
    /// Sorted by the session's local index.
    keys: Vec<Keys>,
    /// A path at the position of its peer's index, if there is one.
    paths: Vec<Peer>,
}

/// One session's keys, made when they are needed and kept while the plan has the session.
struct Keys {
    session: Arc<DataSession>,
    sealer: Option<Sealer>,
    /// The opener of the peer's queue thread + n × threads at position n.
    openers: Vec<Option<Opener>>,
}

/// What this thread knows of one peer.
#[derive(Default)]
struct Peer {
    path: Option<Path>,
    endpoint: Option<SocketAddr>,
    /// The address last reported, so that it is reported once.
    roamed: Option<SocketAddr>,
}

/// Where a peer's datagrams go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    pub(super) endpoint: SocketAddr,
    /// The largest datagram on the path.
    pub(super) datagram_bytes: usize,
    /// Where the keys are.
    position: usize,
}

/// Why an envelope was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unopened {
    /// The plan has no such session, or the peer no such queue.
    UnknownSession,
    /// The keys say no.
    Refused(OpenError),
}

impl Sessions {
    /// The sessions of thread `thread` of so many.
    pub(super) fn new(thread: u8, threads: u8) -> Self {
        Self { thread, threads: threads.max(1), keys: Vec::new(), paths: Vec::new() }
    }

    /// Follows a new plan. Keys of sessions that are still in it stay as they are.
    pub(super) fn follow(&mut self, plan: &Plan) {
        let mut sessions: Vec<&Arc<DataSession>> =
            plan.peers.iter().flat_map(|peer| peer.receive.iter().chain(peer.send.as_ref())).collect();
        sessions.sort_by_key(|session| session.local_index);
        sessions.dedup_by_key(|session| session.local_index);
        let mut old = std::mem::take(&mut self.keys);
        self.keys = sessions.into_iter().map(|session| take(&mut old, session)).collect();
        self.paths.resize_with(plan.peers.len(), Peer::default);
        for (position, peer) in plan.peers.iter().enumerate() {
            let path = self.path_to(peer);
            if let Some(known) = self.paths.get_mut(position) {
                *known = Peer {
                    path,
                    endpoint: peer.endpoint,
                    roamed: known.roamed.filter(|_| known.endpoint == peer.endpoint),
                };
            }
        }
    }

    fn path_to(&mut self, peer: &PeerPlan) -> Option<Path> {
        let session = peer.send.as_ref()?;
        let endpoint = peer.endpoint?;
        let position = self.keys.binary_search_by_key(&session.local_index, |keys| keys.session.local_index).ok()?;
        let keys = self.keys.get_mut(position)?;
        keys.sealer.get_or_insert_with(|| session.sealer(self.thread));
        Some(Path { endpoint, datagram_bytes: usize::from(peer.datagram_bytes), position })
    }

    /// How many peers the plan has.
    pub(super) fn peers(&self) -> usize {
        self.paths.len()
    }

    /// The way to a peer, and what seals on it.
    pub(super) fn path(&mut self, peer: PeerIndex) -> Option<(Path, &mut Sealer)> {
        let path = self.paths.get(usize::try_from(peer.0).ok()?)?.path?;
        let sealer = self.keys.get_mut(path.position)?.sealer.as_mut()?;
        Some((path, sealer))
    }

    /// Opens an envelope of one of this thread's queues.
    pub(super) fn open<'a>(
        &mut self,
        header: &Header,
        datagram: &'a mut [u8],
    ) -> Result<(PeerIndex, &'a mut [u8]), Unopened> {
        let position = self.keys.binary_search_by_key(&header.receiver, |keys| keys.session.local_index);
        let keys = position.ok().and_then(|position| self.keys.get_mut(position)).ok_or(Unopened::UnknownSession)?;
        // Nobody outside the session can make us derive keys for queues the peer does not have.
        if header.queue >= keys.session.remote_queues {
            return Err(Unopened::UnknownSession);
        }
        let peer = keys.session.peer;
        let position = usize::from(header.queue / self.threads);
        if keys.openers.len() <= position {
            keys.openers.resize_with(position + 1, || None);
        }
        let opener = keys.openers.get_mut(position).ok_or(Unopened::UnknownSession)?;
        let opener = opener.get_or_insert_with(|| keys.session.opener(header.queue));
        let plaintext = opener.open(datagram).map_err(Unopened::Refused)?;
        Ok((peer, plaintext))
    }

    /// Notes where an authentic datagram came from. Whether that is news.
    pub(super) fn has_roamed(&mut self, peer: PeerIndex, from: SocketAddr) -> bool {
        let Some(known) = usize::try_from(peer.0).ok().and_then(|position| self.paths.get_mut(position)) else {
            return false;
        };
        if known.endpoint == Some(from) || known.roamed == Some(from) {
            return false;
        }
        known.roamed = Some(from);
        true
    }
}

/// The keys a session had, or new ones.
fn take(old: &mut Vec<Keys>, session: &Arc<DataSession>) -> Keys {
    let is_it = |keys: &Keys| Arc::ptr_eq(&keys.session, session);
    match old.iter().position(is_it) {
        Some(position) => old.swap_remove(position),
        None => Keys { session: Arc::clone(session), sealer: None, openers: Vec::new() },
    }
}
