//! The JSON of every word, letter by letter: what is written here is an interface.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::de::DeserializeOwned;

use super::*;

fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &str) {
    assert_eq!(serde_json::to_string(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value);
}

fn attachment() -> Attachment {
    Attachment {
        network: "raddle".into(),
        container_id: "c0ffee".into(),
        ifname: "eth0".into(),
        cni_network: "web".into(),
        owner_kind: OwnerKind::Cni,
    }
}

#[test]
fn requests_without_operands() {
    golden(&Request::Status, r#"{"verb":"status"}"#);
    golden(&Request::Peers, r#"{"verb":"peers"}"#);
    golden(&Request::Ps, r#"{"verb":"ps"}"#);
    golden(&Request::Leases, r#"{"verb":"leases"}"#);
    golden(&Request::Moves, r#"{"verb":"moves"}"#);
    golden(&Request::Renew, r#"{"verb":"renew"}"#);
    golden(&Request::TokenList, r#"{"verb":"token-list"}"#);
}

#[test]
fn requests_of_an_operator() {
    golden(&Request::TokenCreate { ttl_s: 3600, uses: 1 }, r#"{"verb":"token-create","ttl_s":3600,"uses":1}"#);
    golden(&Request::TokenWithdraw { id: "0a1b".into() }, r#"{"verb":"token-withdraw","id":"0a1b"}"#);
    let addresses = vec!["host1:6783".to_owned()];
    golden(&Request::Connect { addresses: addresses.clone() }, r#"{"verb":"connect","addresses":["host1:6783"]}"#);
    golden(&Request::Forget { addresses }, r#"{"verb":"forget","addresses":["host1:6783"]}"#);
    golden(
        &Request::Revoke { names: vec!["b".into()], with_admitted: true },
        r#"{"verb":"revoke","names":["b"],"with_admitted":true}"#,
    );
    golden(
        &Request::ReleaseWorkload { network: "raddle".into(), workload: "web".into() },
        r#"{"verb":"release-workload","network":"raddle","workload":"web"}"#,
    );
}

#[test]
fn requests_of_a_plugin() {
    golden(
        &Request::Release(attachment()),
        r#"{"verb":"release","network":"raddle","container_id":"c0ffee","ifname":"eth0","cni_network":"web","owner_kind":"cni"}"#,
    );
    golden(
        &Request::Check(attachment()),
        r#"{"verb":"check","network":"raddle","container_id":"c0ffee","ifname":"eth0","cni_network":"web","owner_kind":"cni"}"#,
    );
    golden(
        &Request::Ready { network: "raddle".into(), masquerade: true },
        r#"{"verb":"ready","network":"raddle","masquerade":true}"#,
    );
    let bare = Request::Ready { network: "raddle".into(), masquerade: false };
    assert_eq!(serde_json::from_str::<Request>(r#"{"verb":"ready"}"#).unwrap(), bare);
    golden(
        &Request::Gc(GcRequest {
            cni_network: "web".into(),
            valid: Some(vec![AttachmentId { container_id: "c0ffee".into(), ifname: "eth0".into() }]),
            started_ago_s: 2,
        }),
        r#"{"verb":"gc","cni_network":"web","valid":[{"container_id":"c0ffee","ifname":"eth0"}],"started_ago_s":2}"#,
    );
}

#[test]
fn a_lease_request() {
    golden(
        &Request::Lease(LeaseRequest {
            network: "raddle".into(),
            cni_network: "web".into(),
            container_id: "c0ffee".into(),
            ifname: "eth0".into(),
            netns: Some("/run/netns/x".into()),
            workload: Some("default/web".into()),
            sticky: true,
            address: Some(Ipv4Addr::new(10, 32, 0, 5)),
            address6: Some(Ipv6Addr::LOCALHOST),
            mac: None,
            hold_s: Some(600),
            take_over: false,
            host_interface: "rd0123456789ab".into(),
            masquerade: true,
            owner_kind: OwnerKind::Cni,
        }),
        concat!(
            r#"{"verb":"lease","network":"raddle","cni_network":"web","container_id":"c0ffee","ifname":"eth0","#,
            r#""netns":"/run/netns/x","workload":"default/web","sticky":true,"address":"10.32.0.5","address6":"::1","mac":null,"#,
            r#""hold_s":600,"take_over":false,"host_interface":"rd0123456789ab","masquerade":true,"owner_kind":"cni"}"#
        ),
    );
}

#[test]
fn the_least_a_lease_request_needs() {
    let line = r#"{"verb":"lease","cni_network":"web","container_id":"c","ifname":"eth0","host_interface":"rd0","owner_kind":"robot"}"#;
    let Request::Lease(request) = serde_json::from_str(line).unwrap() else { panic!("another verb") };
    assert_eq!(request.network, DEFAULT_NETWORK);
    assert_eq!(request.owner_kind, OwnerKind::Other);
    assert!(!request.sticky && !request.masquerade && request.workload.is_none() && request.hold_s.is_none());
}

#[test]
fn a_gc_that_names_no_attachments_is_not_one_that_names_none() {
    let valid = |line: &str| {
        let Request::Gc(request) = serde_json::from_str(line).unwrap() else { panic!("another verb") };
        request.valid
    };
    assert_eq!(valid(r#"{"verb":"gc","cni_network":"web"}"#), None);
    assert_eq!(valid(r#"{"verb":"gc","cni_network":"web","valid":[]}"#), Some(Vec::new()));
}

#[test]
fn replies() {
    golden(&Reply::Ok(Done {}), r#"{"ok":{}}"#);
    let error = ApiError::new(ErrorKind::Held, "10.32.0.5 is in use on host2");
    golden(
        &Reply::<Done>::Error(error.clone()),
        r#"{"error":{"code":"held","message":"10.32.0.5 is in use on host2"}}"#,
    );
    golden(
        &Reply::<Done>::Error(error.with_remedy("stop it there")),
        r#"{"error":{"code":"held","message":"10.32.0.5 is in use on host2","remedy":"stop it there"}}"#,
    );
}

#[test]
fn error_kinds() {
    use ErrorKind::*;
    for kind in [TryAgain, Held, Taken, Exhausted, Duplicate, Invalid, Unknown, ReadOnly, NotReady, Internal] {
        golden(&kind, &format!("\"{}\"", kind.as_str()));
    }
    assert_eq!(serde_json::from_str::<ErrorKind>("\"eaten-by-a-bear\"").unwrap(), Internal);
}

#[test]
fn answers_of_a_plugin() {
    golden(
        &Lease {
            network: "raddle".into(),
            workload: "default/web".into(),
            address: "10.32.0.5/12".parse().unwrap(),
            address6: Some("fd00::5/64".parse().unwrap()),
            gateway: Ipv4Addr::new(10, 32, 0, 1),
            gateway6: None,
            mac: "02:00:00:00:00:05".into(),
            mtu_bytes: 1420,
            bridge: "raddle0".into(),
            host_interface: "rd0123456789ab".into(),
            epoch: 3,
        },
        concat!(
            r#"{"network":"raddle","workload":"default/web","address":"10.32.0.5/12","address6":"fd00::5/64","#,
            r#""gateway":"10.32.0.1","gateway6":null,"mac":"02:00:00:00:00:05","mtu_bytes":1420,"bridge":"raddle0","#,
            r#""host_interface":"rd0123456789ab","epoch":3}"#
        ),
    );
    let gone = CollectedAttachment { container_id: "c".into(), ifname: "eth0".into(), host_interface: "rd0".into() };
    golden(
        &Collected { collected: vec![gone] },
        r#"{"collected":[{"container_id":"c","ifname":"eth0","host_interface":"rd0"}]}"#,
    );
}

#[test]
fn status() {
    golden(
        &Status {
            version: "0.1.0".into(),
            cluster: "aa".into(),
            name: "host1".into(),
            identity: "bb".into(),
            uptime_s: 61,
            listen: vec!["[::]:6783".parse().unwrap()],
            pool: "10.32.0.0/12".into(),
            pool6: None,
            slots: SlotCounts { owned: 64, allocated: 2, held: 1, free: 59 },
            peers: PeerCounts { connected: 1, known: 2 },
            store: StoreState::Ok,
            health: Health::Degraded,
            warnings: vec!["peer host3 is down".into()],
            drops: [("no-owner".to_owned(), 3)].into(),
        },
        concat!(
            r#"{"version":"0.1.0","cluster":"aa","name":"host1","identity":"bb","uptime_s":61,"listen":["[::]:6783"],"#,
            r#""pool":"10.32.0.0/12","pool6":null,"slots":{"owned":64,"allocated":2,"held":1,"free":59},"#,
            r#""peers":{"connected":1,"known":2},"store":"ok","health":"degraded","warnings":["peer host3 is down"],"drops":{"no-owner":3}}"#
        ),
    );
}

#[test]
fn peers() {
    golden(
        &Peers {
            peers: vec![Peer {
                name: "host2".into(),
                identity: "cc".into(),
                address: Some("192.0.2.2:6783".parse().unwrap()),
                state: PeerState::Connected,
                path: Some(PathKind::Direct),
                via: None,
                rtt_ms: Some(0.25),
                cipher: Some("aes-256-gcm".into()),
                mtu_bytes: Some(1472),
                tx_bytes: 10,
                rx_bytes: 20,
                since_s: 5,
                why: None,
            }],
        },
        concat!(
            r#"{"peers":[{"name":"host2","identity":"cc","address":"192.0.2.2:6783","state":"connected","path":"direct","#,
            r#""via":null,"rtt_ms":0.25,"cipher":"aes-256-gcm","mtu_bytes":1472,"tx_bytes":10,"rx_bytes":20,"since_s":5,"why":null}]}"#
        ),
    );
}

#[test]
fn ps() {
    golden(
        &Containers {
            containers: vec![Container {
                network: "raddle".into(),
                container_id: "c0ffee".into(),
                ifname: "eth0".into(),
                address: Ipv4Addr::new(10, 32, 0, 5),
                address6: None,
                mac: "02:00:00:00:00:05".into(),
                workload: "default/web".into(),
                netns: None,
                host_interface: "rd0".into(),
                drops: BTreeMap::from([("source-address".to_owned(), 3)]),
            }],
        },
        concat!(
            r#"{"containers":[{"network":"raddle","container_id":"c0ffee","ifname":"eth0","address":"10.32.0.5","#,
            r#""address6":null,"mac":"02:00:00:00:00:05","workload":"default/web","netns":null,"host_interface":"rd0","#,
            r#""drops":{"source-address":3}}]}"#
        ),
    );
}

#[test]
fn leases() {
    golden(
        &Leases {
            leases: vec![LeaseView {
                network: "raddle".into(),
                workload: "web".into(),
                address: Ipv4Addr::new(10, 32, 0, 5),
                address6: None,
                mac: "02:00:00:00:00:05".into(),
                owner: "host2".into(),
                epoch: 2,
                state: LeaseState::Held,
                container_id: None,
                ifname: None,
                since_s: 9,
                held_for_s: Some(591),
                moving_to: None,
            }],
        },
        concat!(
            r#"{"leases":[{"network":"raddle","workload":"web","address":"10.32.0.5","address6":null,"#,
            r#""mac":"02:00:00:00:00:05","owner":"host2","epoch":2,"state":"held","container_id":null,"ifname":null,"#,
            r#""since_s":9,"held_for_s":591,"moving_to":null}]}"#
        ),
    );
}

#[test]
fn moves() {
    let moved = MoveView {
        at_unix_s: 1_795_257_727,
        network: "raddle".into(),
        workload: "web".into(),
        ifname: "eth0".into(),
        address: Ipv4Addr::new(10, 32, 0, 5),
        address6: None,
        from: "host1".into(),
        to: "host2".into(),
        epoch: 2,
        why: MoveReason::TakenOver,
    };
    golden(
        &Moves { moves: vec![moved] },
        concat!(
            r#"{"moves":[{"at_unix_s":1795257727,"network":"raddle","workload":"web","ifname":"eth0","#,
            r#""address":"10.32.0.5","address6":null,"from":"host1","to":"host2","epoch":2,"why":"taken-over"}]}"#
        ),
    );
    for (why, text) in
        [(MoveReason::Followed, "followed"), (MoveReason::Asked, "asked"), (MoveReason::Revoked, "revoked")]
    {
        golden(&why, &format!("{text:?}"));
    }
}

#[test]
fn operator_answers() {
    golden(
        &TokenCreated { token: "secret".into(), expires_s: 3600, uses: 1, id: "0a1b".into() },
        r#"{"token":"secret","expires_s":3600,"uses":1,"id":"0a1b"}"#,
    );
    golden(
        &Tokens { tokens: vec![TokenView { id: "0a1b".into(), state: TokenState::Live, uses: 2, expires_s: 60 }] },
        r#"{"tokens":[{"id":"0a1b","state":"live","uses":2,"expires_s":60}]}"#,
    );
    golden(&Renewed { generation: 2, away: vec!["b".into()] }, r#"{"generation":2,"away":["b"]}"#);
    golden(&Revoked { revoked: vec!["b".into()] }, r#"{"revoked":["b"]}"#);
}

#[test]
fn a_token_is_not_in_the_debug_output() {
    let token = TokenCreated { token: "secret".into(), expires_s: 3600, uses: 1, id: "0a1b".into() };
    assert!(!format!("{:?}", Answer::TokenCreated(token)).contains("secret"));
}

#[test]
fn an_answer_is_written_as_the_struct_it_holds() {
    let answer = Reply::Ok(Answer::Done(Done {}));
    assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"ok":{}}"#);
    let answer = Reply::Ok(Answer::Peers(Peers::default()));
    assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"ok":{"peers":[]}}"#);
}

#[test]
fn states_of_a_newer_router_are_unknown() {
    assert_eq!(serde_json::from_str::<LeaseState>("\"napping\"").unwrap(), LeaseState::Unknown);
    assert_eq!(serde_json::from_str::<PeerState>("\"napping\"").unwrap(), PeerState::Unknown);
    assert_eq!(serde_json::from_str::<PathKind>("\"teleport\"").unwrap(), PathKind::Unknown);
    assert_eq!(serde_json::from_str::<Health>("\"poorly\"").unwrap(), Health::Unknown);
    assert_eq!(serde_json::from_str::<StoreState>("\"soggy\"").unwrap(), StoreState::Unknown);
}
