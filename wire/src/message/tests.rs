//! Whatever was emitted parses to itself, and anything else to an error.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::record::RecordBody;

fn identity() -> impl Strategy<Value = Identity> {
    any::<[u8; 32]>().prop_map(Identity)
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn signature() -> impl Strategy<Value = Signature> {
    any::<([u8; 32], [u8; 32])>().prop_map(|(left, right)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&left);
        bytes[32..].copy_from_slice(&right);
        Signature(bytes)
    })
}

fn range() -> impl Strategy<Value = Range> {
    any::<[u32; 3]>().prop_map(|[network, start, length]| Range {
        network: NetworkId(network),
        start: Slot(start),
        length,
    })
}

fn record() -> impl Strategy<Value = Record> {
    (range(), identity(), any::<u64>(), identity(), hash(), signature()).prop_map(
        |(range, owner, epoch, author, previous, signature)| Record {
            body: RecordBody { range, owner, epoch: Epoch(epoch), author, previous, home: None },
            signature,
        },
    )
}

fn text() -> impl Strategy<Value = String> {
    "[a-z/.-]{0,80}"
}

fn move_key() -> impl Strategy<Value = MoveKey> {
    (any::<[u32; 2]>(), any::<u64>()).prop_map(|([network, slot], epoch)| MoveKey {
        network: NetworkId(network),
        slot: Slot(slot),
        epoch: Epoch(epoch),
    })
}

fn moved_lease() -> impl Strategy<Value = Option<MovedLease>> {
    let mac = proptest::option::of(any::<[u8; 6]>().prop_map(Mac));
    let lease = (text(), text(), text(), mac, any::<Option<u64>>(), why()).prop_map(
        |(workload, ifname, container_id, mac, hold_s, why)| MovedLease {
            workload,
            ifname,
            container_id,
            mac,
            hold_s,
            why,
        },
    );
    proptest::option::of(lease)
}

fn why() -> impl Strategy<Value = Why> {
    prop_oneof![Just(Why::Followed), Just(Why::Asked), Just(Why::TakenOver), Just(Why::Revoked)]
}

fn entry() -> impl Strategy<Value = Entry> {
    let state = prop_oneof![Just(EntryState::Active), Just(EntryState::Held), Just(EntryState::Ended)];
    let came = proptest::option::of((identity(), why()).prop_map(|(from, why)| Came { from, why }));
    let terms = (proptest::option::of(any::<[u8; 6]>().prop_map(Mac)), any::<Option<u64>>(), came);
    (text(), text(), text(), any::<(u32, u32, u64, u64, u64)>(), identity(), state, terms, signature()).prop_map(
        |(
            workload,
            ifname,
            container_id,
            (network, slot, epoch, version, number),
            author,
            state,
            (mac, hold_s, came),
            signature,
        )| {
            let (network, slot, epoch) = (NetworkId(network), Slot(slot), Epoch(epoch));
            let body = EntryBody {
                network,
                workload,
                ifname,
                slot,
                epoch,
                version,
                number,
                author,
                state,
                container_id,
                mac,
                hold_s,
                came,
            };
            Entry { body, signature }
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    (vec(identity(), 0..4), vec(identity(), 0..4), vec(hash(), 0..4), vec(hash(), 0..4), identity())
        .prop_map(|(victims, members, earlier, known, asker)| Ask { victims, members, earlier, known, asker })
}

fn promise() -> impl Strategy<Value = Promise> {
    (hash(), identity(), vec(hash(), 0..4), vec(identity(), 0..4), signature()).prop_map(
        |(ask, promiser, beyond, members, signature)| Promise {
            body: PromiseBody { ask, promiser, beyond, members },
            signature,
        },
    )
}

fn refusal() -> impl Strategy<Value = MoveRefusal> {
    prop_oneof![
        text().prop_map(|container_id| MoveRefusal::Active { container_id }),
        (text(), text()).prop_map(|(workload, container_id)| MoveRefusal::Taken { workload, container_id }),
        Just(MoveRefusal::Resting),
        Just(MoveRefusal::Unknown),
        Just(MoveRefusal::Frozen),
        Just(MoveRefusal::NotOwner),
        Just(MoveRefusal::Unable),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    (any::<u32>(), text(), text()).prop_map(|(network, workload, ifname)| Name {
        network: NetworkId(network),
        workload,
        ifname,
    })
}

fn handover() -> impl Strategy<Value = Handover> {
    prop_oneof![Just(Handover::WhenStopped), Just(Handover::TakeOver)]
}

fn invited() -> impl Strategy<Value = Invited> {
    prop_oneof![
        Just(Invited::Here),
        Just(Invited::Unknown),
        (identity(), text()).prop_map(|(holder, container_id)| Invited::Waits { holder, container_id }),
        text().prop_map(|reason| Invited::Refused { reason }),
    ]
}

fn verdict() -> impl Strategy<Value = NameVerdict> {
    prop_oneof![
        Just(NameVerdict::Granted),
        identity().prop_map(|by| NameVerdict::Claimed { by }),
        identity().prop_map(|by| NameVerdict::Known { by }),
    ]
}

fn about_the_rest() -> impl Strategy<Value = Message> {
    prop_oneof![
        (identity(), any::<u64>(), any::<u64>(), signature()).prop_map(|(author, number, life, signature)| {
            Message::LogHead(LogHead { body: LogBody { author, number, life }, signature })
        }),
        (identity(), vec(0u64..1000, 0..9), any::<u32>(), signature()).prop_map(
            |(author, mut living, beyond, signature)| {
                living.sort_unstable();
                let upto = living.last().copied().unwrap_or_default() + u64::from(beyond);
                Message::Census(Census { body: CensusBody { author, upto, living }, signature })
            }
        ),
        vec(any::<(u32, u32)>(), 0..4).prop_map(|rooms| {
            let room = |(network, blocks)| Room { network: NetworkId(network), blocks };
            Message::Room(rooms.into_iter().map(room).collect())
        }),
        (any::<u64>(), any::<u32>(), any::<bool>(), vec(any::<u8>(), 0..9))
            .prop_map(|(message, number, last, bytes)| { Message::Part(Part { message, number, last, bytes }) }),
    ]
}

fn about_names() -> impl Strategy<Value = Message> {
    prop_oneof![
        (name(), any::<u64>(), any::<u64>()).prop_map(|(name, attempt, number)| Message::NameAsk {
            name,
            attempt,
            number
        }),
        (name(), any::<u64>(), verdict()).prop_map(|(name, attempt, verdict)| Message::NameAnswer {
            name,
            attempt,
            verdict
        }),
        (name(), any::<u64>()).prop_map(|(name, attempt)| Message::NameDrop { name, attempt }),
        (name(), identity(), any::<u64>(), handover()).prop_map(|(name, to, attempt, handover)| Message::MoveInvite {
            name,
            to,
            attempt,
            handover
        }),
        name().prop_map(|name| Message::MoveCancel { name }),
        (name(), any::<u64>(), invited()).prop_map(|(name, attempt, outcome)| Message::MoveInvited {
            name,
            attempt,
            outcome
        }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let records = || vec(record(), 0..4);
    let network = || any::<u32>().prop_map(NetworkId);
    let need = prop_oneof![Just(Need::Spare), Just(Need::Waiting)];
    let wish = prop_oneof![Just(Wish::Workload), Just(Wish::Address)];
    let commit = || (ask(), vec(promise(), 0..3)).prop_map(|(ask, promises)| Commit { ask, promises });
    prop_oneof![
        records().prop_map(Message::Records),
        vec(entry(), 0..3).prop_map(Message::Entries),
        vec(any::<Sum>(), DIGEST_BUCKETS).prop_map(Message::Digest),
        vec((any::<u8>(), vec(hash(), 0..4)).prop_map(|(number, hashes)| Bucket { number, hashes }), 0..4)
            .prop_map(Message::Compare),
        vec(hash(), 0..9).prop_map(Message::Want),
        range().prop_map(Message::WantRange),
        (network(), any::<u32>(), need).prop_map(|(network, have, need)| Message::SpaceRequest(SpaceRequest {
            network,
            have,
            need
        })),
        (network(), records()).prop_map(|(network, records)| Message::SpaceGrant { network, records }),
        (network(), proptest::option::of(identity()), any::<u32>())
            .prop_map(|(network, hint, resting)| Message::SpaceDeny { network, hint, resting }),
        (move_key(), text(), text(), wish, handover()).prop_map(|(key, workload, ifname, wish, handover)| {
            Message::MovePrepare(MovePrepare { key, workload, ifname, wish, handover })
        }),
        (move_key(), moved_lease()).prop_map(|(key, lease)| Message::MoveOffer { key, lease }),
        move_key().prop_map(|key| Message::MoveReady { key }),
        (move_key(), records(), moved_lease()).prop_map(|(key, records, lease)| Message::MoveCommit {
            key,
            records,
            lease
        }),
        move_key().prop_map(|key| Message::MoveAbort { key }),
        (move_key(), refusal()).prop_map(|(key, reason)| Message::MoveRefused { key, reason }),
        (ask(), records(), vec(commit(), 0..2)).prop_map(|(ask, records, commits)| Message::RevokeAsk {
            ask,
            records,
            commits
        }),
        (promise(), records()).prop_map(|(promise, records)| Message::RevokePromise { promise, records }),
        (commit(), records()).prop_map(|(commit, records)| Message::RevokeCommit { commit, records }),
        about_names(),
        about_the_rest(),
    ]
}

proptest! {
    #[test]
    fn a_message_survives_its_encoding(message in message()) {
        prop_assert_eq!(Message::parse(&message.emit()), Ok(message));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..600)) {
        let _ = Message::parse(&bytes);
        let mut versioned = vec![MESSAGE_VERSION];
        versioned.extend(bytes);
        let _ = Message::parse(&versioned);
    }

    #[test]
    fn a_damaged_message_is_a_message_or_an_error(message in message(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let mut bytes = message.emit();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        let _ = Message::parse(&bytes);
        let _ = Message::parse(&bytes[..cut.index(bytes.len())]);
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_unread() {
    let bytes = vec![MESSAGE_VERSION; MESSAGE_BYTES_MAX + 1];
    assert_eq!(
        Message::parse(&bytes),
        Err(ParseMessageError::TooLong { bytes: MESSAGE_BYTES_MAX + 1, most: MESSAGE_BYTES_MAX })
    );
}

#[test]
fn texts_and_lists_have_limits() {
    let key = MoveKey { network: NetworkId(0), slot: Slot(2), epoch: Epoch(1) };
    let prepare = |length| {
        Message::MovePrepare(MovePrepare {
            key,
            workload: "x".repeat(length),
            ifname: String::new(),
            wish: Wish::Workload,
            handover: Handover::WhenStopped,
        })
    };
    assert!(Message::parse(&prepare(TEXT_BYTES_MAX).emit()).is_ok());
    assert_eq!(Message::parse(&prepare(TEXT_BYTES_MAX + 1).emit()), Err(ParseMessageError::Limits));
    assert_eq!(
        Message::parse(&Message::Digest(vec![[0; SUM_BYTES]; DIGEST_BUCKETS + 1]).emit()),
        Err(ParseMessageError::Limits)
    );
    assert_eq!(Message::parse(&Message::Digest(Vec::new()).emit()), Err(ParseMessageError::Limits));
    let census = |upto, living| {
        let body = CensusBody { author: Identity([1; 32]), upto, living };
        Message::parse(&Message::Census(Census { body, signature: Signature([0; 64]) }).emit()).map(|_| ())
    };
    assert_eq!(census(9, vec![1, 9]), Ok(()));
    for living in [vec![1, 10], vec![2, 1], vec![0; LINES_MAX + 1]] {
        assert_eq!(census(9, living), Err(ParseMessageError::Limits));
    }
}

#[test]
fn the_numbers_of_the_kinds_are_part_of_the_format() {
    let range = Range { network: NetworkId(0), start: Slot(0), length: 1 };
    assert_eq!(Message::Records(Vec::new()).emit(), [MESSAGE_VERSION, 0, 0]);
    assert_eq!(Message::WantRange(range).emit(), [MESSAGE_VERSION, 5, 0, 0, 1]);
    let deny = Message::SpaceDeny { network: NetworkId(3), hint: None, resting: 5 };
    assert_eq!(deny.emit(), [MESSAGE_VERSION, 8, 3, 0, 5]);
}
