//! Every decoder of the mesh as a function of any bytes, and an example of everything that is written: for tests from outside.
//!
//! Owns no format, and names each. What a decoder understands it writes again, and what was written again reads the same.
//! No router calls any of this.

mod examples;

use wire::envelope::Kind;

use crate::contact::{CONTACT_VERSION, Hello, Probe, ProbeReply, Proof, Verdict, message};
use crate::gate::{cookie_reply_index, open_cookie};
use crate::gossip::{Control, GOSSIP_VERSION, Gossip};
use crate::handshake::{Answer, Caller, Greeting, Response};
use crate::member::{MEMBER_VERSION, Member};
use crate::refusal::RefuseReason;
use crate::token::Token;

pub use examples::{Example, all};

/// A decoder: what it understood, written again.
pub type Decoder = fn(&[u8]) -> Option<Vec<u8>>;

/// All of them, by name.
pub const DECODERS: [(&str, Decoder); 14] = [
    ("mesh-answer", |bytes| Answer::parse(bytes).map(|answer| answer.emit())),
    ("mesh-control", |bytes| Control::parse(bytes).map(|control| control.emit())),
    ("mesh-cookie", cookie),
    ("mesh-gossip", |bytes| value::<Gossip>(GOSSIP_VERSION, bytes)),
    ("mesh-greeting", |bytes| Greeting::parse(bytes).map(|greeting| greeting.emit())),
    ("mesh-hello", hello),
    ("mesh-initiation", initiation),
    ("mesh-member", |bytes| value::<Member>(MEMBER_VERSION, bytes)),
    ("mesh-probe", probe),
    ("mesh-proof", |bytes| value::<Proof>(CONTACT_VERSION, bytes)),
    ("mesh-refusal", |bytes| value::<RefuseReason>(CONTACT_VERSION, bytes)),
    ("mesh-response", response),
    ("mesh-token", |bytes| Some(std::str::from_utf8(bytes).ok()?.parse::<Token>().ok()?.to_string().into_bytes())),
    ("mesh-verdict", |bytes| value::<Verdict>(CONTACT_VERSION, bytes)),
];

fn value<T: serde::Serialize + serde::de::DeserializeOwned>(version: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    wire::decode::<T>(version, bytes).ok().map(|value| wire::encode(version, &value))
}

fn hello(bytes: &[u8]) -> Option<Vec<u8>> {
    Hello::parse(bytes).map(|(hello, _, noise)| message(Kind::JoinHello, &[&hello.emit(), noise]))
}

fn probe(bytes: &[u8]) -> Option<Vec<u8>> {
    match Kind::of_message(bytes) {
        Ok(Kind::Probe) => Probe::parse(bytes).map(|probe| probe.emit()),
        Ok(Kind::ProbeReply) => ProbeReply::parse(bytes).map(|reply| reply.emit()),
        Ok(_) | Err(_) => None,
    }
}

/// Opens a call to the example's callee. What is written again is the whole message: nothing of it can be changed.
fn initiation(bytes: &[u8]) -> Option<Vec<u8>> {
    Caller::open(&examples::callee(), bytes, [0; 32]).map(|_| bytes.to_vec())
}

fn response(bytes: &[u8]) -> Option<Vec<u8>> {
    Response::parse(bytes).map(|_| bytes.to_vec())
}

fn cookie(bytes: &[u8]) -> Option<Vec<u8>> {
    let callee = examples::callee();
    cookie_reply_index(bytes)?;
    let _ = open_cookie(bytes, &callee.cluster, &callee.noise_public, &[0; 16]);
    Some(bytes.to_vec())
}

#[cfg(test)]
mod tests;
