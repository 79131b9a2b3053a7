//! Whatever was encoded decodes to itself, and anything else to an error.

use proptest::prelude::*;

use super::*;

fn record() -> impl Strategy<Value = Record> {
    (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u32; 3]>(), any::<u64>(), any::<[u8; 32]>()).prop_map(
        |(owner, author, [network, start, length], epoch, hash)| {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&owner);
            signature[32..].copy_from_slice(&hash);
            let range = Range { network: NetworkId(network), start: Slot(start), length };
            let (owner, author) = (Identity(owner), Identity(author));
            let body = RecordBody { range, owner, epoch: Epoch(epoch), author, previous: Hash(hash), home: None };
            Record { body, signature: Signature(signature) }
        },
    )
}

proptest! {
    #[test]
    fn a_record_survives_its_encoding(record in record()) {
        prop_assert_eq!(decode(RECORD_VERSION, &encode(RECORD_VERSION, &record)), Ok(record));
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode::<Record>(RECORD_VERSION, &bytes);
        let _ = decode::<Certificate>(CERTIFICATE_VERSION, &bytes);
        let _ = decode::<Genesis>(GENESIS_VERSION, &bytes);
    }

    #[test]
    fn an_unknown_version_is_refused_before_anything_is_read(record in record(), version in 2u8..) {
        let bytes = encode(version, &record);
        prop_assert_eq!(decode::<Record>(1, &bytes), Err(DecodeError::Version { found: version, known: 1 }));
    }

    #[test]
    fn what_follows_a_value_is_refused(record in record(), extra in 1usize..9) {
        let mut bytes = encode(RECORD_VERSION, &record);
        bytes.extend(vec![0; extra]);
        prop_assert_eq!(decode::<Record>(RECORD_VERSION, &bytes), Err(DecodeError::Trailing { bytes: extra }));
    }
}
