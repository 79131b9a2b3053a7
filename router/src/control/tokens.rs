//! The join tokens of this host, and joining by them.
//!
//! Owns when a token is used up: in one durable step, before anybody profits. Knows nothing of the handshake.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control_api::{Answer, ApiError, ErrorKind, Reply, TokenCreated, TokenView};
use mesh::{
    Application, JoinId, JoinSecret, RefuseReason, Secret, SecretKind, SecretState, SecretUsed, Standing, Token,
    TokenId,
};
use tokio::sync::oneshot;
use wire::{ClusterId, Identity};

use super::Control;
use super::inputs::Occasion;
use super::intake::Intake;
use super::password::read_beside;
use super::storing::unstored;
use super::then::{Admission, Then};
use crate::clock::BootTime;
use crate::memory::{member_change, no_member_change};
use crate::storage::{Change, StorageError};
use crate::token::{IssuedToken, TokenState};

/// Every token that was made here.
#[derive(Default)]
pub(crate) struct Tokens {
    issued: BTreeMap<TokenId, IssuedToken>,
    psk: Option<Secret>,
    /// What the password before was stretched to, and until when it is still good.
    old_psk: Option<(Secret, Instant)>,
    reading: Reading,
    intake: Intake,
}

/// Whether the password file is being read: once at a time, or an older word could come last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    No,
    Once,
    /// Somebody has asked for it since.
    Again,
}

impl Tokens {
    /// What the store remembers, and the key that the password was stretched to.
    pub(crate) fn new(issued: Vec<IssuedToken>, psk: Option<Secret>) -> Self {
        Self { issued: issued.into_iter().map(|token| (token.id, token)).collect(), psk, ..Self::default() }
    }

    /// Makes a token, to be stored.
    pub(super) fn create(&mut self, ttl: Duration, uses: u32) -> &IssuedToken {
        let now = BootTime::now();
        let token = IssuedToken::new(TokenId(crate::random()), crate::random(), ttl, uses, &now);
        self.issued.entry(token.id).insert_entry(token).into_mut()
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

    /// What is to be in the store of them.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change> {
        self.issued.values().map(IssuedToken::change)
    }

    /// Forgets the one token whose id begins so, here; the disk is to forget it too.
    pub(super) fn withdraw(&mut self, id: &str) -> Result<IssuedToken, ApiError> {
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
        let token = token.clone();
        self.issued.remove(&token.id);
        Ok(token)
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

    /// The token is told when it is durable. Nobody can use it before.
    pub(super) fn create_token(
        &mut self,
        ttl: Duration,
        uses: u32,
        reply: oneshot::Sender<Reply<Answer>>,
        now: Instant,
    ) {
        if self.ipam.health() == ipam::Health::ReadOnly {
            return drop(reply.send(Reply::Error(self.read_only())));
        }
        let token = self.parts.tokens.create(ttl, uses);
        let (change, text, id) = (token.change(), token.text(self.about.cluster).to_string(), token.id);
        let created = TokenCreated { token: text, expires_s: ttl.as_secs(), uses, id: id.to_string() };
        let answer = Box::new(Answer::TokenCreated(created));
        self.parts.storing.add([change], Then::Issue { id, reply, answer });
        self.tokens_changed(now);
    }

    /// It is not on the disk, and nobody was told of it.
    pub(super) fn unissue_token(
        &mut self,
        id: TokenId,
        reply: oneshot::Sender<Reply<Answer>>,
        error: &StorageError,
        now: Instant,
    ) {
        self.parts.tokens.issued.remove(&id);
        self.tokens_changed(now);
        let _ = reply.send(Reply::Error(unstored(error)));
    }

    /// Nobody joins by it from here on; that is said when the disk has forgotten it too.
    pub(super) fn withdraw_token(&mut self, id: &str, reply: oneshot::Sender<Reply<Answer>>, now: Instant) {
        match self.parts.tokens.withdraw(id) {
            Ok(token) => {
                let change = Change { value: None, ..token.change() };
                self.parts.storing.add([change], Then::Withdraw { token: Box::new(token), reply });
                self.tokens_changed(now);
            }
            Err(error) => drop(reply.send(Reply::Error(error))),
        }
    }

    /// The disk has not forgotten it, so it would be good again after a start: it stays, to be withdrawn once more.
    pub(super) fn keep_token(
        &mut self,
        token: IssuedToken,
        reply: oneshot::Sender<Reply<Answer>>,
        error: &StorageError,
        now: Instant,
    ) {
        let refusal = unstored(error);
        let message = format!("token {} is not withdrawn: {}", token.id, refusal.message);
        self.parts.tokens.issued.insert(token.id, token);
        self.tokens_changed(now);
        let _ = reply.send(Reply::Error(ApiError { message, ..refusal }));
    }

    /// The operator asks for the password to be read again (SIGHUP): that takes a moment of a core, so not here.
    pub(super) fn read_password_again(&mut self) {
        if self.about.config.password_file.is_none() {
            return tracing::warn!(
                "SIGHUP reads the password file again, and this router was started without --password-file"
            );
        }
        self.read_password(Occasion::Asked);
    }

    /// The router has started with what it kept of the password: the file may hold another one by now.
    pub(crate) fn doubt_password(&mut self) {
        if self.about.config.password_file.is_some() {
            self.read_password(Occasion::Start);
        }
    }

    fn read_password(&mut self, occasion: Occasion) {
        if self.parts.tokens.reading != Reading::No {
            self.parts.tokens.reading = Reading::Again;
            return;
        }
        self.parts.tokens.reading = Reading::Once;
        read_beside(&self.about.config, self.about.cluster, occasion, self.parts.lookups.clone());
    }

    /// It was read, or could not be.
    pub(super) fn handle_password(&mut self, psk: Option<Secret>, occasion: Occasion, now: Instant) {
        if std::mem::take(&mut self.parts.tokens.reading) == Reading::Again {
            return self.read_password(Occasion::Asked);
        }
        let Some(psk) = psk else { return };
        match (self.parts.tokens.replace_password(psk, now), occasion) {
            (Replaced::Same, Occasion::Start) => {}
            (Replaced::New, Occasion::Start) => {
                self.parts.tokens.old_psk = None;
                self.tokens_changed(now);
                tracing::info!("the password file holds another password than before: routers join by it from now on");
            }
            (Replaced::New, Occasion::Asked) => {
                self.tokens_changed(now);
                tracing::info!(
                    old_s = OLD_PASSWORD.as_secs(),
                    "routers join by the new password from now on, and by the old one for a while"
                );
            }
            (Replaced::Same, Occasion::Asked) => tracing::info!("the password file holds the password that is in use"),
        }
    }

    /// Somebody proved a secret: certifies it, uses the secret up, and has both written down in one step. Whoever was certified
    /// before and lost the answer is told again.
    pub(super) fn handle_join(&mut self, application: Application, now: Instant) {
        let join = application.join;
        if let Err(reason) = self.try_join(application, now) {
            self.refuse_join(join, reason);
        }
    }

    fn try_join(&mut self, application: Application, now: Instant) -> Result<(), RefuseReason> {
        match self.ipam.health() {
            ipam::Health::Working => {}
            ipam::Health::ReadOnly => return Err(RefuseReason::ReadOnly),
            ipam::Health::RolledBack => return Err(RefuseReason::SponsorRolledBack),
            ipam::Health::Revoked => return Err(RefuseReason::SponsorRevoked),
        }
        let token = match application.standing {
            Standing::Newcomer => self.parts.tokens.used(application.secret)?,
            Standing::Member => None,
        };
        let (name, identity) = (application.name.clone(), application.identity);
        if self.admitting.get(&name).is_some_and(|other| *other != identity) {
            return Err(RefuseReason::NameTaken { name });
        }
        if application.standing == Standing::Newcomer
            && let Some(wait) = self.parts.tokens.intake.wait(now)
        {
            return Err(RefuseReason::TooMany { wait_s: u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX) });
        }
        let member = self.mesh.certify_join(application.join)?;
        if application.standing == Standing::Newcomer {
            self.parts.tokens.intake.note(now);
        }
        let changes = token.iter().map(IssuedToken::change).chain([member_change(&member)]);
        let changes: Vec<_> = changes.collect();
        // Used up from now on, lest it be used again while it is being stored.
        let id = token.as_ref().map(|token| token.id);
        self.parts.tokens.issued.extend(token.map(|token| (token.id, token)));
        self.tokens_changed(now);
        self.admitting.insert(name, identity);
        self.parts.storing.add(changes, Then::Admit(Box::new(Admission { application, member, token: id })));
        Ok(())
    }

    /// The admission is durable: says so to everybody, and asks the ledger for a first block.
    pub(super) fn admit_stored(&mut self, admission: Admission, now: Instant) {
        let Admission { application, member, token } = admission;
        self.admitting.remove(&application.name);
        match self.mesh.admit_join(member, now) {
            Ok(()) => {
                self.ipam.grant_join(application.identity, Some(application.name.clone()), now);
                self.joining.insert(application.identity, application);
            }
            Err(reason) => {
                // The last place went to another meanwhile, or the identity did.
                let token = self.give_back(token, now);
                // Whom another router has admitted meanwhile stays the member that it is.
                let members = self.mesh.members();
                let member = members.iter().find(|member| member.identity() == application.identity);
                let row = member.map_or_else(|| no_member_change(application.identity), member_change);
                let changes = token.into_iter().chain([row]);
                self.parts.storing.add(changes, Then::Member);
                self.refuse_join(application.join, reason);
            }
        }
    }

    /// The admission is not on the disk: the token is as good as before.
    pub(super) fn refuse_unstored(&mut self, admission: Admission, error: &StorageError, now: Instant) {
        let Admission { application, token, .. } = admission;
        tracing::error!(%error, name = %application.name, "an admission cannot be stored");
        self.admitting.remove(&application.name);
        self.give_back(token, now);
        self.refuse_join(application.join, RefuseReason::ReadOnly);
    }

    /// Nobody profited from a use of this token. Returns the change that stores it.
    fn give_back(&mut self, token: Option<TokenId>, now: Instant) -> Option<Change> {
        let token = self.parts.tokens.issued.get_mut(&token?)?;
        token.give_back();
        let change = token.change();
        self.tokens_changed(now);
        Some(change)
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
