//! What is printed: the text of every answer letter by letter, and that JSON is one object on one line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixListener;
use std::thread;

use control_api::server::{emit_reply, parse_request};
use control_api::{
    Answer, ApiError, Container, Containers, Done, ErrorKind, Health, LeaseState, LeaseView, Leases, MoveReason,
    MoveState, MoveView, Moved, Moves, PathKind, Peer, PeerCounts, PeerState, Peers, Reply, Request, Revoked,
    SlotCounts, Status, StoreState, TokenCreated, TokenState, TokenView, Tokens,
};
use tempfile::TempDir;

use crate::cli::ask::answer;
use crate::cli::failure::explain;
use crate::cli::*;

/// Runs a verb against a router that gives one reply; returns what was asked and what was printed or said.
fn ask(line: &str, reply: Reply<Answer>) -> (Request, Result<String, String>) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let router = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        BufReader::new(&stream).read_until(b'\n', &mut asked).unwrap();
        (&stream).write_all(&emit_reply(&reply)).unwrap();
        parse_request(&asked).unwrap()
    });
    let said = printed(line, &directory);
    (router.join().unwrap(), said)
}

fn printed(line: &str, directory: &TempDir) -> Result<String, String> {
    let socket = directory.path().join("control.sock");
    let words = line.split(' ').chain(["--control-socket", socket.to_str().unwrap()]);
    let args = try_parse(words).unwrap_or_else(|wrong| panic!("{wrong}"));
    let Command::Client(verb) = &args.command else { panic!("{line} is not a client verb") };
    let mut out = Vec::new();
    match answer(&args.globals, verb, &mut out) {
        Ok(()) => Ok(String::from_utf8(out).unwrap()),
        Err(wrong) => Err(explain(&wrong, wrong.remedy().as_deref())),
    }
}

fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        cluster: "aa".into(),
        name: "host1".into(),
        identity: "bb".into(),
        uptime_s: 11_520,
        listen: vec!["[::]:6783".parse().unwrap()],
        pool: "10.32.0.0/12".into(),
        pool6: Some("fd00::/64".into()),
        slots: SlotCounts { owned: 64, allocated: 2, held: 1, free: 59 },
        peers: PeerCounts { connected: 1, known: 2 },
        store: StoreState::Ok,
        health: Health::Degraded,
        warnings: vec!["host3 does not answer".into()],
        drops: [("no-owner".to_owned(), 3), ("replayed".to_owned(), 1)].into(),
    }
}

fn peer(name: &str, state: PeerState) -> Peer {
    Peer {
        name: name.into(),
        identity: "cc".into(),
        address: None,
        state,
        path: None,
        via: None,
        rtt_ms: None,
        cipher: None,
        mtu_bytes: None,
        tx_bytes: 0,
        rx_bytes: 0,
        since_s: 5,
        why: None,
    }
}

fn lease(last: u8, state: LeaseState) -> LeaseView {
    LeaseView {
        network: "raddle".into(),
        workload: "default/web".into(),
        address: Ipv4Addr::new(10, 32, 0, last),
        address6: None,
        mac: "02:00:00:00:00:05".into(),
        owner: "host2".into(),
        epoch: 3,
        state,
        container_id: None,
        ifname: None,
        since_s: 9,
        held_for_s: None,
        moving_to: None,
    }
}

#[test]
fn status_as_text() {
    let (asked, said) = ask("raddle status", Reply::Ok(Answer::Status(Box::new(status()))));
    assert_eq!(asked, Request::Status);
    let expected = "\
router      host1, raddle 0.1.0, up 3h 12m
identity    bb
cluster     aa
listens on  [::]:6783
pool        10.32.0.0/12, fd00::/64
addresses   2 in use, 1 held, 59 free of 64
peers       1 of 2 connected
store       ok
health      degraded
dropped     no-owner 3, replayed 1
warning:    host3 does not answer
";
    assert_eq!(said.unwrap(), expected);
}

#[test]
fn peers_as_text() {
    let near = Peer {
        address: Some("192.0.2.2:6783".parse().unwrap()),
        path: Some(PathKind::Direct),
        rtt_ms: Some(0.251),
        cipher: Some("aes-256-gcm".into()),
        mtu_bytes: Some(1472),
        tx_bytes: 5_000_000_000,
        rx_bytes: 20,
        ..peer("host2", PeerState::Connected)
    };
    let far = Peer { path: Some(PathKind::Relay), via: Some("host2".into()), ..peer("host3", PeerState::Suspect) };
    let beyond = Peer { why: Some("it is too far".into()), ..peer("host5", PeerState::Down) };
    let peers = Peers { peers: vec![peer("host4", PeerState::Down), beyond, near, far] };
    let (_, said) = ask("raddle peers", Reply::Ok(Answer::Peers(peers)));
    let expected = "\
NAME   ADDRESS         STATE      PATH                 RTT   MTU     SENT  RECEIVED  SINCE  CIPHER
host2  192.0.2.2:6783  connected  direct           0.25 ms  1472  4.6 GiB      20 B     5s  aes-256-gcm
host3  -               suspect    relay via host2        -     -      0 B       0 B     5s  -
host4  -               down       -                      -     -      0 B       0 B     5s  -
host5  -               down       -                      -     -      0 B       0 B     5s  -
no path to host5: it is too far
";
    assert_eq!(said.unwrap(), expected);
}

#[test]
fn ps_as_text() {
    let id = "c0ffee".repeat(10);
    let container = Container {
        network: "raddle".into(),
        container_id: id.clone(),
        ifname: "eth0".into(),
        address: Ipv4Addr::new(10, 32, 0, 5),
        address6: None,
        mac: "02:00:00:00:00:05".into(),
        workload: "default/web".into(),
        netns: None,
        host_interface: "rd0".into(),
        drops: BTreeMap::from([("source-address".to_owned(), 3), ("vlan".to_owned(), 1)]),
    };
    let nameless = Container { workload: id, drops: BTreeMap::new(), ..container.clone() };
    let containers = Containers { containers: vec![container, nameless] };
    let (_, said) = ask("raddle ps", Reply::Ok(Answer::Containers(containers)));
    let expected = "\
CONTAINER     INTERFACE  ADDRESS    ADDRESS6  MAC                WORKLOAD     NETWORK  DROPS
c0ffeec0ffee  eth0       10.32.0.5  -         02:00:00:00:00:05  default/web  raddle       4
c0ffeec0ffee  eth0       10.32.0.5  -         02:00:00:00:00:05  -            raddle       0
";
    assert_eq!(said.unwrap(), expected);
}

#[test]
fn leases_as_text() {
    let active = LeaseView { container_id: Some("c0ffee".into()), ..lease(5, LeaseState::Active) };
    let held = LeaseView { held_for_s: Some(591), ..lease(6, LeaseState::Held) };
    let moving = LeaseView { moving_to: Some("host3".into()), ..lease(9, LeaseState::Active) };
    let leases =
        Leases { leases: vec![moving, lease(8, LeaseState::Frozen), held, active, lease(7, LeaseState::Held)] };
    let (_, said) = ask("raddle leases", Reply::Ok(Answer::Leases(leases)));
    let expected = "\
ADDRESS    ADDRESS6  MAC                WORKLOAD     OWNER  EPOCH  STATE                     SINCE  CONTAINER  NETWORK
10.32.0.5  -         02:00:00:00:00:05  default/web  host2      3  active                       9s  c0ffee     raddle
10.32.0.6  -         02:00:00:00:00:05  default/web  host2      3  held, 9m 51s left            9s  -          raddle
10.32.0.7  -         02:00:00:00:00:05  default/web  host2      3  held                         9s  -          raddle
10.32.0.8  -         02:00:00:00:00:05  default/web  host2      3  frozen                       9s  -          raddle
10.32.0.9  -         02:00:00:00:00:05  default/web  host2      3  active, to move to host3     9s  -          raddle
";
    assert_eq!(said.unwrap(), expected);
}

#[test]
fn moves_as_text() {
    let moved = |workload: &str, epoch, why| MoveView {
        at_unix_s: 1_795_257_727 + epoch,
        network: "raddle".into(),
        workload: workload.into(),
        ifname: "eth0".into(),
        address: Ipv4Addr::new(10, 32, 0, 5),
        address6: None,
        from: "host1".into(),
        to: "host2".into(),
        epoch,
        why,
    };
    let all =
        || Moves { moves: vec![moved("default/web", 2, MoveReason::Followed), moved("db", 1, MoveReason::TakenOver)] };
    let (asked, said) = ask("raddle moves", Reply::Ok(Answer::Moves(all())));
    assert_eq!(asked, Request::Moves);
    let expected = "\
WHEN                  WORKLOAD     ADDRESS    FROM   TO     EPOCH  WHY                    NETWORK
2026-11-21 10:42:09Z  default/web  10.32.0.5  host1  host2      2  followed its workload  raddle
2026-11-21 10:42:08Z  db           10.32.0.5  host1  host2      1  taken over             raddle
";
    assert_eq!(said.unwrap(), expected);
    let (_, said) = ask("raddle moves db --output json", Reply::Ok(Answer::Moves(all())));
    let only: Moves = serde_json::from_str(&said.unwrap()).unwrap();
    assert_eq!(only.moves, [moved("db", 1, MoveReason::TakenOver)]);
}

#[test]
fn a_token_stands_alone_on_its_line() {
    let created =
        || Answer::TokenCreated(TokenCreated { token: "t0ken".into(), expires_s: 600, uses: 2, id: "0a1b".into() });
    let (asked, said) = ask("raddle token create --ttl 10m --uses 2", Reply::Ok(created()));
    assert_eq!(asked, Request::TokenCreate { ttl_s: 600, uses: 2 });
    assert_eq!(said.unwrap(), "t0ken\n");
    let (_, said) = ask("raddle token create --output json", Reply::Ok(created()));
    assert_eq!(said.unwrap(), "{\"token\":\"t0ken\",\"expires_s\":600,\"uses\":2,\"id\":\"0a1b\"}\n");
}

#[test]
fn tokens_are_listed_without_their_secrets_and_withdrawn_by_their_ids() {
    let token = |id: &str, state, uses, expires_s| TokenView { id: id.into(), state, uses, expires_s };
    let tokens = vec![token("0a1b", TokenState::Live, 2, 3599), token("0a1c", TokenState::Used, 0, 0)];
    let (asked, said) = ask("raddle token list", Reply::Ok(Answer::Tokens(Tokens { tokens })));
    assert_eq!(asked, Request::TokenList);
    let expected = "\
ID    STATE  USES  EXPIRES
0a1c  used      0        -
0a1b  live      2  59m 59s
";
    assert_eq!(said.unwrap(), expected);
    let (asked, said) = ask("raddle token withdraw 0a1", Reply::Ok(Answer::Done(Done {})));
    assert_eq!((asked, said.unwrap()), (Request::TokenWithdraw { id: "0a1".into() }, String::new()));
}

#[test]
fn json_is_one_object_on_one_line() {
    for (line, reply) in [
        ("raddle --output json status", Answer::Status(Box::new(status()))),
        ("raddle --output json peers", Answer::Peers(Peers { peers: vec![peer("a", PeerState::Down)] })),
        ("raddle --output json ps", Answer::Containers(Containers::default())),
        ("raddle --output json leases", Answer::Leases(Leases { leases: vec![lease(5, LeaseState::Held)] })),
        ("raddle --output json connect host1", Answer::Done(Done {})),
        ("raddle --output json forget host1", Answer::Done(Done {})),
        ("raddle --output json release web", Answer::Done(Done {})),
    ] {
        let expected = serde_json::to_string(&reply).unwrap() + "\n";
        let (_, said) = ask(line, Reply::Ok(reply));
        assert_eq!(said.unwrap(), expected, "{line}");
        assert_eq!(expected.lines().count(), 1);
    }
}

#[test]
fn commands_are_passed_on_as_they_are_written() {
    let (asked, said) = ask("raddle connect host1 [::1]:7000", Reply::Ok(Answer::Done(Done {})));
    assert_eq!(asked, Request::Connect { addresses: vec!["host1:6783".into(), "[::1]:7000".into()] });
    assert_eq!(said.unwrap(), "");
    let (asked, _) = ask("raddle release --network blue web", Reply::Ok(Answer::Done(Done {})));
    assert_eq!(asked, Request::ReleaseWorkload { network: "blue".into(), workload: "web".into() });
}

#[test]
fn a_move_says_whether_it_waits() {
    let moved = |state, holder: Option<&str>| Moved {
        workload: "web".into(),
        to: "host2".into(),
        state,
        holder: holder.map(str::to_owned),
        container_id: holder.map(|_| "c0ffee".to_owned()),
    };
    let (asked, said) =
        ask("raddle move web --to host2", Reply::Ok(Answer::Moved(moved(MoveState::Waiting, Some("host1")))));
    let (network, ifname) = ("raddle".to_owned(), "eth0".to_owned());
    let (workload, to) = ("web".to_owned(), "host2".to_owned());
    assert_eq!(asked, Request::Move { network, workload, ifname, to, take_over: false });
    assert_eq!(said.unwrap(), "web still runs on host1 in container c0ffee; its address goes to host2 when it stops\n");
    let (_, said) = ask("raddle move web --to host2", Reply::Ok(Answer::Moved(moved(MoveState::Ready, None))));
    assert_eq!(said.unwrap(), "the address of web is on host2, for its next start there\n");
}

#[test]
fn a_move_is_insisted_on_or_called_off() {
    let refusal = || Reply::Error(ApiError::new(ErrorKind::Unknown, "unknown"));
    let place = || ("raddle".to_owned(), "web".to_owned(), "eth0".to_owned());
    let (network, workload, ifname) = place();
    let (asked, _) = ask("raddle move web --to host2 --take-over", refusal());
    assert_eq!(asked, Request::Move { network, workload, ifname, to: "host2".into(), take_over: true });
    let (network, workload, ifname) = place();
    let (asked, said) = ask("raddle move web --cancel", Reply::Ok(Answer::Done(Done {})));
    assert_eq!((asked, said.unwrap()), (Request::CancelMove { network, workload, ifname }, String::new()));
}

#[test]
fn a_reservation_is_passed_on_as_it_is_written() {
    let refusal = ApiError::new(ErrorKind::Taken, "taken");
    let (asked, _) = ask("raddle reserve --network blue --interface eth1 db 10.32.0.9", Reply::Error(refusal));
    let (network, workload, ifname) = ("blue".to_owned(), "db".to_owned(), "eth1".to_owned());
    assert_eq!(asked, Request::Reserve { network, workload, ifname, address: Some(Ipv4Addr::new(10, 32, 0, 9)) });
}

#[test]
fn a_revocation_says_whom_it_took() {
    let answer = Revoked { revoked: vec!["a".into(), "b".into()] };
    let (asked, said) = ask("raddle revoke a b", Reply::Ok(Answer::Revoked(answer)));
    assert_eq!(asked, Request::Revoke { names: vec!["a".into(), "b".into()], with_admitted: false });
    let expected = "\
a is revoked, its addresses have passed on
b is revoked, its addresses have passed on
";
    assert_eq!(said.unwrap(), expected);
}

#[test]
fn a_router_that_does_not_run_is_named_with_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let said = printed("raddle status", &directory).unwrap_err();
    let expected = format!(
        "raddle: no router answers at {}: No such file or directory (os error 2)\n  \
         start it: raddle router (or name the socket of one that runs: --control-socket PATH)\n",
        socket.display()
    );
    assert_eq!(said, expected);
}

#[test]
fn a_refusal_is_shown_with_its_remedy() {
    let error = ApiError::new(ErrorKind::Unknown, "no router is called \"x\"").with_remedy("see raddle peers");
    let (_, said) = ask("raddle revoke x", Reply::Error(error));
    assert_eq!(said.unwrap_err(), "raddle: no router is called \"x\"\n  see raddle peers\n");
}

#[test]
fn version_needs_no_router() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(printed("raddle version", &directory).unwrap(), format!("raddle {}\n", env!("CARGO_PKG_VERSION")));
    assert!(printed("raddle version --output json", &directory).unwrap().starts_with("{\"version\":\""));
}
