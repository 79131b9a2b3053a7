//! Everything that can wake the control loop.
//!
//! Owns the receiving ends. Knows nothing of what an input means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::storing::Stored;
use super::targets::Found;
use crate::api::Call;
use crate::data::Report;
use crate::streams::StreamEvent;
use crate::underlay::Underlay;
use mesh::Secret;

/// The receiving ends.
pub(crate) struct Inputs {
    calls: mpsc::Receiver<Call>,
    streams: mpsc::Receiver<StreamEvent>,
    reports: mpsc::Receiver<Report>,
    lookups: mpsc::Receiver<Lookup>,
    udp: Arc<UdpSocket>,
    stored: mpsc::Receiver<Stored>,
    signals: Signals,
    buffer: Vec<u8>,
}

/// What was looked up beside the loop, because it takes a moment.
pub(crate) enum Lookup {
    /// The password file holds a password that this is made of; none if it could not be read.
    Password(Option<Secret>, Occasion),
    /// The host offers this.
    Underlay(Underlay),
    /// What the addresses mean that the operator gave.
    Targets(Found),
}

/// Why the password file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The router has started, and goes by what it kept until it knows better.
    Start,
    /// The operator says that there is another one.
    Asked,
}

/// What the system says to the router.
pub(crate) struct Signals {
    pub(crate) stop: [Signal; 2],
    pub(crate) again: Signal,
}

/// One thing that happened.
pub(crate) enum Input {
    Call(Call),
    Stream(StreamEvent),
    Report(Report),
    Datagram {
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// Read the files again.
    Again,
    Lookup(Lookup),
    Stored(Stored),
    Deadline,
}

impl Inputs {
    /// Puts the receiving ends together.
    pub(crate) fn new(
        calls: mpsc::Receiver<Call>,
        streams: mpsc::Receiver<StreamEvent>,
        reports: mpsc::Receiver<Report>,
        lookups: mpsc::Receiver<Lookup>,
        stored: mpsc::Receiver<Stored>,
        udp: Arc<UdpSocket>,
        signals: Signals,
    ) -> Self {
        Self { calls, streams, reports, lookups, stored, udp, signals, buffer: vec![0; DATAGRAM] }
    }

    /// Waits for something to happen, at most until the deadline. None = the router is told to stop.
    pub(crate) async fn next(&mut self, deadline: Option<Instant>) -> Option<Input> {
        let Signals { stop: [terminate, interrupt], again } = &mut self.signals;
        let sleep = async move {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(call) = self.calls.recv() => Some(Input::Call(call)),
            Some(event) = self.streams.recv() => Some(Input::Stream(event)),
            Some(report) = self.reports.recv() => Some(Input::Report(report)),
            received = self.udp.recv_from(self.buffer.as_mut_slice()) => Some(datagram(self.buffer.as_slice(), received)),
            Some(stored) = self.stored.recv() => Some(Input::Stored(stored)),
            Some(lookup) = self.lookups.recv() => Some(Input::Lookup(lookup)),
            Some(()) = again.recv() => Some(Input::Again),
            () = sleep => Some(Input::Deadline),
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
        }
    }

    /// Takes what is there without waiting.
    pub(crate) fn try_next(&mut self) -> Option<Input> {
        if let Ok(stored) = self.stored.try_recv() {
            return Some(Input::Stored(stored));
        }
        if let Ok(call) = self.calls.try_recv() {
            return Some(Input::Call(call));
        }
        if let Ok(event) = self.streams.try_recv() {
            return Some(Input::Stream(event));
        }
        if let Ok(report) = self.reports.try_recv() {
            return Some(Input::Report(report));
        }
        let received = self.udp.try_recv_from(self.buffer.as_mut_slice());
        received.is_ok().then(|| datagram(self.buffer.as_slice(), received))
    }

    /// Waits for the disk alone.
    pub(crate) async fn stored(&mut self) -> Option<Stored> {
        self.stored.recv().await
    }
}

fn datagram(buffer: &[u8], received: std::io::Result<(usize, SocketAddr)>) -> Input {
    match received {
        Ok((length, from)) => Input::Datagram { from, bytes: buffer.get(..length).unwrap_or_default().to_vec() },
        // An ICMP error to something sent earlier: the peer's silence says the same.
        Err(_) => Input::Deadline,
    }
}

/// A control datagram is smaller than any path MTU; a larger one is cut and fails to open.
const DATAGRAM: usize = 65_535;
