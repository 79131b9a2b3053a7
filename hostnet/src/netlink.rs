//! Talks to the kernel's routing netlink: one blocking exchange for the plugin, [`rtnetlink::Handle`] for the router.
//!
//! Owns sockets, sequence numbers and acknowledgements. Knows nothing of what is asked. A socket belongs to the network
//! namespace of the thread that opened it, for as long as it lives and whichever thread uses it.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel's enums grow with every release")]

use std::future::Future;
use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rtnetlink::LinkUnspec;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};

use crate::own_thread;

/// A blocking conversation with the kernel about one network namespace.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// What is to become of a thing that a request names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Intent {
    /// Make it; an error if it exists.
    Create,
    /// Make it, or make it like this.
    Replace,
    /// Change or remove it, or tell about it; an error if it does not exist.
    Existing,
}

impl Intent {
    fn flags(self) -> u16 {
        match self {
            Self::Create => NLM_F_CREATE | NLM_F_EXCL,
            Self::Replace => NLM_F_CREATE | NLM_F_REPLACE,
            Self::Existing => 0,
        }
    }
}

impl Netlink {
    /// Opens a socket of the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends one request and waits until the kernel has carried it out.
    pub(crate) fn request(&mut self, message: RouteNetlinkMessage, intent: Intent) -> io::Result<()> {
        self.exchange(message, NLM_F_ACK | intent.flags()).map(|_| ())
    }

    /// Asks for everything of a kind.
    pub(crate) fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.exchange(message, NLM_F_DUMP)
    }

    /// The interface of that name, if there is one.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<LinkMessage>> {
        let question = LinkUnspec::new_with_name(name).build();
        match self.exchange(RouteNetlinkMessage::GetLink(question), NLM_F_ACK) {
            Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(link),
                _ => None,
            })),
            Err(source) if source.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(source) => Err(source),
        }
    }

    fn exchange(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            if self.take(&bytes, &mut answers)? == Progress::Complete {
                return Ok(answers);
            }
        }
    }

    /// Takes the messages of one datagram. What belongs to an earlier request is passed over.
    fn take(&self, mut bytes: &[u8], answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<Progress> {
        while !bytes.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map_err(io::Error::other)?;
            // Netlink messages are aligned to four bytes; the last one may end before its padding.
            let length = (message.header.length as usize).next_multiple_of(4).max(4);
            bytes = bytes.get(length..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::Error(reply) if reply.code.is_some() => return Err(reply.to_io()),
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(Progress::Complete),
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Overrun(_) => return Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
                _ => {}
            }
        }
        Ok(Progress::More)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Complete,
}

/// Runs one asynchronous operation on a thread and runtime of its own, so that it can be called from anywhere, also from
/// inside another runtime. The thread is in the caller's network namespace.
pub(crate) fn with_handle<T, E, Operation, Answer>(operation: Operation) -> Result<T, E>
where
    T: Send,
    E: Send + From<NetlinkError>,
    Operation: FnOnce(rtnetlink::Handle) -> Answer + Send,
    Answer: Future<Output = Result<T, E>>,
{
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(|source| NetlinkError { step: "start a netlink runtime", source })?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().map_err(|source| NetlinkError { step: "open a netlink socket", source })?;
            tokio::spawn(connection);
            operation(handle).await
        })
    };
    own_thread::run(run).map_err(NetlinkError::at("start a thread"))?
}

/// What the kernel said to one step of an operation.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct NetlinkError {
    /// What was asked of it.
    pub step: &'static str,
    /// Its answer.
    pub source: io::Error,
}

impl NetlinkError {
    /// For `map_err`: the answer to `step`.
    pub(crate) fn at(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { step, source }
    }

    /// For `map_err` of an rtnetlink request: the answer to `step`.
    pub(crate) fn of(step: &'static str) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |wrong| Self { step, source: io_error(wrong) }
    }
}

/// The kernel's error number where there is one.
pub(crate) fn io_error(wrong: rtnetlink::Error) -> io::Error {
    match wrong {
        rtnetlink::Error::NetlinkError(reply) => reply.to_io(),
        other => io::Error::other(other.to_string()),
    }
}
