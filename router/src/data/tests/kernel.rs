//! The kernel as the judge: what it makes of frames that a tap is given, once they must leave by an interface that can
//! neither cut nor sum.
//!
//! ```text
//!   the test, and the plane ─▶ tap "into" ── bridge ── tap "out", without offloads ─▶ the test
//! ```

use std::io::IoSlice;
use std::num::NonZeroU8;
use std::process::Command;

use hostnet::netns::Netns;
use hostnet::tap::{self, MAX_READ_BYTES, TapQueue, VIRTIO_BYTES, Virtio};

/// A namespace with nothing in it but the two taps. It goes with this value.
pub(super) struct Kernel {
    name: String,
    into: TapQueue,
    out: TapQueue,
    buffer: Vec<u8>,
}

impl Kernel {
    /// The judge, and a queue of its tap for somebody else to write to.
    pub(super) fn new(name: &str) -> (Self, TapQueue) {
        let name = format!("rdk-{name}-{}", std::process::id());
        run(&format!("ip netns add {name}"));
        let inside = Netns::open(format!("/run/netns/{name}")).unwrap();
        let queues = |count| NonZeroU8::new(count).unwrap();
        let open = || (tap::open("into", queues(2)).unwrap(), tap::open("out", queues(1)).unwrap());
        let (mut into, mut out) = inside.run(open).unwrap();
        let (lent, into, out) = (into.queues.pop(), into.queues.pop(), out.queues.pop());
        let enter = |command: &str| run(&format!("ip netns exec {name} {command}"));
        // Nothing but the test's own frames: no neighbour discovery, and no firewall that looks at packets and mends them.
        enter("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        enter("sh -c 'for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done'");
        enter("ip link add bridge mtu 65521 type bridge mcast_snooping 0");
        for port in ["into", "out"] {
            // Room for the segments of many super-frames: the test reads after it has written.
            enter(&format!("ip link set {port} mtu 65521 txqueuelen 20000 master bridge up"));
        }
        enter("ethtool -K out tx off tso off gso off");
        enter("ip link set bridge up");
        let judge = Self { name, into: into.unwrap(), out: out.unwrap(), buffer: vec![0; MAX_READ_BYTES] };
        (judge, lent.unwrap())
    }

    /// What the kernel makes of one frame: as many as it has segments, with whole checksums. None when it refuses it.
    pub(super) fn segments(&mut self, virtio: Virtio, frame: &[u8]) -> Vec<Vec<u8>> {
        // A refusal is an answer.
        let _ = self.into.send_vectored(&[IoSlice::new(&virtio.emit()), IoSlice::new(frame)]);
        self.arrived()
    }

    /// What has left by the interface without offloads: the way there is one call long, so it is there or never comes.
    pub(super) fn arrived(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(bytes) = self.out.receive(&mut self.buffer).unwrap() {
            let virtio = Virtio::parse(&self.buffer).unwrap();
            assert_eq!(virtio, Virtio::default(), "the kernel has left nothing to do");
            frames.push(self.buffer[VIRTIO_BYTES..bytes].to_vec());
        }
        frames
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        run(&format!("ip netns delete {}", self.name));
    }
}

pub(super) fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}
