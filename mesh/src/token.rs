//! A join token: what one router prints and another is given.
//!
//! Owns its text form, one line of lower-case letters and digits. Knows nothing of uses and expiry: the sponsor's store does.
//!
//! ```text
//! "raddle1" ‖ base32( cluster id, 32 ‖ token id, 8 ‖ secret, 32 ‖ checksum, 4 )     checksum = BLAKE2s of all before it
//! ```

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use wire::ClusterId;
use zeroize::Zeroizing;

use crate::digest::hash;
use crate::identity::Secret;

/// Which token it is. Not secret: sent in clear, so that an expired one can be told from an unknown one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub [u8; 8]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// The right to join one cluster.
#[derive(Clone)]
pub struct Token {
    /// The cluster: the applicant talks to no other.
    pub cluster: ClusterId,
    /// Which token.
    pub id: TokenId,
    /// The pre-shared key of the first handshake: 256 random bits.
    pub secret: Secret,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = Zeroizing::new([&self.cluster.0[..], &self.id.0, self.secret.bytes()].concat());
        let whole = Zeroizing::new([&body[..], &checksum(&body)].concat());
        write!(f, "{PREFIX}{}", Zeroizing::new(BASE32_NOPAD.encode(&whole).to_ascii_lowercase()).as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("cluster", &self.cluster).field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let rest = text.trim().strip_prefix(PREFIX).ok_or(ParseTokenError::Prefix)?;
        let upper = Zeroizing::new(rest.to_ascii_uppercase());
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| ParseTokenError::Damaged)?);
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(ParseTokenError::Damaged)?;
        let (cluster, body_rest) = body.split_first_chunk::<32>().ok_or(ParseTokenError::Damaged)?;
        let (id, secret) = body_rest.split_first_chunk::<8>().ok_or(ParseTokenError::Damaged)?;
        let secret = <[u8; 32]>::try_from(secret).map_err(|_| ParseTokenError::Damaged)?;
        if checksum(body) != *sum {
            return Err(ParseTokenError::Damaged);
        }
        Ok(Self { cluster: ClusterId(*cluster), id: TokenId(*id), secret: Secret::new(secret) })
    }
}

/// Why text is not a token. The text is not repeated: it may hold most of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    /// Something else altogether, or a newer form.
    #[error("a token begins with {PREFIX:?}")]
    Prefix,
    /// Cut, or mistyped.
    #[error("the token is damaged: its checksum does not fit; copy the whole line")]
    Damaged,
}

fn checksum(body: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = hash(&[b"raddle token 1", body]);
    [a, b, c, d]
}

/// Says what the line is, and in which version.
const PREFIX: &str = "raddle1";

#[cfg(test)]
mod tests;
