//! The join tokens of this host, and joining by them.
//!
//! Owns when a token is used up: in one durable step, before anybody profits. Knows nothing of the handshake.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mesh::{
    Application, JoinId, JoinSecret, RefuseReason, Secret, SecretKind, SecretState, SecretUsed, Standing, Token,
    TokenId,
};
use wire::{ClusterId, Identity};

use super::Control;
use crate::clock::BootTime;
use crate::storage::{Storage, StorageError};
use crate::token::{IssuedToken, TokenState};

/// Every token that was made here.
#[derive(Default)]
pub(crate) struct Tokens {
    issued: BTreeMap<TokenId, IssuedToken>,
    psk: Option<Secret>,
}

impl Tokens {
    /// What the store remembers, and the key that the password was stretched to.
    pub(crate) fn new(issued: Vec<IssuedToken>, psk: Option<Secret>) -> Self {
        Self { issued: issued.into_iter().map(|token| (token.id, token)).collect(), psk }
    }

    /// Makes a token and stores it.
    pub(super) fn create(&mut self, ttl: Duration, uses: u32, storage: &Storage) -> Result<&IssuedToken, StorageError> {
        let now = BootTime::now();
        let token = IssuedToken::new(TokenId(crate::random()), crate::random(), ttl, uses, &now);
        storage.commit(&[token.change()])?;
        Ok(self.issued.entry(token.id).insert_entry(token).into_mut())
    }

    /// What the handshake needs to know of them.
    fn secrets(&self) -> Vec<JoinSecret> {
        let now = BootTime::now();
        let tokens = self.issued.values().map(|token| JoinSecret {
            kind: SecretKind::Token(token.id),
            key: token.secret(),
            state: match token.state(&now) {
                TokenState::Live => SecretState::Live,
                TokenState::Used => SecretState::Used,
                TokenState::Expired => SecretState::Expired,
            },
        });
        let password =
            self.psk.clone().map(|psk| JoinSecret { kind: SecretKind::Password, key: psk, state: SecretState::Live });
        tokens.chain(password).collect()
    }

    /// How long until a token runs out by itself.
    fn next_expiry(&self) -> Option<Duration> {
        let now = BootTime::now();
        let live = self.issued.values().filter(|token| token.state(&now) == TokenState::Live);
        live.map(|token| token.expires_in(&now)).min()
    }

    /// The token after one more use, to be stored and put in its place; none for a password.
    fn used(&self, secret: SecretUsed) -> Result<Option<IssuedToken>, RefuseReason> {
        let SecretUsed::Token(id) = secret else {
            return if self.psk.is_some() { Ok(None) } else { Err(RefuseReason::NoPassword) };
        };
        let token = self.issued.get(&id).ok_or(RefuseReason::UnknownToken)?;
        match token.state(&BootTime::now()) {
            TokenState::Live => {}
            TokenState::Used => return Err(RefuseReason::UsedToken),
            TokenState::Expired => return Err(RefuseReason::ExpiredToken),
        }
        let mut used = token.clone();
        used.consume();
        Ok(Some(used))
    }
}

impl Control {
    /// Tells the handshake about every change, and notes when the next token runs out.
    pub(super) fn tokens_changed(&mut self, now: Instant) {
        self.mesh.set_join_secrets(self.parts.tokens.secrets());
        self.deadlines.token = self.parts.tokens.next_expiry().and_then(|after| now.checked_add(after));
    }

    /// Somebody proved a secret: certifies it, uses the secret up, writes both down in one step, and asks the ledger for a
    /// first block. Whoever was certified before and lost the answer is told again.
    pub(super) fn handle_join(&mut self, application: Application, now: Instant) {
        let join = application.join;
        if let Err(reason) = self.try_join(application, now) {
            self.refuse_join(join, reason);
        }
    }

    fn try_join(&mut self, application: Application, now: Instant) -> Result<(), RefuseReason> {
        let identity = application.identity;
        let used = match application.standing {
            Standing::Newcomer => self.parts.tokens.used(application.secret)?,
            Standing::Member => None,
        };
        let member = self.mesh.certify_join(application.join, now)?;
        let mut changes = vec![crate::memory::member_change(&member)];
        changes.extend(used.as_ref().map(IssuedToken::change));
        self.parts.storage.commit(&changes).map_err(|error| {
            tracing::error!(%error, name = %application.name, "an admission cannot be stored");
            RefuseReason::ReadOnly
        })?;
        if let Some(used) = used {
            self.parts.tokens.issued.insert(used.id, used);
            self.tokens_changed(now);
        }
        self.ipam.grant_join(identity, Some(application.name.clone()), now);
        self.joining.insert(identity, application);
        Ok(())
    }

    /// The ledger has a block for the applicant, durably: tells it everything.
    pub(super) fn finish_join(&mut self, identity: Identity, snapshot: Vec<u8>) {
        let Some(application) = self.joining.remove(&identity) else { return };
        tracing::info!(name = %application.name, identity = identity.short(), from = %application.from, "admitted");
        self.mesh.answer_join(application.join, Ok(snapshot));
    }

    fn refuse_join(&mut self, join: JoinId, reason: RefuseReason) {
        tracing::warn!(%reason, "refused to let a router join");
        self.mesh.answer_join(join, Err(reason));
    }
}

impl IssuedToken {
    /// The token as it is handed over.
    pub(super) fn text(&self, cluster: ClusterId) -> Token {
        Token { cluster, id: self.id, secret: self.secret() }
    }
}
