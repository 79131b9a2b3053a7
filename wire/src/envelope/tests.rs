//! Headers survive their encoding, any bytes are read without harm, and streams are cut where they were joined.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_header_survives_its_encoding(data in any::<bool>(), relayed in any::<bool>(), queue in any::<u8>(), receiver in any::<u32>(), counter in any::<u64>()) {
        let kind = if data { Kind::Data } else { Kind::Control };
        let course = if relayed { Course::Relayed } else { Course::Direct };
        let header = Header { kind, queue, course, receiver, counter };
        let mut bytes = header.emit().to_vec();
        prop_assert_eq!(Header::parse(&bytes), Err(EnvelopeError::Short { bytes: HEADER_BYTES }));
        bytes.extend([0; TAG_BYTES]);
        prop_assert_eq!(Header::parse(&bytes), Ok(header));
    }

    #[test]
    fn any_bytes_are_a_header_or_an_error(bytes in vec(any::<u8>(), 0..64)) {
        let _ = Header::parse(&bytes);
        let _ = Kind::of_message(&bytes);
    }

    #[test]
    fn a_stream_is_cut_where_it_was_joined(messages in vec(vec(any::<u8>(), 0..300), 0..12), step in 1usize..97) {
        let stream: Vec<u8> = messages.iter().flat_map(|message| Frames::emit(message).unwrap()).collect();
        let (mut frames, mut read) = (Frames::new(), Vec::new());
        for bytes in stream.chunks(step) {
            frames.handle_bytes(bytes);
            while let Some(message) = frames.poll_message().unwrap() {
                read.push(message.to_vec());
            }
        }
        prop_assert_eq!(read, messages);
        prop_assert_eq!(frames.waiting_bytes(), 0);
    }

    #[test]
    fn any_stream_gives_messages_or_an_error(bytes in vec(any::<u8>(), 0..4096), step in 1usize..97) {
        let mut frames = Frames::new();
        for bytes in bytes.chunks(step) {
            frames.handle_bytes(bytes);
            while let Ok(Some(_)) = frames.poll_message() {}
        }
    }
}

#[test]
fn every_kind_is_its_byte() {
    for byte in 0..=u8::MAX {
        if let Some(kind) = Kind::of(byte) {
            assert_eq!(kind as u8, byte);
            assert_eq!(Kind::of_message(&kind.prefix()), Ok(kind));
        }
    }
}

#[test]
fn a_length_above_the_limit_is_refused_before_it_is_waited_for() {
    let mut frames = Frames::new();
    frames.handle_bytes(&(STREAM_MESSAGE_BYTES as u32 + 1).to_be_bytes());
    assert_eq!(frames.poll_message(), Err(FramesError::TooLong { bytes: STREAM_MESSAGE_BYTES as u32 + 1 }));
    assert!(Frames::emit(&vec![0; STREAM_MESSAGE_BYTES + 1]).is_err());
    assert!(Frames::emit(&vec![0; STREAM_MESSAGE_BYTES]).is_ok());
}

#[test]
fn a_stranger_is_held_to_short_messages_until_the_limit_is_raised() {
    let mut frames = Frames::new();
    frames.limit(10);
    frames.handle_bytes(&Frames::emit(&[1; 10]).unwrap());
    assert_eq!(frames.poll_message(), Ok(Some(&[1; 10][..])));
    frames.handle_bytes(&Frames::emit(&[1; 11]).unwrap());
    assert_eq!(frames.poll_message(), Err(FramesError::TooLong { bytes: 11 }));
    frames.limit(usize::MAX);
    assert_eq!(frames.poll_message(), Ok(Some(&[1; 11][..])));
}

#[test]
fn another_version_is_told_apart_from_garbage() {
    let mut bytes = Kind::Control.prefix().to_vec();
    bytes.resize(64, 0);
    bytes[2] = 2;
    assert_eq!(Header::parse(&bytes), Err(EnvelopeError::Version { found: 2 }));
    bytes[..3].copy_from_slice(&[99, 0, 1]);
    assert_eq!(Header::parse(&bytes), Err(EnvelopeError::Kind { found: 99 }));
    bytes[0] = Kind::Initiation as u8;
    assert_eq!(Header::parse(&bytes), Err(EnvelopeError::NotSealed { kind: Kind::Initiation }));
}
