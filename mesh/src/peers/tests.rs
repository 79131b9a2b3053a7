//! What is kept of all peers is what looking at each of them would tell.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use wire::PeerIndex;

use super::*;
use crate::config::PeerTimes;
use crate::event::DownReason;
use crate::peer::Phase;
use crate::ways::Way;

/// What befalls a peer.
#[derive(Debug, Clone)]
enum Step {
    Lists(Vec<u8>),
    Moves(u8),
    Rises,
    Falls(DownReason),
    IsRelayed(u8),
    LosesRelay(u8),
    Doubted,
}

fn step() -> impl Strategy<Value = (u8, Step)> {
    let step = prop_oneof![
        vec(0..4u8, 0..3).prop_map(Step::Lists),
        (0..4u8).prop_map(Step::Moves),
        Just(Step::Rises),
        Just(Step::Falls(DownReason::Silent)),
        Just(Step::Falls(DownReason::Revoked)),
        (0..4u8).prop_map(Step::IsRelayed),
        (0..4u8).prop_map(Step::LosesRelay),
        Just(Step::Doubted),
    ];
    (0..4u8, step)
}

fn identity(number: u8) -> Identity {
    Identity([number; 32])
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 6783))
}

fn apply(peer: &mut Peer, step: &Step, now: Instant) {
    match step {
        Step::Lists(hosts) => drop(peer.path.list(&hosts.iter().copied().map(address).collect::<Vec<_>>())),
        Step::Moves(host) => drop(peer.path.follow(address(*host))),
        Step::Rises => peer.phase = Phase::Up { since: now, boot: 1 },
        Step::Falls(DownReason::Revoked) => peer.phase = Phase::Revoked { since: now, answered: None },
        Step::Falls(_) => peer.phase = Phase::Down { since: now },
        Step::IsRelayed(relay) => drop(peer.ways.prove(Way::Relay(identity(*relay)), now)),
        Step::LosesRelay(relay) => drop(peer.ways.lose_relay(identity(*relay), now)),
        Step::Doubted => peer.liveness.doubt(now),
    }
}

fn all(peers: &Peers, is_it: impl Fn(&Peer) -> bool) -> Vec<Identity> {
    peers.values().filter(|peer| is_it(peer)).map(|peer| peer.identity).collect()
}

proptest! {
    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant has to be the first; nothing depends on which")]
    fn it_agrees_with_a_look_at_everybody(steps in vec(step(), 0..60)) {
        let (mut peers, mut now) = (Peers::default(), Instant::now());
        for number in 0..4 {
            let index = PeerIndex(u32::from(number));
            peers.insert(Peer::new(identity(number), index, [number; 32], PeerTimes::default(), now));
        }
        for (number, step) in steps {
            now += Duration::from_millis(10);
            apply(peers.get_mut(&identity(number)).unwrap(), &step, now);
            let is_gone = |peer: &Peer| !(peer.is_up() || peer.is_revoked());
            prop_assert_eq!(peers.gone(now), all(&peers, is_gone).len());
            prop_assert_eq!(peers.translated(now), all(&peers, |peer| peer.path.is_translated()));
            prop_assert_eq!(peers.relayed(now), all(&peers, |peer| peer.ways.relays() > 0));
            for host in 0..4 {
                let is_there = peers.values().any(|peer| peer.path.hosts().any(|other| other == address(host).ip()));
                prop_assert_eq!(peers.has_host(address(host).ip(), now), is_there);
            }
            let of_each = peers.map.values().filter_map(|place| place.deadline).min();
            prop_assert_eq!(peers.deadline(now), of_each);
            let turns: Vec<Identity> = peers.due(now);
            prop_assert_eq!(turns.len(), peers.map.values().filter(|place| place.deadline.is_some_and(|at| at <= now)).count());
        }
    }
}
