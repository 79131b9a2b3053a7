//! The handshake between members: WireGuard's message shapes around Noise IKpsk2, and what travels inside.
//!
//! Owns bytes ⇄ values of both messages and the keys that come out. Knows neither timers nor who may call.
//!
//! ```text
//! initiation  prefix, 4 │ sender index, 4 │ noise: e, es, s, ss, payload │ mac1, 16 │ mac2, 16
//! response    prefix, 4 │ sender index, 4 │ receiver index, 4 │ noise: e, ee, se, psk, payload │ mac1, 16 │ mac2, 16
//!
//! Greeting    boot counter, 4 │ counter, 8 │ protocol from, to │ queues │ identity, 32 │ n, suites, n
//!             │ n, 2 │ certificate, n: of those that renewed it, for whoever has not heard of that │ more
//! Answer      boot counter, 4 │ protocol │ suite │ queues │ more
//! ```
//!
//! Numbers are big endian. Readers ignore what follows ("more"): that is how payloads grow.

use snow::HandshakeState;
use wire::envelope::Kind;
use wire::{CERTIFICATE_VERSION, Certificate, ClusterId, Identity};
use zeroize::Zeroizing;

use crate::aead::Suite;
use crate::digest::{derive, mac16};
use crate::gate::{MACS_BYTES, mac1_key, seal_macs};
use crate::identity::Secret;
use crate::noise::{PSK, Party, Split, between};
use crate::primitives::Primitives;
use crate::sums::Salt;

/// The protocol this router speaks inside sessions, and the oldest it still understands.
pub(crate) const PROTOCOL: u8 = 1;

/// When a greeting was made: the boot counter, then a counter. Rises with every initiation of a router, for ever.
pub(crate) type Stamp = (u32, u64);

/// Who we are in handshakes.
pub(crate) struct Local {
    pub(crate) cluster: ClusterId,
    pub(crate) identity: Identity,
    pub(crate) noise_key: Secret,
    pub(crate) noise_public: [u8; 32],
    pub(crate) primitives: Primitives,
}

impl Local {
    fn party(&self, seed: [u8; 32]) -> Party<'_> {
        Party { cluster: &self.cluster, noise_key: &self.noise_key, seed, primitives: self.primitives }
    }
}

/// What the initiator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) stamp: Stamp,
    pub(crate) protocols: (u8, u8),
    pub(crate) queues: u8,
    /// Who calls. Its certificate says with which key.
    pub(crate) identity: Identity,
    pub(crate) suites: Vec<Suite>,
    /// If it was renewed.
    pub(crate) certificate: Option<Certificate>,
}

impl Greeting {
    pub(crate) fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&self.stamp.0.to_be_bytes());
        bytes.extend_from_slice(&self.stamp.1.to_be_bytes());
        bytes.extend_from_slice(&[self.protocols.0, self.protocols.1, self.queues]);
        bytes.extend_from_slice(&self.identity.0);
        bytes.push(u8::try_from(self.suites.len()).unwrap_or(u8::MAX));
        bytes.extend(self.suites.iter().take(usize::from(u8::MAX)).map(|suite| *suite as u8));
        let certificate = self.certificate.as_ref().map(|certificate| wire::encode(CERTIFICATE_VERSION, certificate));
        let certificate = certificate.unwrap_or_default();
        bytes.extend_from_slice(&u16::try_from(certificate.len()).unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(&certificate);
        bytes
    }

    /// Suites it does not know are left out: the initiator may be newer.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (boot, rest) = bytes.split_first_chunk()?;
        let (counter, rest) = rest.split_first_chunk()?;
        let (&[oldest, newest, queues], rest) = rest.split_first_chunk()?;
        let (&identity, rest) = rest.split_first_chunk()?;
        let (&count, rest) = rest.split_first()?;
        let (suites, rest) = rest.split_at_checked(usize::from(count))?;
        let suites = suites.iter().filter_map(|number| Suite::of(*number)).collect();
        let (length, rest) = rest.split_first_chunk()?;
        let certificate = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        let stamp = (u32::from_be_bytes(*boot), u64::from_be_bytes(*counter));
        Some(Self {
            stamp,
            protocols: (oldest, newest),
            queues,
            identity: Identity(identity),
            suites,
            certificate: wire::decode(CERTIFICATE_VERSION, certificate).ok(),
        })
    }
}

/// What the responder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) boot: u32,
    pub(crate) protocol: u8,
    pub(crate) suite: Suite,
    pub(crate) queues: u8,
}

impl Answer {
    pub(crate) fn emit(&self) -> Vec<u8> {
        let [a, b, c, d] = self.boot.to_be_bytes();
        vec![a, b, c, d, self.protocol, self.suite as u8, self.queues]
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (boot, rest) = bytes.split_first_chunk()?;
        let (&[protocol, suite, queues], _) = rest.split_first_chunk()?;
        Some(Self { boot: u32::from_be_bytes(*boot), protocol, suite: Suite::of(suite)?, queues })
    }
}

/// The secrets of one handshake, split for their owners.
pub(crate) struct Keys {
    pub(crate) control_send: Zeroizing<[u8; 32]>,
    pub(crate) control_receive: Zeroizing<[u8; 32]>,
    pub(crate) data_send: Zeroizing<[u8; 32]>,
    pub(crate) data_receive: Zeroizing<[u8; 32]>,
    /// The same at both ends, and nobody else's.
    pub(crate) salt: Salt,
}

impl Keys {
    fn of(noise: HandshakeState) -> Self {
        let Split { send, receive } = Split::of(noise);
        let (low, high) = if *send < *receive { (&send, &receive) } else { (&receive, &send) };
        Self {
            salt: mac16(&low[..], &[b"raddle salt", &high[..]]),
            control_send: derive(&send, &[b"raddle control"]),
            control_receive: derive(&receive, &[b"raddle control"]),
            data_send: derive(&send, &[b"raddle data"]),
            data_receive: derive(&receive, &[b"raddle data"]),
        }
    }
}

/// A call that has not been answered.
pub(crate) struct Call {
    noise: HandshakeState,
    pub(crate) index: u32,
    pub(crate) mac1: [u8; 16],
    /// Whether it showed a cookie.
    pub(crate) has_cookie: bool,
}

/// Begins a handshake: the state to keep, and the message to send.
pub(crate) fn call(local: &Local, to: &Callee<'_>, greeting: &Greeting, seed: [u8; 32]) -> Option<(Call, Vec<u8>)> {
    let mut noise =
        local.party(seed).call(to.noise_public, &between(&local.cluster, local.identity, to.identity)).ok()?;
    let mut message = [&Kind::Initiation.prefix()[..], &to.index.to_be_bytes()].concat();
    write(&mut noise, &greeting.emit(), &mut message)?;
    let mac1 = seal_macs(&mut message, &mac1_key(&local.cluster, to.noise_public), to.cookie);
    Some((Call { noise, index: to.index, mac1, has_cookie: to.cookie.is_some() }, message))
}

/// Whom a call is for.
pub(crate) struct Callee<'a> {
    pub(crate) identity: Identity,
    pub(crate) noise_public: &'a [u8; 32],
    /// The number the new session shall have here.
    pub(crate) index: u32,
    pub(crate) cookie: Option<&'a [u8; 16]>,
}

impl Call {
    /// Reads the answer. On failure the call still waits: anybody can send garbage.
    pub(crate) fn finish(mut self, response: &Response<'_>) -> Result<(Answer, Keys), Box<Self>> {
        let mut payload = vec![0; response.noise.len()];
        let Ok(length) = self.noise.read_message(response.noise, &mut payload) else {
            return Err(Box::new(self));
        };
        match payload.get(..length).and_then(Answer::parse) {
            Some(answer) => Ok((answer, Keys::of(self.noise))),
            None => Err(Box::new(self)),
        }
    }
}

/// A call from a member, opened but not answered.
pub(crate) struct Caller {
    noise: HandshakeState,
    pub(crate) noise_public: [u8; 32],
    pub(crate) index: u32,
    pub(crate) greeting: Greeting,
}

impl Caller {
    /// Opens an initiation: two Diffie-Hellmans. The sender holds `noise_public`, or replays one who does; who
    /// that is in the greeting is only its word.
    pub(crate) fn open(local: &Local, message: &[u8], seed: [u8; 32]) -> Option<Self> {
        let (index, body) = message.get(4..message.len().checked_sub(MACS_BYTES)?)?.split_first_chunk()?;
        let mut noise = local.party(seed).answer().ok()?;
        let mut payload = vec![0; body.len()];
        let length = noise.read_message(body, &mut payload).ok()?;
        let greeting = Greeting::parse(payload.get(..length)?)?;
        let noise_public = noise.get_remote_static()?.try_into().ok()?;
        noise.set_psk(PSK.into(), &between(&local.cluster, greeting.identity, local.identity)).ok()?;
        Some(Self { noise, noise_public, index: u32::from_be_bytes(*index), greeting })
    }

    /// Answers: the message to send, and the keys.
    pub(crate) fn answer(mut self, local: &Local, index: u32, answer: &Answer) -> Option<(Vec<u8>, Keys)> {
        let mut message = [&Kind::Response.prefix()[..], &index.to_be_bytes(), &self.index.to_be_bytes()].concat();
        write(&mut self.noise, &answer.emit(), &mut message)?;
        seal_macs(&mut message, &mac1_key(&local.cluster, &self.noise_public), None);
        Some((message, Keys::of(self.noise)))
    }
}

/// The parts of a response.
pub(crate) struct Response<'a> {
    /// The session's number at the responder.
    pub(crate) sender: u32,
    /// Our number: which call it answers.
    pub(crate) receiver: u32,
    noise: &'a [u8],
}

impl<'a> Response<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        let (sender, rest) = message.get(4..message.len().checked_sub(MACS_BYTES)?)?.split_first_chunk()?;
        let (receiver, noise) = rest.split_first_chunk()?;
        Some(Self { sender: u32::from_be_bytes(*sender), receiver: u32::from_be_bytes(*receiver), noise })
    }
}

/// Appends a Noise message.
fn write(noise: &mut HandshakeState, payload: &[u8], message: &mut Vec<u8>) -> Option<()> {
    let mut buffer = vec![0; payload.len() + NOISE_ROOM];
    let length = noise.write_message(payload, &mut buffer).ok()?;
    message.extend_from_slice(buffer.get(..length)?);
    Some(())
}

/// What both patterns add to a payload at most: an ephemeral key, a sealed static key, a tag.
const NOISE_ROOM: usize = 32 + 48 + 16;

#[cfg(test)]
mod tests;
