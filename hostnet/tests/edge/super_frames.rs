//! What the tap hands over uncut, when a container writes the offload fields itself.

use std::num::NonZeroU8;

use hostnet::tap::{self, MAX_READ_BYTES, TapQueue, VIRTIO_BYTES, Virtio};

use super::*;

const HEADER_BYTES: usize = 14 + 20 + 20;
const PAYLOAD_BYTES: usize = 60_000;

/// Sends a TCP frame to a container that is behind the tap, to be cut into payloads of so many bytes.
const SEND: &str = "
import socket, struct, sys
segment, payload = int(sys.argv[1]), int(sys.argv[2])
SOL_PACKET, PACKET_VNET_HDR = 263, 15
ip = bytearray(struct.pack('>BBHHHBBH4s4s', 0x45, 0, 40 + payload, 0, 0x4000, 64, 6, 0, bytes([10, 32, 0, 5]), bytes([10, 32, 0, 99])))
total = sum(struct.unpack('>10H', ip))
total = (total & 0xffff) + (total >> 16)
ip[10:12] = struct.pack('>H', 0xffff - ((total & 0xffff) + (total >> 16)))
tcp = struct.pack('>HHIIBBHHH', 4000, 5000, 1, 1, 0x50, 0x10, 1000, 0, 0)
frame = bytes([2, 0, 0, 0, 0, 99, 2, 0, 0, 0, 0, 5, 8, 0]) + ip + tcp + bytes(payload)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
s.bind(('eth0', 0))
s.send(struct.pack('=BBHHHH', 1, 1, 54, segment, 34, 16) + frame)
";

/// The next frame that the tap hands over for that container.
fn next(tap: &mut TapQueue) -> (Virtio, usize) {
    let mut buffer = vec![0; MAX_READ_BYTES];
    let begin = Instant::now();
    loop {
        let bytes = tap.receive(&mut buffer).unwrap().unwrap_or_default();
        if bytes > 0 && buffer[VIRTIO_BYTES..VIRTIO_BYTES + 6] == [2, 0, 0, 0, 0, 99] {
            return (Virtio::parse(&buffer).unwrap(), bytes - VIRTIO_BYTES);
        }
        assert!(begin.elapsed() < LEARNED, "nothing comes");
        std::thread::sleep(Duration::from_millis(u64::from(bytes == 0)));
    }
}

#[test]
fn a_streams_frames_come_whole_and_what_would_be_thousands_comes_cut() {
    let host = Space::new("host");
    let mut tap = host.open().run(|| tap::open("tap0", NonZeroU8::MIN)).unwrap().unwrap();
    let queue = &mut tap.queues[0];
    host.open().run(|| bridge::ensure(&wanted_bridge())).unwrap().unwrap();
    host.open().run(|| bridge::enslave_tap("raddle0", "tap0", MTU)).unwrap().unwrap();
    let one = Container::new(5);
    one.attach(&host).unwrap();
    let send = |segment_bytes: u16| {
        one.space.ok(&["python3", "-c", SEND, &segment_bytes.to_string(), &PAYLOAD_BYTES.to_string()])
    };
    for segment_bytes in [1335, 536] {
        send(segment_bytes);
        let (virtio, bytes) = next(queue);
        assert_eq!(virtio.cut.map(|cut| cut.segment_bytes), Some(segment_bytes));
        assert_eq!(bytes, HEADER_BYTES + PAYLOAD_BYTES);
    }
    send(1);
    let (virtio, bytes) = next(queue);
    assert_eq!((virtio.cut, bytes), (None, HEADER_BYTES + 1));
}
