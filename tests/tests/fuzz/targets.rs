//! The decoders, each as a function that takes any bytes and holds what it reads to a law.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use serde::{Serialize, de::DeserializeOwned};
use wire::{
    CERTIFICATE_VERSION, Certificate, GENESIS_VERSION, Genesis, RECORD_VERSION, Record,
    chunk::Chunks,
    decode, encode,
    envelope::{Frames, Header, Kind},
    frame::Frame,
    message::Message,
};

/// What takes any bytes; panics where a law is broken.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Holds itself to its laws.
    Whole(Whole),
    /// Writes again what it understands: that must read the same.
    Decoder(mesh::formats::Decoder),
}

impl Target {
    pub(crate) fn take(self, bytes: &[u8]) {
        match self {
            Self::Whole(target) => target(bytes),
            Self::Decoder(decode) => {
                if let Some(again) = decode(bytes) {
                    assert_eq!(decode(&again), Some(again));
                }
            }
        }
    }
}

/// Name and decoder; the name is the folder of its corpus.
pub(crate) fn targets() -> impl Iterator<Item = (&'static str, Target)> {
    let whole = WHOLE.iter().map(|(name, target)| (*name, Target::Whole(*target)));
    whole.chain(mesh::formats::DECODERS.iter().map(|(name, decode)| (*name, Target::Decoder(*decode))))
}

type Whole = fn(&[u8]);

const WHOLE: [(&str, Whole); 12] = [
    ("certificate", |bytes| value::<Certificate>(CERTIFICATE_VERSION, bytes)),
    ("chunk", chunk),
    ("cni-call", cni_call),
    ("envelope", envelope),
    ("frame", frame),
    ("genesis", |bytes| value::<Genesis>(GENESIS_VERSION, bytes)),
    ("joiner", crate::routers::joiner),
    ("message", message),
    ("record", |bytes| value::<Record>(RECORD_VERSION, bytes)),
    ("request", request),
    ("router", crate::routers::router),
    ("stream", stream),
];

/// What is read and written again reads the same.
fn value<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(version: u8, bytes: &[u8]) {
    if let Ok(value) = decode::<T>(version, bytes) {
        assert_eq!(decode::<T>(version, &encode(version, &value)).as_ref(), Ok(&value));
    }
}

fn message(bytes: &[u8]) {
    if let Ok(message) = Message::parse(bytes) {
        assert_eq!(Message::parse(&message.emit()), Ok(message));
    }
}

fn envelope(bytes: &[u8]) {
    if let Ok(kind) = Kind::of_message(bytes) {
        assert_eq!(bytes.first(), Some(&(kind as u8)));
    }
    if let Ok(header) = Header::parse(bytes) {
        let mut written = header.emit();
        // Flags that mean nothing are not kept: a receiver ignores them.
        written[3] = bytes[3];
        assert_eq!(bytes.get(..written.len()), Some(&written[..]));
    }
}

/// However a stream is cut by the network, the same messages come out of it.
fn stream(bytes: &[u8]) {
    let read = |piece: usize| {
        let (mut frames, mut messages) = (Frames::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            frames.handle_bytes(piece);
            loop {
                match frames.poll_message() {
                    Ok(Some(message)) => messages.push(message.to_vec()),
                    Ok(None) => break,
                    Err(_) => return messages,
                }
            }
        }
        messages
    };
    assert_eq!(read(1), read(bytes.len().max(1)));
}

/// Chunks lie inside the plaintext and are read again from what their headers write.
fn chunk(bytes: &[u8]) {
    let mut plaintext = bytes.to_vec();
    let mut total = 0;
    for chunk in Chunks::new(&mut plaintext).map_while(Result::ok) {
        total += chunk.bytes.len();
        let (header, body) = (chunk.header, chunk.frame().to_vec());
        let mut written = vec![0; chunk.bytes.len()];
        if header.emit(body.len(), &mut written).is_some() {
            written[header.header_bytes()..].copy_from_slice(&body);
            let again = Chunks::new(&mut written)
                .next()
                .and_then(Result::ok)
                .map(|chunk| (chunk.header, chunk.frame().to_vec()));
            assert_eq!(again, Some((header, body)));
        }
        frame(chunk.frame());
    }
    assert!(total <= bytes.len());
}

fn frame(bytes: &[u8]) {
    if let Some(frame) = Frame::parse(bytes) {
        assert_eq!(frame.bytes(), bytes);
        let _ = (frame.source(), frame.destination(), frame.content());
    }
}

/// A runtime's environment, one variable a line, an empty line, and what it writes to stdin. A refusal is one of the documented,
/// and says something.
fn cni_call(bytes: &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let stdin = bytes.get(end + 2..).unwrap_or_default();
    let variables: Vec<_> = bytes.get(..end).unwrap_or_default().split(|byte| *byte == b'\n').collect();
    let lookup = |name: &str| {
        let value = variables.iter().find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.map(|value| OsString::from_vec(value.to_vec()))
    };
    if let Err(document) = cni_plugin::read(&lookup, stdin) {
        let code = document["code"].as_u64().unwrap_or_default();
        assert!((1..=7).contains(&code), "{document}");
        assert!(document["msg"].as_str().is_some_and(|message| !message.is_empty()), "{document}");
        assert!(document.to_string().len() < 4096 + 6 * bytes.len(), "a refusal longer than what is refused");
    }
}

fn request(line: &[u8]) {
    if let Ok(request) = control_api::server::parse_request(line) {
        let text = serde_json::to_vec(&request).unwrap_or_default();
        assert_eq!(control_api::server::parse_request(&text).ok(), Some(request));
    }
}
