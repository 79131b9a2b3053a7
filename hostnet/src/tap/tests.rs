use std::process::Command;

use super::*;
use crate::netns::Netns;
use crate::ready::{Waker, wait};

/// A network namespace of a test's own.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Self {
        let name = format!("rdtap-{name}-{}", std::process::id());
        ip(&["netns", "add", &name]);
        Self(name)
    }

    fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        Netns::open(format!("/run/netns/{}", self.0)).unwrap().run(run).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.0]);
    }
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

fn queues(count: u8) -> NonZeroU8 {
    NonZeroU8::new(count).unwrap()
}

#[test]
fn a_header_is_read_as_it_was_written() {
    let checksum = Some(PartialChecksum { start: 34, offset: 16 });
    let cut = |kind, reduces_window| Some(Cut { kind, segment_bytes: 1348, header_bytes: 66, reduces_window });
    let headers = [
        Virtio::default(),
        Virtio { checksum, cut: None },
        Virtio { checksum, cut: cut(CutKind::Tcp4, true) },
        Virtio { checksum, cut: cut(CutKind::Tcp6, false) },
        Virtio { checksum, cut: cut(CutKind::Udp, false) },
    ];
    for header in headers {
        assert_eq!(Virtio::parse(&header.emit()), Some(header));
    }
}

#[test]
fn a_header_that_is_short_or_asks_for_the_unknown_is_none() {
    assert_eq!(Virtio::parse(&[0; 9]), None);
    assert_eq!(Virtio::parse(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    // "The checksum is right" asks for nothing.
    assert_eq!(Virtio::parse(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Some(Virtio::default()));
}

#[test]
fn a_name_no_interface_may_have_is_refused_before_anything_is_opened() {
    for name in ["", "sixteen-bytes-xx", "a/b", "a b", "a\0b"] {
        assert!(matches!(open(name, queues(1)), Err(OpenTapError::Name { .. })), "{name:?}");
    }
}

#[test]
#[ignore = "makes a network namespace: run as root with --ignored"]
fn a_device_has_its_queues_and_offloads_and_goes_with_the_last() {
    let namespace = Namespace::new("queues");
    namespace.inside(|| {
        let tap = open("rdtap0", queues(3)).unwrap();
        let offloads: Vec<_> = tap.queues.iter().map(TapQueue::offloads).collect();
        assert_eq!(offloads, [Offloads::TcpAndUdp; 3]);
        assert!(matches!(open("rdtap0", queues(1)), Err(OpenTapError::Taken { .. })));
        drop(tap);
        assert!(!Command::new("ip").args(["link", "show", "rdtap0"]).output().unwrap().status.success());
    });
}

#[test]
#[ignore = "makes a network namespace: run as root with --ignored"]
fn a_device_of_another_kind_is_taken() {
    let namespace = Namespace::new("taken");
    namespace.inside(|| {
        ip(&["link", "add", "rdtap0", "type", "bridge"]);
        assert!(matches!(open("rdtap0", queues(1)), Err(OpenTapError::Taken { .. })));
    });
}

#[test]
#[ignore = "makes a network namespace: run as root with --ignored"]
fn the_kernel_answers_an_arp_request_written_in_two_parts() {
    let namespace = Namespace::new("frames");
    namespace.inside(|| {
        let mut tap = open("rdtap0", queues(1)).unwrap();
        ip(&["address", "add", "10.9.9.1/24", "dev", "rdtap0"]);
        ip(&["link", "set", "rdtap0", "up"]);
        let queue = tap.queues.first_mut().unwrap();
        let request = [
            &[0xff; 6][..],
            &[2, 0, 0, 0, 0, 7],
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &[2, 0, 0, 0, 0, 7],
            &[10, 9, 9, 7],
            &[0; 6],
            &[10, 9, 9, 1],
        ]
        .concat();
        let header = Virtio::default().emit();
        let written = queue.send_vectored(&[IoSlice::new(&header), IoSlice::new(&request)]).unwrap();
        assert_eq!(written, Some(VIRTIO_BYTES + request.len()));
        let waker = Waker::new().unwrap();
        let mut buffer = vec![0; MAX_READ_BYTES];
        let answered = std::iter::repeat_with(|| {
            wait(queue.as_fd(), queue.as_fd(), &waker, Some(std::time::Duration::from_secs(2))).unwrap();
            let bytes = queue.receive(&mut buffer).unwrap().unwrap_or_default();
            buffer
                .get(VIRTIO_BYTES..bytes)
                .is_some_and(|frame| frame.starts_with(&[2, 0, 0, 0, 0, 7]) && frame[21] == 2)
        });
        assert!(answered.take(20).any(|answered| answered), "no ARP reply among the first frames");
        while queue.receive(&mut buffer).unwrap().is_some() {}
    });
}
