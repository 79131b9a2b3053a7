//! The blocking client: one line out, one line back, each within the time it was given.
//!
//! Owns the connection. Knows nothing of what is done with an answer.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::lines::Lines;
use crate::server::{LONGEST_REPLY, LONGEST_REQUEST};
use crate::words::{
    ApiError, Attachment, Collected, Containers, Done, GcRequest, Lease, LeaseRequest, Leases, Moved, Moves, Peers,
    Renewed, Reply, Request, Revoked, Status, TokenCreated, Tokens,
};

/// A conversation with a router.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// Connects to the router behind `socket`. Connecting, and every call after it, may take `timeout` each.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] or [`ClientError::TimedOut`].
    pub fn connect(socket: impl AsRef<Path>, timeout: Duration) -> Result<Self, ClientError> {
        let socket = socket.as_ref().to_owned();
        match connect_within(socket.clone(), timeout) {
            Ok(Some(stream)) => Ok(Self { stream, socket, timeout }),
            Ok(None) => Err(ClientError::TimedOut { socket, timeout }),
            Err(source) => Err(ClientError::Unreachable { socket, source }),
        }
    }

    /// How the router is.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn status(&mut self) -> Result<Status, ClientError> {
        self.call(&Request::Status)
    }

    /// Who it knows.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn peers(&mut self) -> Result<Peers, ClientError> {
        self.call(&Request::Peers)
    }

    /// Which containers are attached to it.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn ps(&mut self) -> Result<Containers, ClientError> {
        self.call(&Request::Ps)
    }

    /// Which leases it knows.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn leases(&mut self) -> Result<Leases, ClientError> {
        self.call(&Request::Leases)
    }

    /// Which moves it has heard of.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn moves(&mut self) -> Result<Moves, ClientError> {
        self.call(&Request::Moves)
    }

    /// A new join token.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn token_create(&mut self, ttl: Duration, uses: u32) -> Result<TokenCreated, ClientError> {
        self.call(&Request::TokenCreate { ttl_s: ttl.as_secs(), uses })
    }

    /// Which join tokens it made.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn token_list(&mut self) -> Result<Tokens, ClientError> {
        self.call(&Request::TokenList)
    }

    /// A join token is good for nothing any more.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn token_withdraw(&mut self, id: String) -> Result<(), ClientError> {
        self.call(&Request::TokenWithdraw { id }).map(|Done {}| ())
    }

    /// A new handshake key for the router.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn renew(&mut self) -> Result<Renewed, ClientError> {
        self.call(&Request::Renew)
    }

    /// An address for a container.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn lease(&mut self, request: LeaseRequest) -> Result<Lease, ClientError> {
        self.call(&Request::Lease(request))
    }

    /// Tells that the attachment is gone.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn release(&mut self, attachment: Attachment) -> Result<(), ClientError> {
        self.call(&Request::Release(attachment)).map(|Done {}| ())
    }

    /// The lease of an attachment.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn check(&mut self, attachment: Attachment) -> Result<Lease, ClientError> {
        self.call(&Request::Check(attachment))
    }

    /// Drops what a runtime no longer knows.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn gc(&mut self, request: GcRequest) -> Result<Collected, ClientError> {
        self.call(&Request::Gc(request))
    }

    /// Whether a lease would be given.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn ready(&mut self, network: String, masquerade: bool) -> Result<(), ClientError> {
        self.call(&Request::Ready { network, masquerade }).map(|Done {}| ())
    }

    /// Also tries these addresses.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn connect_peers(&mut self, addresses: Vec<String>) -> Result<(), ClientError> {
        self.call(&Request::Connect { addresses }).map(|Done {}| ())
    }

    /// No longer tries these addresses.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn forget_peers(&mut self, addresses: Vec<String>) -> Result<(), ClientError> {
        self.call(&Request::Forget { addresses }).map(|Done {}| ())
    }

    /// Takes everything from routers that are gone.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn revoke(&mut self, names: Vec<String>, with_admitted: bool) -> Result<Revoked, ClientError> {
        self.call(&Request::Revoke { names, with_admitted })
    }

    /// Keeps an address for a workload before its first start.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn reserve(
        &mut self,
        network: String,
        workload: String,
        ifname: String,
        address: Option<Ipv4Addr>,
    ) -> Result<Lease, ClientError> {
        self.call(&Request::Reserve { network, workload, ifname, address })
    }

    /// Takes a workload's address to a router, for its next start there.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn move_workload(
        &mut self,
        network: String,
        workload: String,
        ifname: String,
        to: String,
        take_over: bool,
    ) -> Result<Moved, ClientError> {
        self.call(&Request::Move { network, workload, ifname, to, take_over })
    }

    /// Calls a move off that waits for its workload to stop.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn cancel_move(&mut self, network: String, workload: String, ifname: String) -> Result<(), ClientError> {
        self.call(&Request::CancelMove { network, workload, ifname }).map(|Done {}| ())
    }

    /// Gives up a held address before its time.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn release_workload(&mut self, network: String, workload: String) -> Result<(), ClientError> {
        self.call(&Request::ReleaseWorkload { network, workload }).map(|Done {}| ())
    }

    fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.timeout;
        let mut line = serde_json::to_vec(request).map_err(|wrong| self.protocol(wrong.to_string()))?;
        if line.len() > LONGEST_REQUEST {
            return Err(ClientError::RequestTooLong { longest: LONGEST_REQUEST });
        }
        line.push(b'\n');
        let line = self.write(&line, deadline).and_then(|()| self.read(deadline)).inspect_err(|_| self.hang_up())?;
        match serde_json::from_slice(&line) {
            Ok(Reply::Ok(answer)) => Ok(answer),
            Ok(Reply::Error(refusal)) => Err(ClientError::Refused(refusal)),
            Err(wrong) => Err(self.protocol(wrong.to_string())),
        }
    }

    /// After a reply that did not come, the next one would be taken for the answer to another request.
    fn hang_up(&self) {
        // The connection may be gone already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn write(&self, mut line: &[u8], deadline: Instant) -> Result<(), ClientError> {
        while !line.is_empty() {
            let left = self.left(deadline)?;
            self.stream.set_write_timeout(Some(left)).map_err(|source| self.broken(source))?;
            match (&self.stream).write(line) {
                Ok(0) => return Err(self.broken(io::ErrorKind::WriteZero.into())),
                Ok(written) => line = line.get(written..).unwrap_or_default(),
                Err(wrong) => self.unless_worth_another_try(wrong)?,
            }
        }
        Ok(())
    }

    fn read(&self, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        let mut lines = Lines::new(LONGEST_REPLY);
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let left = self.left(deadline)?;
            self.stream.set_read_timeout(Some(left)).map_err(|source| self.broken(source))?;
            match (&self.stream).read(&mut bytes) {
                Ok(0) => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => lines.handle_bytes(bytes.get(..read).unwrap_or_default()),
                Err(wrong) => self.unless_worth_another_try(wrong)?,
            }
            match lines.poll_line() {
                Ok(Some(line)) => return Ok(line),
                Ok(None) => {}
                Err(wrong) => return Err(self.protocol(wrong.to_string())),
            }
        }
    }

    /// A signal, or a time-out that [`Self::left`] turns into an error if the deadline has really passed.
    fn unless_worth_another_try(&self, wrong: io::Error) -> Result<(), ClientError> {
        let again = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        if again.contains(&wrong.kind()) { Ok(()) } else { Err(self.broken(wrong)) }
    }

    fn left(&self, deadline: Instant) -> Result<Duration, ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::TimedOut { socket: self.socket.clone(), timeout: self.timeout });
        }
        Ok(left)
    }

    fn broken(&self, source: io::Error) -> ClientError {
        ClientError::Unreachable { socket: self.socket.clone(), source }
    }

    fn protocol(&self, said: String) -> ClientError {
        ClientError::Protocol { socket: self.socket.clone(), said: said.chars().take(300).collect() }
    }
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, we may not, or the router went away in the middle. Whether the request was done is not known.
    #[error("no router answers at {}", socket.display())]
    Unreachable {
        /// The control socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The router did not answer in time. Whether the request was done is not known.
    #[error("the router at {} gave no answer within {timeout:?}", socket.display())]
    TimedOut {
        /// The control socket.
        socket: PathBuf,
        /// How long the client waited.
        timeout: Duration,
    },
    /// The request was not sent: the router would not read it.
    #[error("the request is longer than {longest} bytes")]
    RequestTooLong {
        /// The bound.
        longest: usize,
    },
    /// What came back is not an answer to what was asked: another release, or no router at all.
    #[error("what answers at {} is not understood: {said}", socket.display())]
    Protocol {
        /// The control socket.
        socket: PathBuf,
        /// What is wrong with it.
        said: String,
    },
    /// The router understood and did not do it.
    #[error(transparent)]
    Refused(#[from] ApiError),
}

/// Connects in a thread of its own: a stopped router with a full backlog would block for ever, and the standard library
/// has no deadline for Unix sockets. The thread ends with the connection attempt.
fn connect_within(socket: PathBuf, timeout: Duration) -> io::Result<Option<UnixStream>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new().name("control-connect".to_owned()).spawn(move || {
        // Nobody listens any more only if the deadline has passed.
        let _ = sender.send(UnixStream::connect(socket));
    })?;
    match receiver.recv_timeout(timeout) {
        Ok(connected) => connected.map(Some),
        Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => Ok(None),
    }
}

/// A whole reply of the usual size in one read.
const READ_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests;
