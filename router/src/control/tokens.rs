//! The join tokens of this host, and joining by them.
//!
//! Owns when a token is used up: in one durable step, before anybody profits. Knows nothing of the handshake.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control_api::{ApiError, ErrorKind, TokenView};
use mesh::{
    Application, JoinId, JoinSecret, RefuseReason, Secret, SecretKind, SecretState, SecretUsed, Standing, Token,
    TokenId,
};
use wire::{ClusterId, Identity};

use super::Control;
use super::inputs::Found;
use crate::clock::BootTime;
use crate::storage::{Change, Storage, StorageError};
use crate::token::{IssuedToken, TokenState};

/// Every token that was made here.
#[derive(Default)]
pub(crate) struct Tokens {
    issued: BTreeMap<TokenId, IssuedToken>,
    psk: Option<Secret>,
    /// What the password before was stretched to, and until when it is still good.
    old_psk: Option<(Secret, Instant)>,
}

impl Tokens {
    /// What the store remembers, and the key that the password was stretched to.
    pub(crate) fn new(issued: Vec<IssuedToken>, psk: Option<Secret>) -> Self {
        Self { issued: issued.into_iter().map(|token| (token.id, token)).collect(), psk, old_psk: None }
    }

    /// Makes a token and stores it.
    pub(super) fn create(&mut self, ttl: Duration, uses: u32, storage: &Storage) -> Result<&IssuedToken, StorageError> {
        let now = BootTime::now();
        let token = IssuedToken::new(TokenId(crate::random()), crate::random(), ttl, uses, &now);
        storage.commit(&[token.change()])?;
        Ok(self.issued.entry(token.id).insert_entry(token).into_mut())
    }

    /// All of them, without their secrets.
    pub(super) fn list(&self) -> control_api::Tokens {
        let now = BootTime::now();
        let view = |token: &IssuedToken| TokenView {
            id: token.id.to_string(),
            state: match token.state(&now) {
                TokenState::Live => control_api::TokenState::Live,
                TokenState::Used => control_api::TokenState::Used,
                TokenState::Expired => control_api::TokenState::Expired,
            },
            uses: token.uses_left(),
            expires_s: token.expires_in(&now).as_secs(),
        };
        control_api::Tokens { tokens: self.issued.values().map(view).collect() }
    }

    /// Forgets the one token whose id begins so, first on the disk.
    pub(super) fn withdraw(&mut self, id: &str, storage: &Storage) -> Result<TokenId, ApiError> {
        let mut fitting = self.issued.values().filter(|token| !id.is_empty() && token.id.to_string().starts_with(id));
        let token = match (fitting.next(), fitting.next()) {
            (Some(token), None) => token,
            (Some(_), Some(_)) => {
                return Err(ApiError::new(ErrorKind::Invalid, format!("{id:?} fits several tokens"))
                    .with_remedy("give more of the id; 'raddle token list' has it"));
            }
            (None, _) => {
                return Err(ApiError::new(ErrorKind::Unknown, format!("this router made no token {id:?}"))
                    .with_remedy("'raddle token list' lists those that it made; each router withdraws its own"));
            }
        };
        let id = token.id;
        storage
            .commit(&[Change { value: None, ..token.change() }])
            .map_err(|error| ApiError::new(ErrorKind::ReadOnly, error.to_string()))?;
        self.issued.remove(&id);
        Ok(id)
    }

    /// Takes another password; the one before is good for a while, so that hosts can be told one after another.
    fn replace_password(&mut self, psk: Secret, now: Instant) -> Replaced {
        if self.psk.as_ref().is_some_and(|known| known.bytes() == psk.bytes()) {
            return Replaced::Same;
        }
        self.old_psk = self.psk.replace(psk).map(|old| (old, now + OLD_PASSWORD));
        Replaced::New
    }

    /// What the handshake needs to know of them.
    fn secrets(&self, now_monotonic: Instant) -> Vec<JoinSecret> {
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
        let old = self.old_psk.iter().filter(|(_, until)| now_monotonic < *until).map(|(psk, _)| psk);
        let passwords = self.psk.iter().chain(old).map(|psk| JoinSecret {
            kind: SecretKind::Password,
            key: psk.clone(),
            state: SecretState::Live,
        });
        tokens.chain(passwords).collect()
    }

    /// How long until a token or an old password runs out by itself.
    fn next_expiry(&self, now_monotonic: Instant) -> Option<Duration> {
        let now = BootTime::now();
        let live = self.issued.values().filter(|token| token.state(&now) == TokenState::Live);
        let old = self.old_psk.iter().map(|(_, until)| until.saturating_duration_since(now_monotonic));
        live.map(|token| token.expires_in(&now)).chain(old).min()
    }

    /// Forgets an old password that is good no more.
    fn expire(&mut self, now: Instant) {
        if self.old_psk.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.old_psk = None;
        }
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
        self.parts.tokens.expire(now);
        self.mesh.set_join_secrets(self.parts.tokens.secrets(now));
        self.deadlines.token = self.parts.tokens.next_expiry(now).and_then(|after| now.checked_add(after));
    }

    /// The operator asks for the password to be read again (SIGHUP): that takes a moment of a core, so not here.
    pub(super) fn read_password_again(&self) {
        let Some(file) = self.about.config.password_file.clone() else {
            return tracing::warn!(
                "SIGHUP reads the password file again, and this router was started without --password-file"
            );
        };
        let (cluster, found) = (self.about.cluster, self.parts.found.clone());
        tokio::task::spawn_blocking(move || {
            let read = crate::cli::read_password(&file).map_err(anyhow::Error::from);
            let stretched =
                read.and_then(|password| crate::found::stretch(&password, cluster).map_err(anyhow::Error::msg));
            match stretched {
                Ok(psk) => drop(found.blocking_send(Found::Password(psk))),
                Err(error) => tracing::error!(%error, "the password stays as it is"),
            }
        });
    }

    /// It was read.
    pub(super) fn handle_password(&mut self, psk: Secret, now: Instant) {
        match self.parts.tokens.replace_password(psk, now) {
            Replaced::New => {
                self.tokens_changed(now);
                tracing::info!(
                    old_s = OLD_PASSWORD.as_secs(),
                    "routers join by the new password from now on, and by the old one for a while"
                );
            }
            Replaced::Same => tracing::info!("the password file holds the password that is in use"),
        }
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
        let member = self.mesh.certify_join(application.join)?;
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
        self.mesh.admit_join(member, now)?;
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

/// What a password file that was read again held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaced {
    New,
    Same,
}

/// Long enough to give every host the new file, short enough that who knew the old one is soon out.
const OLD_PASSWORD: Duration = Duration::from_secs(3600);

impl IssuedToken {
    /// The token as it is handed over.
    pub(super) fn text(&self, cluster: ClusterId) -> Token {
        Token { cluster, id: self.id, secret: self.secret() }
    }
}
