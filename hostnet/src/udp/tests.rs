use std::time::Instant;

use super::*;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn queues(count: u8) -> NonZeroU8 {
    NonZeroU8::new(count).unwrap()
}

fn group(count: u8) -> UdpGroup {
    bind_group(LOCAL, queues(count)).unwrap()
}

/// Everything a queue receives until nothing has come for a while.
fn received(queue: &UdpQueue) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut batch = ReceiveBatch::new();
    let mut datagrams = Vec::new();
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(50) {
        if queue.receive(&mut batch).unwrap() == Received::Nothing {
            std::thread::yield_now();
            continue;
        }
        last = Instant::now();
        for message in batch.messages() {
            let from = message.from;
            datagrams.extend(message.datagrams().map(|datagram| (from, datagram.to_vec())));
        }
    }
    datagrams
}

fn push(batch: &mut SendBatch, to: SocketAddr, datagram: &[u8]) {
    batch.room(datagram.len()).unwrap()[..datagram.len()].copy_from_slice(datagram);
    batch.push(to, datagram.len());
}

#[test]
fn data_goes_to_its_queue_and_all_else_to_control() {
    let group = group(2);
    let client = UdpSocket::bind(LOCAL).unwrap();
    for queue in 0..5 {
        client.send_to(&[4, queue, 1, 0], group.local).unwrap();
    }
    let others: [&[u8]; 5] = [&[1, 0, 1, 0], &[5, 1, 1, 0], &[16, 1], &[4], &[]];
    for datagram in others {
        client.send_to(datagram, group.local).unwrap();
    }
    let queue_bytes =
        |queue: &UdpQueue| received(queue).into_iter().map(|(_, datagram)| datagram[1]).collect::<Vec<_>>();
    assert_eq!(queue_bytes(&group.data[0]), [0, 2, 4]);
    assert_eq!(queue_bytes(&group.data[1]), [1, 3]);
    let mut buffer = [0; 16];
    for datagram in others {
        let (bytes, from) = group.control.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..bytes], from), (datagram, client.local_addr().unwrap()));
    }
}

#[test]
fn one_message_is_received_and_the_others_are_left() {
    let group = group(1);
    let client = UdpSocket::bind(LOCAL).unwrap();
    let mut batch = ReceiveBatch::new();
    let queue = &group.data[0];
    assert_eq!(queue.receive_one(&mut batch).unwrap(), Received::Nothing);
    for number in 0..3 {
        client.send_to(&[4, 0, number], group.local).unwrap();
    }
    let mut take = |receive: &dyn Fn(&mut ReceiveBatch) -> io::Result<Received>| {
        let received = receive(&mut batch).unwrap();
        let message = |message: Message<'_>| (message.from, message.bytes.to_vec());
        (received, batch.messages().map(message).collect::<Vec<_>>())
    };
    let from = client.local_addr().unwrap();
    assert_eq!(take(&|batch| queue.receive_one(batch)), (Received::Full, vec![(from, vec![4, 0, 0])]));
    let rest = vec![(from, vec![4, 0, 1]), (from, vec![4, 0, 2])];
    assert_eq!(take(&|batch| queue.receive(batch)), (Received::Some, rest));
    assert_eq!(take(&|batch| queue.receive_one(batch)), (Received::Nothing, vec![]));
}

#[test]
fn a_port_in_other_hands_is_said_to_be_in_use() {
    let first = group(1);
    assert!(matches!(bind_group(first.local, queues(1)), Err(BindError::InUse { listen }) if listen == first.local));
    let foreign = UdpSocket::bind(LOCAL).unwrap();
    let refused = bind_group(foreign.local_addr().unwrap(), queues(1));
    assert!(matches!(refused, Err(BindError::InUse { .. })));
}

#[test]
fn an_address_of_another_host_is_refused() {
    let elsewhere = "192.0.2.1:0".parse().unwrap();
    assert!(matches!(bind_group(elsewhere, queues(1)), Err(BindError::NotOurs { .. })));
}

#[test]
fn a_dual_stack_group_speaks_to_ipv4_by_its_own_name() {
    let group = bind_group("[::]:0".parse().unwrap(), queues(1)).unwrap();
    let client = UdpSocket::bind(LOCAL).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    client.send_to(&[4, 0], (Ipv4Addr::LOCALHOST, group.local.port())).unwrap();
    let mut data = group.data.into_iter().next().unwrap();
    let (from, _) = received(&data).pop().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
    let mut batch = SendBatch::new();
    push(&mut batch, from, b"answer");
    assert_eq!(data.send(&mut batch), Sent { datagrams: 1, too_large: 0, refused: 0 });
    let mut buffer = [0; 16];
    assert_eq!(client.recv(&mut buffer).unwrap(), 6);
}

#[test]
fn what_a_batch_holds_arrives_datagram_by_datagram() {
    for segmentation in [send::Segmentation::Kernel, send::Segmentation::Ours] {
        let (mut sender, receiver) = (group(1), group(1));
        let to = receiver.local;
        let sizes = (0..100).map(|_| 1200).chain([700, 1200, 1200, 1300, 2]);
        let datagrams: Vec<Vec<u8>> = sizes
            .enumerate()
            .map(|(at, bytes)| [&[4, 0][..], &vec![u8::try_from(at).unwrap(); bytes - 2]].concat())
            .collect();
        let mut batch = SendBatch::new();
        datagrams.iter().for_each(|datagram| push(&mut batch, to, datagram));
        let queue = &mut sender.data[0];
        queue.segmentation = segmentation;
        assert_eq!(queue.send(&mut batch), Sent { datagrams: 105, too_large: 0, refused: 0 });
        assert!(batch.is_empty() && batch.bytes() == 0);
        let arrived = received(&receiver.data[0]);
        assert!(arrived.iter().all(|(from, _)| *from == sender.local));
        assert_eq!(arrived.into_iter().map(|(_, datagram)| datagram).collect::<Vec<_>>(), datagrams);
    }
}

#[test]
fn datagrams_that_cannot_be_sent_are_counted_and_the_others_go() {
    let (mut sender, receiver) = (group(1), group(1));
    let mut batch = SendBatch::new();
    push(&mut batch, receiver.local, &[4; 65_600]);
    push(&mut batch, receiver.local, &[4, 0, 1]);
    // An IPv4 socket has no way to an IPv6 address.
    push(&mut batch, "[::1]:9".parse().unwrap(), &[4, 0, 2]);
    push(&mut batch, receiver.local, &[4, 0, 3]);
    assert_eq!(sender.data[0].send(&mut batch), Sent { datagrams: 2, too_large: 1, refused: 1 });
    let arrived: Vec<_> = received(&receiver.data[0]).into_iter().map(|(_, datagram)| datagram).collect();
    assert_eq!(arrived, [[4, 0, 1], [4, 0, 3]]);
}

#[test]
fn a_full_batch_has_no_room() {
    let mut batch = SendBatch::new();
    let mut pushed = 0;
    // Ever longer datagrams: none joins the message before it.
    while batch.room(1000).is_some() {
        pushed += 1;
        batch.push(LOCAL, pushed);
    }
    assert_eq!(pushed, sys::MESSAGES);
    let mut batch = SendBatch::new();
    assert!(batch.room(1 << 20).is_none());
    for _ in 0..3 {
        batch.push(LOCAL, 65_000);
    }
    assert!(batch.room(65_000).is_some());
    batch.push(LOCAL, 65_000);
    assert!(batch.room(65_000).is_none());
}

#[test]
fn addresses_are_written_as_they_are_read() {
    let addresses = ["192.0.2.7:6783", "[2001:db8::7]:6783", "[fe80::1%3]:1"];
    for address in addresses.map(|text| text.parse::<SocketAddr>().unwrap()) {
        assert_eq!(address::Name::from(address).address(), Some(address));
    }
    let mapped = "[::ffff:192.0.2.7]:6783".parse::<SocketAddr>().unwrap();
    assert_eq!(address::Name::from(mapped).address(), Some("192.0.2.7:6783".parse().unwrap()));
    assert_eq!(address::Name::empty().address(), None);
}
