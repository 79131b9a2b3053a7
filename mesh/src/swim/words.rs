//! Foca's words as bytes ⇄ values.
//!
//! Owns the layout. Inside the mesh a message carries source and destination in front (foca asks for them); on the wire the
//! session stands for them.

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};
use wire::Identity;

use super::{Life, Router};

/// Foca's codec.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Words;

/// What [`Words::strip`] takes away: both identities.
pub(super) const ADDRESS_BYTES: usize = 64;
/// The kind, the lives of source and destination, the source's incarnation.
const HEAD_BYTES: usize = 1 + 6 + 2 + 6;
const UPDATE_BYTES: usize = 32 + 6 + 2 + 1;
const PING: u8 = 0;
const ACK: u8 = 1;
const TURN_UNDEAD: u8 = 9;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum WordsError {
    /// They end too soon, or there is no room.
    #[error("cut short")]
    Short,
    /// A kind or state that this router does not know.
    #[error("kind {0} is unknown")]
    Unknown(u8),
}

impl Words {
    /// A message from the wire, with whom it is from and for in front.
    pub(super) fn address(from: Identity, to: Identity, bytes: &[u8]) -> Vec<u8> {
        [&from.0[..], &to.0, bytes].concat()
    }

    /// A message for the wire.
    pub(super) fn strip(data: &[u8]) -> Vec<u8> {
        data.get(ADDRESS_BYTES..).unwrap_or_default().to_vec()
    }

    /// The number of a probe, if the message (with its addresses) is one.
    pub(super) fn ping(data: &[u8]) -> Option<u8> {
        let (&kind, rest) = data.get(ADDRESS_BYTES..)?.split_first()?;
        if kind == PING { rest.get(HEAD_BYTES - 1).copied() } else { None }
    }

    /// The answer to a probe, as the probed one would have sent it.
    pub(super) fn answer(from: Router, to: Router, number: u8) -> Vec<u8> {
        let mut answer = [&from.identity.0[..], &to.identity.0, &[ACK]].concat();
        put_life(from.life, &mut answer);
        answer.put_u16(0);
        put_life(to.life, &mut answer);
        answer.put_u8(number);
        answer
    }

    /// Whose life the sender of a message (as on the wire) has.
    pub(super) fn life(bytes: &[u8]) -> Option<Life> {
        let mut life = bytes.get(1..7)?;
        Some(take_life(&mut life))
    }

    /// Whether a message (as on the wire) tells its receiver that it is dead.
    pub(super) fn is_about_death(bytes: &[u8]) -> bool {
        bytes.first() == Some(&TURN_UNDEAD)
    }

    /// A message (as on the wire) without what it says of routers that are not known, or what is not credible. None if it is
    /// for one that is not known, or malformed.
    pub(super) fn about(
        known: impl Fn(Identity) -> bool,
        credible: impl Fn(&Member<Router>) -> bool,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let is_known = |router: &[u8]| router.first_chunk().is_some_and(|identity| known(Identity(*identity)));
        let body = body(bytes);
        let (head, rest) = bytes.split_at_checked(body)?;
        if body > HEAD_BYTES + 1 && !head.get(HEAD_BYTES + 1..).is_some_and(is_known) {
            return None;
        }
        let Some((count, updates)) = rest.split_first_chunk::<2>() else {
            return rest.is_empty().then(|| bytes.to_vec());
        };
        if updates.len() != usize::from(u16::from_be_bytes(*count)) * UPDATE_BYTES {
            return None;
        }
        let mut kept = Vec::new();
        for update in updates.chunks_exact(UPDATE_BYTES).filter(|update| is_known(update)) {
            let member = foca::Codec::decode_member(&mut Self, update).ok()?;
            kept.extend(credible(&member).then_some(update));
        }
        let count = u16::try_from(kept.len()).ok()?.to_be_bytes();
        Some([head, &count, &kept.concat()].concat())
    }

    /// Whom the updates of a message (as on the wire) call suspect.
    pub(super) fn suspicions(bytes: &[u8]) -> Vec<(Router, u16)> {
        let updates = bytes.get(body(bytes) + 2..).unwrap_or_default().chunks_exact(UPDATE_BYTES);
        let suspect = updates.filter_map(|update| foca::Codec::decode_member(&mut Self, update).ok());
        let suspect = suspect.filter(|member| member.state() == State::Suspect);
        suspect.map(|member| (*member.id(), member.incarnation())).collect()
    }
}

impl foca::Codec<Router> for Words {
    type Error = WordsError;

    fn encode_header(&mut self, header: &Header<Router>, mut buf: impl BufMut) -> Result<(), WordsError> {
        let (kind, number, router) = match &header.message {
            Message::Ping(number) => (PING, Some(*number), None),
            Message::Ack(number) => (ACK, Some(*number), None),
            Message::PingReq { target, probe_number } => (2, Some(*probe_number), Some(target)),
            Message::IndirectPing { origin, probe_number } => (3, Some(*probe_number), Some(origin)),
            Message::IndirectAck { target, probe_number } => (4, Some(*probe_number), Some(target)),
            Message::ForwardedAck { origin, probe_number } => (5, Some(*probe_number), Some(origin)),
            Message::Announce => (6, None, None),
            Message::Feed => (7, None, None),
            Message::Gossip | Message::Broadcast => (8, None, None),
            Message::TurnUndead => (TURN_UNDEAD, None, None),
        };
        room(&buf, ADDRESS_BYTES + HEAD_BYTES + 1 + 38)?;
        buf.put_slice(&header.src.identity.0);
        buf.put_slice(&header.dst.identity.0);
        buf.put_u8(kind);
        put_life(header.src.life, &mut buf);
        buf.put_u16(header.src_incarnation);
        put_life(header.dst.life, &mut buf);
        number.into_iter().for_each(|number| buf.put_u8(number));
        router.into_iter().for_each(|router| put_router(router, &mut buf));
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Router>, WordsError> {
        rest(&buf, ADDRESS_BYTES + HEAD_BYTES)?;
        let (src, dst) = (take_identity(&mut buf), take_identity(&mut buf));
        let kind = buf.get_u8();
        let src = Router { identity: src, life: take_life(&mut buf) };
        let src_incarnation = buf.get_u16();
        let dst = Router { identity: dst, life: take_life(&mut buf) };
        let message = match kind {
            0..=5 => take_probe(kind, &mut buf)?,
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            TURN_UNDEAD => Message::TurnUndead,
            _ => return Err(WordsError::Unknown(kind)),
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Router>, mut buf: impl BufMut) -> Result<(), WordsError> {
        room(&buf, UPDATE_BYTES)?;
        put_router(member.id(), &mut buf);
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Router>, WordsError> {
        rest(&buf, UPDATE_BYTES)?;
        let router = take_router(&mut buf);
        let incarnation = buf.get_u16();
        let state = match buf.get_u8() {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            other => return Err(WordsError::Unknown(other)),
        };
        Ok(Member::new(router, incarnation, state))
    }
}

/// Where the updates of a message (as on the wire) begin.
fn body(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(0 | 1) => HEAD_BYTES + 1,
        Some(2..=5) => HEAD_BYTES + 1 + 38,
        Some(_) | None => HEAD_BYTES,
    }
}

fn take_probe(kind: u8, buf: &mut impl Buf) -> Result<Message<Router>, WordsError> {
    rest(buf, 1)?;
    let probe_number = buf.get_u8();
    if kind == PING {
        return Ok(Message::Ping(probe_number));
    } else if kind == ACK {
        return Ok(Message::Ack(probe_number));
    }
    rest(buf, 38)?;
    let router = take_router(buf);
    Ok(match kind {
        2 => Message::PingReq { target: router, probe_number },
        3 => Message::IndirectPing { origin: router, probe_number },
        4 => Message::IndirectAck { target: router, probe_number },
        _ => Message::ForwardedAck { origin: router, probe_number },
    })
}

fn room(buf: &impl BufMut, bytes: usize) -> Result<(), WordsError> {
    if buf.remaining_mut() < bytes { Err(WordsError::Short) } else { Ok(()) }
}

fn rest(buf: &impl Buf, bytes: usize) -> Result<(), WordsError> {
    if buf.remaining() < bytes { Err(WordsError::Short) } else { Ok(()) }
}

fn put_router(router: &Router, buf: &mut impl BufMut) {
    buf.put_slice(&router.identity.0);
    put_life(router.life, buf);
}

fn put_life((boot, renewals): Life, buf: &mut impl BufMut) {
    buf.put_u32(boot);
    buf.put_u16(renewals);
}

fn take_router(buf: &mut impl Buf) -> Router {
    Router { identity: take_identity(buf), life: take_life(buf) }
}

fn take_life(buf: &mut impl Buf) -> Life {
    (buf.get_u32(), buf.get_u16())
}

fn take_identity(buf: &mut impl Buf) -> Identity {
    let mut identity = [0; 32];
    buf.copy_to_slice(&mut identity);
    Identity(identity)
}
