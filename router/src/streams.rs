//! TCP streams: the carrier for what must arrive whole and in order.
//!
//! Owns the sockets and a bounded queue to each. Knows nothing of what flows: that a stream belongs to a peer is known
//! only to the mesh, and only after the first envelope on it has opened.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh::Target;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

/// What happened on a stream.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// Somebody dialled us.
    Accepted { stream: u64, socket: TcpStream, from: SocketAddr },
    /// The call we made went through.
    Dialled { stream: u64, socket: TcpStream, target: Target },
    /// It did not.
    NotDialled { target: Target },
    /// Bytes came in.
    Bytes { stream: u64, bytes: Vec<u8> },
    /// It ended, from whichever side.
    Closed { stream: u64 },
}

/// All streams of this router.
pub(crate) struct Streams {
    events: mpsc::Sender<StreamEvent>,
    open: BTreeMap<u64, Open>,
    /// To be closed when what was said before is queued.
    closing: Vec<u64>,
    next: u64,
}

/// A stream in use.
struct Open {
    queue: mpsc::Sender<Vec<u8>>,
    /// Bytes in the queue, and those that are being written.
    queued_bytes: Arc<AtomicUsize>,
    reader: AbortHandle,
    writer: JoinHandle<io::Result<()>>,
}

/// What is said on a stream: how much of it may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// With a member, or with a stranger before it is one.
    Talk,
    /// All that the cluster knows, to whoever was let in.
    Grant,
}

impl Streams {
    /// No streams yet; what happens to them will be sent to `events`.
    pub(crate) fn new(events: mpsc::Sender<StreamEvent>) -> Self {
        // Accepted streams have odd numbers, dialled ones even: the two counters never meet.
        Self { events, open: BTreeMap::new(), closing: Vec::new(), next: 0 }
    }

    /// Accepts for ever. Which streams may stay is for the mesh to say.
    pub(crate) async fn accept(listener: TcpListener, events: mpsc::Sender<StreamEvent>) {
        // Inherited by every stream, and said to the other side in its handshake.
        if let Err(error) = SockRef::from(&listener).set_tcp_mss(SEGMENT_BYTES) {
            tracing::warn!(%error, "streams send segments of any size: a narrow path that says nothing may swallow them");
        }
        let mut stream = 1;
        loop {
            match listener.accept().await {
                Ok((socket, from)) => {
                    if events.send(StreamEvent::Accepted { stream, socket, from }).await.is_err() {
                        return;
                    }
                    stream += 2;
                }
                Err(error) => {
                    tracing::warn!(%error, "the TCP listener did not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Starts a call.
    pub(crate) fn dial(&mut self, target: Target, address: SocketAddr) {
        self.next += 2;
        let stream = self.next;
        let events = self.events.clone();
        tokio::spawn(async move {
            let event = match timeout(DIAL, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => StreamEvent::Dialled { stream, socket, target },
                Ok(Err(_)) | Err(_) => StreamEvent::NotDialled { target },
            };
            let _ = events.send(event).await;
        });
    }

    /// Starts reading and writing.
    pub(crate) fn open(&mut self, stream: u64, socket: TcpStream) {
        if let Err(error) = tune(&socket) {
            tracing::warn!(%error, "a stream keeps the system's times: a peer that vanishes may be noticed late");
        }
        let (reader, writer) = socket.into_split();
        let (queue, queued) = mpsc::channel(QUEUE);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let writer = tokio::spawn(write(writer, queued, Arc::clone(&queued_bytes)));
        let reader = tokio::spawn(read(stream, reader, self.events.clone())).abort_handle();
        self.open.insert(stream, Open { queue, queued_bytes, reader, writer });
    }

    /// Queues bytes. A stream whose queue is full is cut, with all that waits: what it owed is repaired by the next exchange of
    /// digests.
    pub(crate) fn send(&mut self, stream: u64, speech: Speech, bytes: Vec<u8>) -> Sent {
        let Some(open) = self.open.get(&stream) else { return Sent::Closed };
        let length = bytes.len();
        let waiting = open.queued_bytes.fetch_add(length, Ordering::Relaxed) + length;
        if waiting <= speech.most_bytes() && open.queue.try_send(bytes).is_ok() {
            return Sent::Queued;
        }
        if let Some(open) = self.open.remove(&stream) {
            open.reader.abort();
            open.writer.abort();
        }
        Sent::Closed
    }

    /// Has a stream closed by [`Self::close_due`], when what was said before goodbye has been sent.
    pub(crate) fn close_soon(&mut self, stream: u64) {
        self.closing.push(stream);
    }

    /// Closes the streams that are to be closed.
    pub(crate) fn close_due(&mut self) {
        for stream in std::mem::take(&mut self.closing) {
            self.close(stream);
        }
    }

    /// Ends a stream after what is queued, if the far side takes it in reasonable time, and reads no more. No event follows.
    pub(crate) fn close(&mut self, stream: u64) {
        // Without its queue the writer ends after what is in it.
        if let Some(Open { queue: _, queued_bytes, reader, mut writer }) = self.open.remove(&stream) {
            reader.abort();
            let patience = farewell(queued_bytes.load(Ordering::Relaxed));
            tokio::spawn(async move {
                if timeout(patience, &mut writer).await.is_err() {
                    writer.abort();
                }
            });
        }
    }
}

impl Speech {
    fn most_bytes(self) -> usize {
        match self {
            Self::Talk => TALK_BYTES,
            Self::Grant => GRANT_BYTES,
        }
    }
}

/// How long what is queued may take after a goodbye.
fn farewell(queued_bytes: usize) -> Duration {
    let slowest = u64::try_from(queued_bytes / SLOWEST_BYTES).map_or(LONGEST_GRANT, Duration::from_secs);
    FAREWELL.saturating_add(slowest).min(LONGEST_GRANT)
}

/// What became of bytes given to [`Streams::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Queued,
    Closed,
}

/// Sends at once, and ends the stream when the far side has taken nothing for [`SILENCE`] (RFC 5482): the kernel's own time is
/// a quarter of an hour, in which a host that has changed its address, or a firewall that has forgotten the stream, would
/// swallow all that is said. While nothing is said the far side is asked seldom (RFC 9293 section 3.8.4): there is a stream to
/// every peer.
fn tune(socket: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(SILENCE / 4).with_retries(2))?;
    socket.set_tcp_user_timeout(Some(SILENCE))
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut queued: mpsc::Receiver<Vec<u8>>,
    queued_bytes: Arc<AtomicUsize>,
) -> io::Result<()> {
    while let Some(bytes) = queued.recv().await {
        // Whoever takes nothing for so long is gone, or means harm.
        timeout(WRITE, writer.write_all(&bytes)).await??;
        queued_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
    writer.shutdown().await
}

async fn read(stream: u64, mut reader: OwnedReadHalf, events: mpsc::Sender<StreamEvent>) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if events.send(StreamEvent::Bytes { stream, bytes }).await.is_err() {
            return;
        }
    }
    let _ = events.send(StreamEvent::Closed { stream }).await;
}

/// A host that is there answers within a few round trips; one that is not is tried again later.
const DIAL: Duration = Duration::from_secs(3);
/// The largest segment, either way (RFC 9293 section 3.7.1): with headers no more than an IPv6 path must carry, and the
/// smallest datagram of the mesh. Streams say little; a path that is narrow and silent is no reason to lose them.
const SEGMENT_BYTES: u32 = 1180;
/// Longer than any loss that a stream survives usefully; the mesh calls a peer silent after half of it.
const SILENCE: Duration = Duration::from_secs(20);
/// A stream that says nothing loses nothing. Asked every ten seconds, fifty peers cost more than all that their routers say.
const IDLE: Duration = Duration::from_secs(1800);
/// A megabyte passes any link worth having in less.
const WRITE: Duration = Duration::from_secs(30);
/// As long as a joiner waits for the next bytes of its answer.
const FAREWELL: Duration = Duration::from_secs(30);
/// Whoever takes less in a second is gone, or means harm.
const SLOWEST_BYTES: usize = 32 << 10;
/// All that the largest cluster knows, over a link worth having: a joiner listens for no longer.
pub(crate) const LONGEST_GRANT: Duration = Duration::from_secs(1800);
/// Messages waiting for one peer; a snapshot is sent in far fewer.
const QUEUE: usize = 1024;
/// Twice what the mesh keeps for a peer until it has a stream, so that all of that may wait here too.
const TALK_BYTES: usize = 16 << 20;
/// What a joiner takes (256 MiB), with its envelopes.
const GRANT_BYTES: usize = 257 << 20;
/// One read of the socket.
const READ_BYTES: usize = 64 * 1024;
/// Out of file descriptors passes; spinning on it does not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
