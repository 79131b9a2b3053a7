use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_wake_ends_one_wait_and_is_forgotten() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let waker = Waker::new().unwrap();
    waker.wake();
    waker.wake();
    let quiet = Some(Duration::from_millis(5));
    let first = wait(socket.as_fd(), socket.as_fd(), &waker, None).unwrap();
    assert_eq!(first, Ready { tap: false, udp: false, woken: true });
    assert_eq!(wait(socket.as_fd(), socket.as_fd(), &waker, quiet).unwrap(), Ready::default());
}

#[test]
fn a_datagram_ends_a_wait_until_it_is_read() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let idle = UdpSocket::bind("127.0.0.1:0").unwrap();
    let waker = Waker::new().unwrap();
    socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    for _ in 0..2 {
        let ready = wait(idle.as_fd(), socket.as_fd(), &waker, None).unwrap();
        assert_eq!(ready, Ready { tap: false, udp: true, woken: false });
    }
}

#[test]
fn a_timeout_shorter_than_a_millisecond_is_slept() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let waker = Waker::new().unwrap();
    let begun = Instant::now();
    wait(socket.as_fd(), socket.as_fd(), &waker, Some(Duration::from_micros(1))).unwrap();
    assert!(begun.elapsed() >= Duration::from_micros(1));
}
