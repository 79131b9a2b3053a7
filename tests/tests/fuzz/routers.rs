//! A whole mesh, and one that wants into it, listening to anything at all.

use std::{cell::RefCell, net::SocketAddr, time::Instant};

use mesh::{
    Candidate, Config, Credentials, JoinSecret, Joiner, Mesh, Origin, Progress, Secret, SecretKind, SecretState,
};
use mesh::{StreamId, Target, Token, TokenId};
use wire::{Genesis, Identity, NetworkId, PeerName, Pool, Title};

const TOKEN: TokenId = TokenId([7; 8]);

thread_local! {
    /// One for all inputs, as a router meets them; making one costs more than an input does.
    static ROUTER: RefCell<Option<(Mesh, u64)>> = const { RefCell::new(None) };
}

#[expect(clippy::expect_used, reason = "a name that is one, in a test")]
fn name() -> PeerName {
    "host1".parse().expect("a host's name")
}

fn genesis() -> Genesis {
    let pool = Pool { base: [10, 32, 0, 0].into(), prefix: 12 };
    let network = wire::Network { id: NetworkId::DEFAULT, name: String::from("raddle"), pool, pool6: None };
    let (first, authority) = (Identity([1; 32]), Secret::new([99; 32]).identity().0);
    Genesis { networks: vec![network], block_slots: 64, first, authority, nonce: [6; 16] }
}

fn start(now: Instant) -> Mesh {
    let (signing_key, noise_key, authority) = (Secret::new([1; 32]), Secret::new([2; 32]), Secret::new([99; 32]));
    let title = Title {
        identity: signing_key.identity(),
        noise_key: noise_key.noise_public(),
        name: name(),
        generation: 1,
        issuer: authority.identity(),
    };
    let certificate = mesh::issue_certificate(title, &signing_key, &authority);
    let credentials = Credentials { certificate, signing_key, noise_key, genesis: genesis() };
    let mut mesh = Mesh::new(Config::default(), credentials, Vec::new(), 1, [5; 32], now);
    let secret = |kind| JoinSecret { kind, key: Secret::new([8; 32]), state: SecretState::Live };
    mesh.set_join_secrets(vec![secret(SecretKind::Token(TOKEN)), secret(SecretKind::Password)]);
    mesh
}

/// The bytes come as a datagram, on a stream that somebody opened, and on one that asks who is there.
pub(crate) fn router(bytes: &[u8]) {
    let now = Instant::now();
    let from = SocketAddr::from(([192, 0, 2, 9], 6783));
    ROUTER.with_borrow_mut(|router| {
        let (mesh, stream) = router.get_or_insert_with(|| (start(now), 0));
        mesh.connect(from, now);
        mesh.handle_datagram(from, bytes, now);
        for origin in [Origin::Accepted(from), Origin::Dialed(Target::Address(from))] {
            *stream += 1;
            mesh.handle_stream_opened(StreamId(*stream), origin, now);
            mesh.handle_stream_bytes(StreamId(*stream), bytes, now);
            mesh.handle_stream_closed(StreamId(*stream), now);
        }
        mesh.handle_timeout(now);
        while mesh.poll_transmit().is_some() {}
        while mesh.poll_event().is_some() {}
        assert_eq!(mesh.members().len(), 1, "a stranger has become a member");
        assert!(mesh.plan().peers.is_empty(), "a stranger has become a peer");
    });
}

/// What answers one that wants to join, by token and by password, is anybody.
pub(crate) fn joiner(bytes: &[u8]) {
    let candidate = Candidate {
        signing_key: Secret::new([1; 32]),
        noise_key: Secret::new([2; 32]),
        name: name(),
        addresses: Vec::new(),
    };
    let token = Token { cluster: wire::ClusterId([9; 32]), id: TOKEN, secret: Secret::new([8; 32]) };
    for mut joiner in
        [Joiner::with_password(candidate.clone(), [3; 32]), Joiner::with_token(candidate.clone(), &token, [3; 32])]
    {
        joiner.handle_bytes(bytes);
        joiner.handle_closed();
        while joiner.poll_transmit().is_some() {}
        let joined = std::iter::from_fn(|| joiner.poll_progress()).any(|news| matches!(news, Progress::Joined(_)));
        assert!(!joined, "joined by rubbish");
    }
}
