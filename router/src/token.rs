//! Join tokens on the host that made them: what they are worth, until when, how often.
//!
//! Owns counting down and running out. Knows neither the handshake nor the store.
//!
//! ```text
//!   Live { uses } ──use──▶ Live { uses - 1 } ──use──▶ Used
//!        └──────────────── time ────────────────────▶ Expired
//! ```

use std::time::Duration;

use mesh::{Secret, TokenId};
use serde::{Deserialize, Serialize};

use crate::clock::BootTime;
use crate::storage::{Change, Table};

/// A token as its host keeps it. Kept after its end, so that a second use is told from a wrong token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IssuedToken {
    pub(crate) id: TokenId,
    secret: [u8; 32],
    expires: BootTime,
    uses_left: u32,
}

/// What a token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenState {
    Live,
    Used,
    Expired,
}

impl IssuedToken {
    /// A token with fresh random parts.
    pub(crate) fn new(id: TokenId, secret: [u8; 32], ttl: Duration, uses: u32, now: &BootTime) -> Self {
        Self { id, secret, expires: now.plus(ttl), uses_left: uses }
    }

    /// What it is worth at this moment. Used up is said before expired: it is the stronger warning.
    pub(crate) fn state(&self, now: &BootTime) -> TokenState {
        if self.uses_left == 0 {
            TokenState::Used
        } else if self.expires.is_past(now) {
            TokenState::Expired
        } else {
            TokenState::Live
        }
    }

    /// How many it still admits.
    pub(crate) fn uses_left(&self) -> u32 {
        self.uses_left
    }

    /// The secret half.
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.secret)
    }

    /// When its state changes by itself.
    pub(crate) fn expires_in(&self, now: &BootTime) -> Duration {
        self.expires.remaining(now)
    }

    /// Takes one use away. The caller makes it durable before anybody profits.
    pub(crate) fn consume(&mut self) {
        self.uses_left = self.uses_left.saturating_sub(1);
    }

    /// Gives a use back that was not durable.
    pub(crate) fn give_back(&mut self) {
        self.uses_left = self.uses_left.saturating_add(1);
    }

    /// The change that stores it.
    pub(crate) fn change(&self) -> Change {
        Change { table: Table::Tokens, key: self.id.0.to_vec(), value: Some(wire::encode(VERSION, self)) }
    }

    /// Reads what [`Self::change`] stored.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, wire::DecodeError> {
        wire::decode(VERSION, bytes)
    }
}

/// The format of a stored token.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_uses_and_its_time() {
        let now = BootTime::now();
        let mut token = IssuedToken::new(TokenId([1; 8]), [2; 32], Duration::from_secs(60), 2, &now);
        assert_eq!(token.state(&now), TokenState::Live);
        assert_eq!(token.state(&now.plus(Duration::from_secs(60))), TokenState::Expired);
        token.consume();
        assert_eq!(token.state(&now), TokenState::Live);
        token.consume();
        assert_eq!(token.state(&now), TokenState::Used);
        assert_eq!(token.state(&now.plus(Duration::from_secs(60))), TokenState::Used);
    }

    #[test]
    fn a_token_survives_the_store() {
        let token = IssuedToken::new(TokenId([1; 8]), [2; 32], Duration::from_secs(60), 2, &BootTime::now());
        let stored = token.change().value.unwrap();
        assert!(IssuedToken::decode(&stored).unwrap() == token);
    }
}
