//! Another handshake key while the router runs.
//!
//! Owns the order: the key and its certificate are on the disk before anybody hears of them, so that a crash in between leaves
//! either the old pair or the new one.

use std::time::Instant;

use control_api::{Answer, ApiError, ErrorKind, Renewed, Reply};
use mesh::{Member, PeerState, Secret};
use tokio::sync::oneshot;

use super::Control;
use super::storing::unstored;
use super::then::{Renewal, Then};
use crate::datadir::{DataDir, DataDirError};
use crate::memory::{certificate_change, member_change};
use crate::storage::{Ailment, StorageError};

impl Renewal {
    /// The certificate is not on the disk: the key before stays.
    pub(super) fn refuse(self, error: &StorageError) {
        let _ = self.reply.send(Reply::Error(unstored(error)));
    }
}

impl Control {
    pub(super) fn renew(&mut self, reply: oneshot::Sender<Reply<Answer>>) {
        match self.begin_renewal() {
            Ok((member, noise_key, data_dir)) => {
                let changes = [certificate_change(&member.certificate), member_change(&member)];
                let renewal = Renewal { member, noise_key, data_dir, reply };
                self.parts.storing.add(changes, Then::Renew(Box::new(renewal)));
            }
            Err(error) => drop(reply.send(Reply::Error(error))),
        }
    }

    fn begin_renewal(&self) -> Result<(Member, Secret, DataDir), ApiError> {
        // A certificate that could not be written may be on the disk all the same: the key that it means is not to be touched.
        if let Some(trouble) = self.parts.storing.trouble() {
            return Err(trouble);
        }
        // One after the other: the key of the second would take the place of the file that the first one's certificate means.
        if self.parts.storing.awaits_certificate() {
            return Err(ApiError::new(ErrorKind::NotReady, "this router's certificate is being written")
                .with_remedy("try again in a moment"));
        }
        let noise_key = Secret::new(crate::random());
        let renewed = self.mesh.make_renewal(&noise_key);
        let renewed = renewed.map_err(|error| ApiError::new(ErrorKind::NotReady, error.to_string()))?;
        let data_dir = DataDir::open(&self.about.config.data_dir).map_err(|error| unwritten(&error))?;
        let in_use = &self.certificate.title.noise_key;
        data_dir.write_next_noise_key(in_use, &noise_key).map_err(|error| unwritten(&error))?;
        Ok((renewed, noise_key, data_dir))
    }

    /// From here on the new key counts, also after a crash: the certificate says which of the two files is meant.
    pub(super) fn renewal_stored(&mut self, renewal: Renewal, now: Instant) {
        let Renewal { member, noise_key, data_dir, reply } = renewal;
        if let Err(error) = data_dir.settle_noise_key(&member.certificate.title.noise_key) {
            tracing::warn!(%error, "the new handshake key keeps its provisional file until the router starts again");
        }
        self.certificate = member.certificate.clone();
        self.mesh.adopt_renewal(member, noise_key, now);
        tracing::info!(generation = self.mesh.generation(), "this router has a new handshake key");
        let peers = self.mesh.peers(now);
        let away = peers.iter().filter(|peer| !matches!(peer.state, PeerState::Connected | PeerState::Revoked));
        let away = away.map(|peer| self.ipam.label(peer.identity).to_string()).collect();
        let renewed = Renewed { generation: self.mesh.generation(), away };
        let _ = reply.send(Reply::Ok(Answer::Renewed(renewed)));
    }
}

fn unwritten(error: &DataDirError) -> ApiError {
    let told = ApiError::new(ErrorKind::ReadOnly, error.to_string());
    match error {
        DataDirError::Write { source, .. } => told.with_remedy(Ailment::of_io(source).remedy()),
        DataDirError::Create { .. }
        | DataDirError::Missing { .. }
        | DataDirError::NotADirectory { .. }
        | DataDirError::OpenToOthers { .. }
        | DataDirError::Taken { .. }
        | DataDirError::Unreadable { .. }
        | DataDirError::NotAKey { .. } => told,
    }
}
