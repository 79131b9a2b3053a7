//! One well-formed example of every kind of everything: where mutations begin, and what the formats look like for good.

use anyhow::{Context as _, Result};
use control_api::Request;
use wire::{
    CERTIFICATE_VERSION, Certificate, Epoch, GENESIS_VERSION, Genesis, Hash, Identity, Mac, Network, NetworkId, Pool,
    Pool6, RECORD_VERSION, Range, Record, RecordBody, Signature, Slot, Title,
    chunk::{self, ChunkHeader, Piece, Segment, Travel},
    encode,
    envelope::{Course, Frames, Header, Kind},
    frame::Protocol,
    message::{
        Ask, Bucket, Came, Census, CensusBody, Commit, Entry, EntryBody, EntryState, Handover, Invited, LogBody,
        LogHead, Message, MoveKey, MovePrepare, MoveRefusal, MovedLease, Name, Need, Part, Promise, PromiseBody, Room,
        SpaceRequest, Why, Wish,
    },
};

/// (target, file, bytes)
pub(crate) type Seed = (&'static str, String, Vec<u8>);

/// All of them. The values are arbitrary and fixed.
pub(crate) fn seeds() -> Result<Vec<Seed>> {
    let mut seeds = vec![
        ("certificate", String::from("first"), encode(CERTIFICATE_VERSION, &certificate()?)),
        ("genesis", String::from("two-networks"), encode(GENESIS_VERSION, &genesis())),
        ("record", String::from("block"), encode(RECORD_VERSION, &record(64, 64))),
        ("record", String::from("slot"), encode(RECORD_VERSION, &record(77, 1))),
    ];
    seeds.extend(
        messages()
            .into_iter()
            .chain(more_messages())
            .map(|(name, message)| ("message", String::from(name), message.emit())),
    );
    seeds.extend(envelopes());
    seeds.extend(crate::calls::cni_calls());
    seeds.extend(streams()?);
    seeds.extend(mesh::formats::all().into_iter().map(|(target, name, bytes)| (target, String::from(name), bytes)));
    seeds.extend(conversations()?);
    seeds.extend(chunks()?);
    seeds.extend(frames().into_iter().map(|(name, bytes)| ("frame", String::from(name), bytes)));
    for (name, request) in requests() {
        seeds.push(("request", String::from(name), serde_json::to_vec(&request)?));
    }
    Ok(seeds)
}

fn id(fill: u8) -> Identity {
    Identity([fill; 32])
}

fn hash(fill: u8) -> Hash {
    Hash([fill; 32])
}

fn range(start: u32, length: u32) -> Range {
    Range { network: NetworkId(1), start: Slot(start), length }
}

fn record(start: u32, length: u32) -> Record {
    let body = RecordBody {
        range: range(start, length),
        owner: id(2),
        epoch: Epoch(300),
        author: id(1),
        previous: hash(9),
        home: None,
    };
    Record { body, signature: Signature([7; 64]) }
}

fn certificate() -> Result<Certificate> {
    let name = "host-1".parse()?;
    let title = Title { identity: id(1), noise_key: [3; 32], name, generation: 1, issuer: id(4) };
    Ok(Certificate { title, consent: Signature([5; 64]), voucher: Signature([6; 64]) })
}

fn genesis() -> Genesis {
    let network = |id, name: &str, pool6| Network {
        id: NetworkId(id),
        name: name.to_owned(),
        pool: Pool { base: [10, 32, 0, 0].into(), prefix: 12 },
        pool6,
    };
    let pool6 = Pool6 { base: [0xfd12, 0x3456, 0x789a, 0, 0, 0, 0, 0].into(), prefix: 64 };
    let networks = vec![network(1, "raddle", None), network(2, "six", Some(pool6))];
    Genesis { networks, block_slots: 64, first: id(1), authority: [8; 32], nonce: [6; 16] }
}

fn messages() -> Vec<(&'static str, Message)> {
    let key = MoveKey { network: NetworkId(1), slot: Slot(77), epoch: Epoch(3) };
    let network = NetworkId(1);
    let lease = MovedLease {
        workload: String::from("shop/web"),
        ifname: String::from("eth0"),
        container_id: String::from("c0ffee"),
        mac: Some(Mac([0x0a, 0, 0x5e, 0, 0x53, 1])),
        hold_s: Some(600),
        why: Why::Followed,
    };
    let (workload, ifname) = (String::from("web"), String::from("eth0"));
    let name = Name { network, workload: workload.clone(), ifname: ifname.clone() };
    let prepare = MovePrepare { key, workload, ifname, wish: Wish::Workload, handover: Handover::TakeOver };
    let hashes = vec![hash(1), hash(2)];
    let records = vec![record(64, 64), record(77, 1)];
    let refusal = |reason| Message::MoveRefused { key, reason };
    let container_id = String::from("c0ffee");
    vec![
        ("records", Message::Records(records.clone())),
        (
            "entries",
            Message::Entries(vec![entry(EntryState::Active), entry(EntryState::Held), entry(EntryState::Ended)]),
        ),
        ("digest", Message::Digest(vec![[0xd1; 16]; 256])),
        ("compare", Message::Compare(vec![Bucket { number: 1, hashes: hashes.clone() }])),
        ("want", Message::Want(hashes)),
        ("want-range", Message::WantRange(range(0, 1 << 20))),
        ("space-request", Message::SpaceRequest(SpaceRequest { network, have: 2, need: Need::Waiting })),
        ("space-grant", Message::SpaceGrant { network, records: records.clone() }),
        ("space-deny", Message::SpaceDeny { network, hint: Some(id(3)), resting: 64 }),
        ("move-prepare", Message::MovePrepare(prepare)),
        ("move-offer", Message::MoveOffer { key, lease: Some(lease.clone()) }),
        ("move-ready", Message::MoveReady { key }),
        ("move-commit", Message::MoveCommit { key, records, lease: Some(lease) }),
        ("move-abort", Message::MoveAbort { key }),
        ("refused-active", refusal(MoveRefusal::Active { container_id: container_id.clone() })),
        ("refused-taken", refusal(MoveRefusal::Taken { workload: String::from("db"), container_id })),
        ("refused-frozen", refusal(MoveRefusal::Frozen)),
        ("move-invite", {
            let (name, handover) = (name.clone(), Handover::WhenStopped);
            Message::MoveInvite { name, to: id(3), attempt: 7, handover }
        }),
        ("move-invited", {
            let outcome = Invited::Waits { holder: id(2), container_id: String::from("c0ffee") };
            Message::MoveInvited { name: name.clone(), attempt: 7, outcome }
        }),
        ("move-cancel", Message::MoveCancel { name }),
    ]
}

fn more_messages() -> Vec<(&'static str, Message)> {
    let records = vec![record(64, 64), record(77, 1)];
    let commit = Commit { ask: ask(), promises: vec![promise()] };
    let head = LogHead { body: LogBody { author: id(3), number: 9, life: 1 << 63 }, signature: Signature([5; 64]) };
    let commits = vec![commit.clone()];
    vec![
        ("revoke-ask", Message::RevokeAsk { ask: ask(), records: records.clone(), commits }),
        ("revoke-promise", Message::RevokePromise { promise: promise(), records: records.clone() }),
        ("revoke-commit", Message::RevokeCommit { commit, records }),
        ("part", Message::Part(Part { message: 1, number: 2, last: true, bytes: vec![7; 9] })),
        ("log-head", Message::LogHead(head)),
        (
            "census",
            Message::Census(Census {
                body: CensusBody { author: id(2), upto: 40, living: vec![3, 12, 40] },
                signature: Signature([6; 64]),
            }),
        ),
        ("room", Message::Room(vec![Room { network: NetworkId(1), blocks: 3 }])),
    ]
}

fn entry(state: EntryState) -> Entry {
    let body = EntryBody {
        network: NetworkId(1),
        workload: String::from("shop/web"),
        ifname: String::from("eth0"),
        slot: Slot(77),
        epoch: Epoch(3),
        version: 12,
        number: 34,
        author: id(2),
        state,
        container_id: String::from("c0ffee"),
        mac: Some(Mac([0x0a, 0, 0x5e, 0, 0x53, 1])),
        hold_s: Some(600),
        came: Some(Came { from: id(3), why: Why::TakenOver }),
    };
    Entry { body, signature: Signature([1; 64]) }
}

fn ask() -> Ask {
    Ask {
        victims: vec![id(2)],
        members: vec![id(1), id(2), id(3)],
        earlier: vec![hash(4)],
        known: vec![hash(5)],
        asker: id(1),
    }
}

fn promise() -> Promise {
    let body = PromiseBody { ask: hash(6), promiser: id(3), beyond: vec![hash(7)], members: vec![id(9)] };
    Promise { body, signature: Signature([2; 64]) }
}

fn envelopes() -> Vec<Seed> {
    let sealed = |kind, queue, course| {
        let header = Header { kind, queue, course, receiver: 0x0102_0304, counter: 1 << 40 };
        [&header.emit()[..], &[0xaa; 40]].concat()
    };
    let plain = |kind: Kind| [&kind.prefix()[..], &[0xbb; 144]].concat();
    [
        ("data", sealed(Kind::Data, 3, Course::Direct)),
        ("data-by-relay", sealed(Kind::Data, 3, Course::Relayed)),
        ("relayed", [sealed(Kind::Relayed, 3, Course::Direct), sealed(Kind::Data, 3, Course::Relayed)].concat()),
        ("control", sealed(Kind::Control, 0, Course::Direct)),
        ("initiation", plain(Kind::Initiation)),
        ("probe", plain(Kind::Probe)),
    ]
    .map(|(name, bytes)| ("envelope", String::from(name), bytes))
    .into()
}

/// What a router and one that wants to join hear from strangers: some of it well-formed.
fn conversations() -> Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (format, name, message) in mesh::formats::all() {
        let framed = Frames::emit(&message)?;
        match format {
            "mesh-initiation" | "mesh-response" | "mesh-cookie" => {
                seeds.push(("router", format!("{format}-{name}"), message));
            }
            "mesh-hello" => seeds.push(("router", format!("{format}-{name}"), framed)),
            "mesh-probe" => {
                seeds.push(("router", format!("{format}-{name}"), framed.clone()));
                seeds.push(("joiner", format!("{format}-{name}"), framed));
            }
            "mesh-refusal" => {
                let refused = [&Kind::JoinRefused.prefix()[..], &message].concat();
                seeds.push(("joiner", format!("{format}-{name}"), Frames::emit(&refused)?));
            }
            _ => {}
        }
    }
    for kind in [Kind::JoinAnswer, Kind::JoinProof] {
        let message = [&kind.prefix()[..], &[0xee; 96]].concat();
        seeds.push(("joiner", format!("{kind:?}").to_lowercase(), Frames::emit(&message)?));
        seeds.push(("router", format!("{kind:?}").to_lowercase(), Frames::emit(&message)?));
    }
    Ok(seeds)
}

fn streams() -> Result<Vec<Seed>> {
    let messages = [&[1; 5][..], &[], &[2; 300]].map(Frames::emit).into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let endless = [0xff, 0xff, 0xff, 0xff, 1, 2, 3].to_vec();
    Ok(vec![("stream", String::from("three"), messages), ("stream", String::from("endless"), endless)])
}

fn chunks() -> Result<Vec<Seed>> {
    let checksum = Some(chunk::Checksum { start: 34, offset: 16 });
    let of = |kind, travel, checksum| ChunkHeader { kind, travel, network: NetworkId(1), checksum };
    let segment = |protocol| chunk::Kind::Segment(Segment { protocol, number: 7, index: 2 });
    let piece = chunk::Kind::Piece(Piece { number: 9, offset: 1400, frame_bytes: 9014 });
    let mut all = Vec::new();
    let mut seeds = Vec::new();
    for (name, header) in [
        ("frame", of(chunk::Kind::Frame, Travel::Direct, None)),
        ("tcp-segment", of(segment(Protocol::Tcp), Travel::Direct, checksum)),
        ("udp-segment", of(segment(Protocol::Udp), Travel::Forwarded, None)),
        ("piece", of(piece, Travel::Direct, None)),
    ] {
        let body = tcp_frame();
        let mut bytes = vec![0; header.header_bytes()];
        header.emit(body.len(), &mut bytes).context("a header that does not fit")?;
        bytes.extend_from_slice(&body);
        all.extend_from_slice(&bytes);
        seeds.push(("chunk", String::from(name), bytes));
    }
    seeds.push(("chunk", String::from("several"), all));
    Ok(seeds)
}

fn tcp_frame() -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 32, 0, 70, 10, 32, 0, 130];
    ip.extend_from_slice(&[
        0x1f, 0x90, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0, b'd', b'a', b't', b'a',
    ]);
    ethernet(0x0800, &ip)
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ethertype.to_be_bytes(), payload].concat()
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 32, 0, 70, 0, 0, 0, 0, 0, 0, 10, 32, 0, 130];
    let udp = [
        0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 32, 0, 70, 10, 32, 0, 130, 0, 68, 0, 67, 0, 12, 0, 0, 1, 2, 3, 4,
    ];
    let later = [0x45, 0, 0, 28, 0, 1, 0x20, 185, 64, 17, 0, 0, 10, 32, 0, 70, 10, 32, 0, 130, 1, 2, 3, 4, 5, 6, 7, 8];
    let six = |next: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        let mut packet = vec![0x60, 0, 0, 0, 0, length, next, 255];
        packet.extend_from_slice(&[0xfd; 16]);
        packet.extend_from_slice(&[0xfe; 16]);
        packet.extend_from_slice(payload);
        ethernet(0x86dd, &packet)
    };
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &[0xfd; 16]].concat();
    let behind_options = [&[58, 0, 5, 2, 0, 0, 1, 0][..], &[134, 0, 0, 0, 64, 0, 0, 0]].concat();
    vec![
        ("arp", ethernet(0x0806, &arp)),
        ("tcp", tcp_frame()),
        ("udp", ethernet(0x0800, &udp)),
        ("fragment", ethernet(0x0800, &later)),
        ("neighbour-solicitation", six(58, &solicitation)),
        ("router-advertisement-behind-options", six(0, &behind_options)),
        ("tagged", ethernet(0x8100, &[0, 7, 8, 0])),
        ("spanning-tree", ethernet(38, &[0x42, 0x42, 3, 0, 0])),
    ]
}

fn requests() -> Vec<(&'static str, Request)> {
    let texts = |words: &[&str]| words.iter().map(|&word| String::from(word)).collect();
    vec![
        ("status", Request::Status),
        ("renew", Request::Renew),
        ("token-list", Request::TokenList),
        ("token-withdraw", Request::TokenWithdraw { id: String::from("5f1d8c0a") }),
        ("token-create", Request::TokenCreate { ttl_s: 3600, uses: 1 }),
        ("connect", Request::Connect { addresses: texts(&["host1", "[fd99::1]:6783"]) }),
        ("revoke", Request::Revoke { names: texts(&["host2"]), with_admitted: false }),
        (
            "release-workload",
            Request::ReleaseWorkload { network: String::from("raddle"), workload: String::from("shop/web") },
        ),
    ]
}
