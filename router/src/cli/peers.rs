//! Draws the answer of `peers`.

use control_api::{PathKind, Peer, PeerState, Peers};

use super::duration::readable;
use super::print::{Lean, bytes, or_dash, plain, table};

pub(super) fn text(answer: &Peers) -> String {
    let columns = [
        ("NAME", Lean::Left),
        ("ADDRESS", Lean::Left),
        ("STATE", Lean::Left),
        ("PATH", Lean::Left),
        ("RTT", Lean::Right),
        ("MTU", Lean::Right),
        ("SENT", Lean::Right),
        ("RECEIVED", Lean::Right),
        ("SINCE", Lean::Right),
        ("CIPHER", Lean::Left),
    ];
    let why = |peer: &Peer| Some(format!("no path to {}: {}\n", plain(&peer.name), plain(peer.why.as_ref()?)));
    let whys: String = answer.peers.iter().filter_map(why).collect();
    format!("{}{whys}", table(columns, answer.peers.iter().map(row)))
}

fn row(peer: &Peer) -> [String; 10] {
    [
        peer.name.clone(),
        or_dash(peer.address),
        state(peer.state).to_owned(),
        path(peer),
        or_dash(peer.rtt_ms.map(|rtt| format!("{rtt:.2} ms"))),
        or_dash(peer.mtu_bytes),
        bytes(peer.tx_bytes),
        bytes(peer.rx_bytes),
        readable(peer.since_s),
        or_dash(peer.cipher.as_ref()),
    ]
}

fn state(state: PeerState) -> &'static str {
    match state {
        PeerState::Connected => "connected",
        PeerState::Connecting => "connecting",
        PeerState::Suspect => "suspect",
        PeerState::Down => "down",
        PeerState::Revoked => "revoked",
        PeerState::Unknown => "unknown",
    }
}

fn path(peer: &Peer) -> String {
    let path = match peer.path {
        None => "-",
        Some(PathKind::Direct) => "direct",
        Some(PathKind::Relay) => "relay",
        Some(PathKind::Unknown) => "unknown",
    };
    peer.via.as_ref().map_or_else(|| path.to_owned(), |via| format!("{path} via {via}"))
}
