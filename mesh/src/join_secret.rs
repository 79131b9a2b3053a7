//! The secrets that open the door to the cluster.
//!
//! Owns what is known of one. Knows nothing of how it is proven.

use crate::identity::Secret;
use crate::token::TokenId;

/// What an applicant may prove to know.
#[derive(Debug, Clone)]
pub struct JoinSecret {
    /// Which secret it is.
    pub kind: SecretKind,
    /// The pre-shared key: a token's secret, or what Argon2id made of the password and the cluster id.
    pub key: Secret,
    /// What it is worth.
    pub state: SecretState,
}

/// Which secret it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretKind {
    /// The password everybody may use again and again.
    Password,
    /// A token.
    Token(TokenId),
}

/// What a secret is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    /// It opens the door.
    Live,
    /// It has been used as often as it may: good only for a member whose answer was lost.
    Used,
    /// Its time is over.
    Expired,
}
