//! The keys and paths of one data thread.
//!
//! Owns a sealer for each session it sends under and an opener for each of the peers' queues that is its own, so that
//! every counter and every replay window has one owner. Follows the plan; knows no handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh::aead::{OpenError, Opener, SealError, Sealer};
use mesh::plan::{DataSession, Hop, PeerPlan, Plan};
use wire::PeerIndex;
use wire::envelope::{Course, FAR_END_BYTES, FarEnd, HEADER_BYTES, Header, RELAY_BYTES};

/// Keys and paths, as the newest plan has them.
pub(super) struct Sessions {
    thread: u8,
    threads: u8,
    /// Sorted by the session's local index.
    keys: Vec<Keys>,
    /// At the position of each peer's index, the path to it, if there is one.
    paths: Vec<Option<Path>>,
    /// To whom others' envelopes may be passed on, sorted: those with a direct path.
    far_ends: Vec<(FarEnd, PeerIndex)>,
}

/// One session's keys, made when they are needed and kept while the plan has the session.
struct Keys {
    session: Arc<DataSession>,
    sealer: Option<Sealer>,
    /// What opens the peer's queue thread + n × threads, at position n.
    openers: Vec<Option<Ear>>,
    /// What seals the words to a relay.
    relay_sealer: Option<Sealer>,
    /// What opens the peer's, as `openers`.
    relay_openers: Vec<Option<Opener>>,
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
    /// By whom it goes, if not straight.
    relay: Option<Relay>,
}

impl Path {
    /// Bytes in front of each datagram for a relay.
    pub(super) fn outer_bytes(&self) -> usize {
        if self.relay.is_some() { RELAY_BYTES } else { 0 }
    }
}

/// What seals on a path.
pub(super) struct Sealers<'a> {
    sealer: &'a mut Sealer,
    relay: Option<RelaySealer<'a>>,
}

/// What seals the words to the relay.
struct RelaySealer<'a> {
    far_end: FarEnd,
    sealer: &'a mut Sealer,
}

impl Sealers<'_> {
    /// Seals the datagram that begins `room`, in place; for a relay, behind the words to it, for which there must be
    /// [`Path::outer_bytes`] more room. Returns how many bytes that makes.
    pub(super) fn seal(&mut self, room: &mut [u8], datagram_bytes: usize) -> Result<usize, SealError> {
        let datagram = room.get_mut(..datagram_bytes).ok_or(SealError::NoRoom)?;
        let Some(RelaySealer { far_end, sealer }) = &mut self.relay else {
            return self.sealer.seal(datagram).map(|()| datagram_bytes);
        };
        self.sealer.seal_for(Course::Relayed, datagram)?;
        let bytes = RELAY_BYTES + datagram_bytes;
        let room = room.get_mut(..bytes).ok_or(SealError::NoRoom)?;
        room.copy_within(..datagram_bytes, RELAY_BYTES);
        let words = room.first_chunk_mut::<RELAY_BYTES>().ok_or(SealError::NoRoom)?;
        words[HEADER_BYTES..HEADER_BYTES + FAR_END_BYTES].copy_from_slice(&far_end.0);
        sealer.seal(words)?;
        Ok(bytes)
    }
}

/// Where an envelope goes that we pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passing {
    pub(super) from: PeerIndex,
    pub(super) to: PeerIndex,
    pub(super) endpoint: SocketAddr,
    /// Straight to its receiver, or to one relay more.
    pub(super) course: Course,
}

/// The peer that passes a path's datagrams on.
#[derive(Debug, Clone, Copy)]
struct Relay {
    far_end: FarEnd,
    /// Where its keys are.
    position: usize,
}

/// Why an envelope was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unopened {
    /// The plan has no such session, or the peer no such queue.
    UnknownSession,
    /// To be passed on to somebody that we do not reach, or not without one relay more than there may be.
    UnknownFarEnd,
    /// The keys say no.
    Refused(OpenError),
}

impl Sessions {
    /// The sessions of thread `thread` of so many.
    pub(super) fn new(thread: u8, threads: u8) -> Self {
        Self { thread, threads: threads.max(1), keys: Vec::new(), paths: Vec::new(), far_ends: Vec::new() }
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
            let path = self.path_to(plan, peer);
            self.paths.push(path);
        }
        self.far_ends.clear();
        let known = (0u32..).zip(plan.peers.iter().zip(&self.paths)).filter(|(_, (_, path))| path.is_some());
        for (index, (peer, _)) in known {
            self.far_ends.push((FarEnd::of(peer.identity), PeerIndex(index)));
        }
        self.far_ends.sort_unstable();
    }

    fn path_to(&mut self, plan: &Plan, peer: &PeerPlan) -> Option<Path> {
        let thread = self.thread;
        let (position, keys) = self.sending_keys(peer)?;
        let session = Arc::clone(&keys.session);
        keys.sealer.get_or_insert_with(|| session.sealer(thread));
        let (endpoint, relay) = match peer.hop {
            Hop::Nowhere => return None,
            Hop::Direct(endpoint) => (endpoint, None),
            Hop::Relay(relay) => {
                let relay = plan.peer(relay)?;
                let Hop::Direct(endpoint) = relay.hop else { return None };
                let (position, keys) = self.sending_keys(relay)?;
                let session = Arc::clone(&keys.session);
                keys.relay_sealer.get_or_insert_with(|| session.relay_sealer(thread));
                (endpoint, Some(Relay { far_end: FarEnd::of(peer.identity), position }))
            }
        };
        Some(Path { endpoint, datagram_bytes: usize::from(peer.datagram_bytes), position, relay })
    }

    /// The keys to seal under for a peer, and where they are.
    fn sending_keys(&mut self, peer: &PeerPlan) -> Option<(usize, &mut Keys)> {
        let local_index = peer.send.as_ref()?.local_index;
        let position = self.keys.binary_search_by_key(&local_index, |keys| keys.session.local_index).ok()?;
        Some((position, self.keys.get_mut(position)?))
    }

    /// How many peers the plan has.
    pub(super) fn peers(&self) -> usize {
        self.paths.len()
    }

    /// The way to a peer, and what seals on it.
    pub(super) fn path(&mut self, peer: PeerIndex) -> Option<(Path, Sealers<'_>)> {
        let path = (*self.paths.get(usize::try_from(peer.0).ok()?)?)?;
        let Some(relay) = path.relay else {
            let sealer = self.keys.get_mut(path.position)?.sealer.as_mut()?;
            return Some((path, Sealers { sealer, relay: None }));
        };
        // A relay is another peer, so its keys are others.
        let [keys, relay_keys] = self.keys.get_disjoint_mut([path.position, relay.position]).ok()?;
        let words = RelaySealer { far_end: relay.far_end, sealer: relay_keys.relay_sealer.as_mut()? };
        Some((path, Sealers { sealer: keys.sealer.as_mut()?, relay: Some(words) }))
    }

    /// Opens the words in front of an envelope that we are to pass on: by whom it was sent, and where it goes. For one that goes
    /// by one relay more, `words` become those to that relay.
    pub(super) fn open_relayed(&mut self, header: &Header, words: &mut [u8; RELAY_BYTES]) -> Result<Passing, Unopened> {
        let position = self.keys.binary_search_by_key(&header.receiver, |keys| keys.session.local_index);
        let keys = position.ok().and_then(|position| self.keys.get_mut(position)).ok_or(Unopened::UnknownSession)?;
        let opener = keys.relay_opener(header.queue, self.threads).ok_or(Unopened::UnknownSession)?;
        let far_end = opener.open(words).map_err(Unopened::Refused)?;
        let far_end = FarEnd(<[u8; FAR_END_BYTES]>::try_from(&*far_end).map_err(|_| Unopened::UnknownFarEnd)?);
        let found = self.far_ends.binary_search_by_key(&far_end, |(known, _)| *known).ok();
        let (_, to) = *found.and_then(|found| self.far_ends.get(found)).ok_or(Unopened::UnknownFarEnd)?;
        let from = keys.session.peer;
        let path = usize::try_from(to.0).ok().and_then(|position| *self.paths.get(position)?);
        let Path { endpoint, relay, .. } = path.filter(|_| from != to).ok_or(Unopened::UnknownFarEnd)?;
        let Some(relay) = relay else { return Ok(Passing { from, to, endpoint, course: Course::Direct }) };
        let next = self.keys.get_mut(relay.position).filter(|next| next.session.peer != from);
        // Who has it from a relay is the last: there are no circles.
        let next = next.filter(|_| header.course == Course::Direct).and_then(|next| next.relay_sealer.as_mut());
        let sealer = next.ok_or(Unopened::UnknownFarEnd)?;
        words[HEADER_BYTES..HEADER_BYTES + FAR_END_BYTES].copy_from_slice(&relay.far_end.0);
        sealer.seal_for(Course::Relayed, words).map_err(|_| Unopened::UnknownFarEnd)?;
        Ok(Passing { from, to, endpoint, course: Course::Relayed })
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
        let says_where = is_newest && header.course == Course::Direct;
        let news = if says_where && keys.heard_from != Some(from) {
            keys.heard_from = Some(from);
            News::Address
        } else {
            News::None
        };
        Ok(Opened { peer: keys.session.peer, plaintext, news })
    }

    /// Nobody was told where the session's newest envelope came from: the next one says so again.
    pub(super) fn forget_address(&mut self, local_index: u32) {
        let position = self.keys.binary_search_by_key(&local_index, |keys| keys.session.local_index);
        if let Some(keys) = position.ok().and_then(|position| self.keys.get_mut(position)) {
            keys.heard_from = None;
        }
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

    /// What opens the words of a queue of the peer's to us as its relay.
    fn relay_opener(&mut self, queue: u8, threads: u8) -> Option<&mut Opener> {
        if queue >= self.session.remote_queues {
            return None;
        }
        let position = usize::from(queue.checked_div(threads)?);
        if self.relay_openers.len() <= position {
            self.relay_openers.resize_with(position + 1, || None);
        }
        let session = &self.session;
        Some(self.relay_openers.get_mut(position)?.get_or_insert_with(|| session.relay_opener(queue)))
    }
}

/// The keys a session had, or new ones.
fn take(old: &mut Vec<Keys>, session: &Arc<DataSession>) -> Keys {
    let is_it = |keys: &Keys| Arc::ptr_eq(&keys.session, session);
    match old.iter().position(is_it) {
        Some(position) => old.swap_remove(position),
        None => Keys {
            session: Arc::clone(session),
            sealer: None,
            openers: Vec::new(),
            relay_sealer: None,
            relay_openers: Vec::new(),
            heard_from: None,
        },
    }
}
