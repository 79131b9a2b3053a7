//! Whole Ethernet frames, sent from a container that may do so (NET_RAW) and listened to in others.
//!
//! Knows packet sockets. Knows no protocol: the bytes are the caller's.

use std::time::Duration;

use anyhow::Result;

use crate::{cni::Container, process::Process};

/// Every frame that an interface hears, one line of hexadecimal digits each.
pub struct Listener {
    process: Process,
}

impl Container {
    /// Sends these frames from its `eth0`, one after the other.
    pub fn send_frames<'a>(&self, frames: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<()> {
        let frames: Vec<String> = frames.into_iter().map(|frame| hex(frame)).collect();
        let words = ["python3", "-c", SEND].into_iter().chain(frames.iter().map(String::as_str)).collect::<Vec<_>>();
        self.run(&words)?.ok()?;
        Ok(())
    }

    /// Sends one frame without an end, as fast as it can.
    pub fn flood(&self, name: &str, frame: &[u8]) -> Result<Process> {
        self.spawn(&format!("flood-{}", name.replace(' ', "-")), &["python3", "-c", FLOOD, &hex(frame)])
    }

    /// Listens to what comes to its `eth0`.
    pub fn listen_to_frames(&self) -> Result<Listener> {
        let mut process = self.spawn(&format!("frames-{}", self.id()), &["python3", "-c", LISTEN])?;
        process.until_says("ready", START)?;
        Ok(Listener { process })
    }
}

impl Listener {
    /// Whether it has heard a frame with these bytes in it.
    pub fn has_heard(&self, bytes: &[u8]) -> Result<bool> {
        Ok(self.process.output()?.contains(&hex(bytes)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The workspace's own programs have no `unsafe`, and there is no packet socket without.
const SEND: &str = "
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for frame in sys.argv[1:]:
    s.send(bytes.fromhex(frame))
    time.sleep(0.002)
";
const FLOOD: &str = "
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
frame = bytes.fromhex(sys.argv[1])
sent = 0
while True:
    try:
        s.send(frame)
    except OSError:
        pass
    sent += 1
    if sent == 5000:
        print('begun', flush=True)
";
/// Frames that this container sends itself are not what is asked for. A tag that the kernel has taken off is told beside
/// the frame, and is not of interest: the rest of it is.
const LISTEN: &str = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('eth0', 3))
print('ready', flush=True)
while True:
    frame, about = s.recvfrom(65536)
    if about[2] != socket.PACKET_OUTGOING:
        print(frame.hex(), flush=True)
";
/// An interpreter's start.
const START: Duration = Duration::from_secs(10);
