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
    /// At the position of each peer's index, the path to it, if there is one.
    paths: Vec<Option<Path>>,
}

/// One session's keys, made when they are needed and kept while the plan has the session.
struct Keys {
    session: Arc<DataSession>,
    sealer: Option<Sealer>,
    /// What opens the peer's queue thread + n × threads, at position n.
    openers: Vec<Option<Ear>>,
    /// Where its newest envelope came from.
    heard_from: Option<SocketAddr>,
}

/// What opens one queue of the peer's.
struct Ear {
    opener: Opener,
    /// One more than the greatest counter that was opened.
    next: u64,
}

/// An envelope that was opened.
pub(super) struct Opened<'a> {
    pub(super) peer: PeerIndex,
    pub(super) plaintext: &'a mut [u8],
    pub(super) news: News,
}

/// Whether an envelope says something about where its peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is the newest of its queue, and those of its session before came from elsewhere, or there were none.
    Address,
    /// Nothing that is not known.
    None,
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
        self.paths.clear();
        for peer in &plan.peers {
            let path = self.path_to(peer);
            self.paths.push(path);
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
        let path = (*self.paths.get(usize::try_from(peer.0).ok()?)?)?;
        let sealer = self.keys.get_mut(path.position)?.sealer.as_mut()?;
        Some((path, sealer))
    }

    /// Opens an envelope of one of this thread's queues.
    pub(super) fn open<'a>(
        &mut self,
        from: SocketAddr,
        header: &Header,
        datagram: &'a mut [u8],
    ) -> Result<Opened<'a>, Unopened> {
        let position = self.keys.binary_search_by_key(&header.receiver, |keys| keys.session.local_index);
        let keys = position.ok().and_then(|position| self.keys.get_mut(position)).ok_or(Unopened::UnknownSession)?;
        let ear = keys.ear(header.queue, self.threads).ok_or(Unopened::UnknownSession)?;
        let plaintext = ear.opener.open(datagram).map_err(Unopened::Refused)?;
        let is_newest = header.counter >= ear.next;
        ear.next = ear.next.max(header.counter.saturating_add(1));
        // A late datagram says where the peer was.
        let news = if is_newest && keys.heard_from != Some(from) {
            keys.heard_from = Some(from);
            News::Address
        } else {
            News::None
        };
        Ok(Opened { peer: keys.session.peer, plaintext, news })
    }
}

impl Keys {
    /// What opens a queue of the peer's, if the peer has that queue: nobody outside the session can make us derive keys
    /// for others.
    fn ear(&mut self, queue: u8, threads: u8) -> Option<&mut Ear> {
        if queue >= self.session.remote_queues {
            return None;
        }
        let position = usize::from(queue.checked_div(threads)?);
        if self.openers.len() <= position {
            self.openers.resize_with(position + 1, || None);
        }
        let session = &self.session;
        Some(self.openers.get_mut(position)?.get_or_insert_with(|| Ear { opener: session.opener(queue), next: 0 }))
    }
}

/// The keys a session had, or new ones.
fn take(old: &mut Vec<Keys>, session: &Arc<DataSession>) -> Keys {
    let is_it = |keys: &Keys| Arc::ptr_eq(&keys.session, session);
    match old.iter().position(is_it) {
        Some(position) => old.swap_remove(position),
        None => Keys { session: Arc::clone(session), sealer: None, openers: Vec::new(), heard_from: None },
    }
}
