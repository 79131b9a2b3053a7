//! Another handshake key for this router: certified by itself, taken over in one step, told to everybody.
//!
//! Sessions have keys of their own and go on. What was asked under the old key is asked again.

use std::time::Instant;

use wire::{Certificate, Title};

use super::Mesh;
use crate::gate::Gate;
use crate::identity::{Secret, consent};
use crate::member::{FIRST_GENERATION, Member};

impl Mesh {
    /// This router as it would be with another handshake key. Write both down, then [`Self::adopt_renewal`].
    ///
    /// # Errors
    /// [`RenewError`]; nothing changes in any case.
    pub fn make_renewal(&self, noise_key: &Secret) -> Result<Member, RenewError> {
        let ours = self.roster.member(self.me.identity).filter(|ours| !ours.revoked).ok_or(RenewError::Revoked)?;
        let known = &ours.certificate;
        let generation = known.title.generation.checked_add(1).ok_or(RenewError::UsedUp)?;
        let title = Title { noise_key: noise_key.noise_public(), generation, ..known.title.clone() };
        let consent = consent(&title, &self.me.signing_key);
        Ok(Member { certificate: Certificate { title, consent, voucher: known.voucher }, ..ours.clone() })
    }

    /// Uses what [`Self::make_renewal`] made: from now on calls are made and answered under this key alone.
    pub fn adopt_renewal(&mut self, renewed: Member, noise_key: Secret, now: Instant) {
        self.me.local.noise_public = noise_key.noise_public();
        self.me.local.noise_key = noise_key;
        let local = &self.me.local;
        self.gate = Gate::new(&local.cluster, &local.noise_public, self.config.gate, &mut self.rng, now);
        let unanswered: Vec<u32> = self.peers.values_mut().flat_map(|peer| peer.calling.stop()).collect();
        self.forget_indexes(unanswered);
        self.admit(vec![renewed], None, now);
    }

    /// Our certificate, if there was another before.
    pub(super) fn renewed(&self) -> Option<&Certificate> {
        let ours = &self.roster.member(self.me.identity)?.certificate;
        let is_used = ours.title.noise_key == self.me.local.noise_public;
        (ours.title.generation > FIRST_GENERATION && is_used).then_some(ours)
    }

    /// How often this router's certificate was renewed, and one: the certificate's generation.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.roster.member(self.me.identity).map_or(FIRST_GENERATION, |ours| ours.certificate.title.generation)
    }
}

/// Why a certificate is not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// This router is no member any more.
    #[error("this router has been revoked")]
    Revoked,
    /// The count of renewals has no next one.
    #[error("this router's certificate has been renewed as often as it can be")]
    UsedUp,
}
