//! Another handshake key while the router runs.
//!
//! Owns the order: the key and its certificate are on the disk before anybody hears of them, so that a crash in between leaves
//! either the old pair or the new one.

use std::time::Instant;

use control_api::{Answer, ApiError, ErrorKind, Renewed};
use mesh::{PeerState, Secret};

use super::Control;
use crate::datadir::{DataDir, DataDirError};
use crate::memory::{certificate_change, member_change};

impl Control {
    pub(super) fn renew(&mut self, now: Instant) -> Result<Answer, ApiError> {
        let noise_key = Secret::new(crate::random());
        let renewed = self.mesh.make_renewal(&noise_key);
        let renewed = renewed.map_err(|error| ApiError::new(ErrorKind::NotReady, error.to_string()))?;
        let data_dir = DataDir::open(&self.about.config.data_dir).map_err(|error| unwritten(&error))?;
        data_dir.write_next_noise_key(&noise_key).map_err(|error| unwritten(&error))?;
        let changes = [certificate_change(&renewed.certificate), member_change(&renewed)];
        self.parts.storage.commit(&changes).map_err(|error| {
            ApiError::new(ErrorKind::ReadOnly, error.to_string())
                .with_remedy("free space on the disk of the data directory")
        })?;
        // From here on the new key counts, also after a crash: the certificate says which of the two files is meant.
        if let Err(error) = data_dir.settle_noise_key(&renewed.certificate.title.noise_key) {
            tracing::warn!(%error, "the new handshake key keeps its provisional file until the router starts again");
        }
        self.mesh.adopt_renewal(renewed, noise_key, now);
        tracing::info!(generation = self.mesh.generation(), "this router has a new handshake key");
        let peers = self.mesh.peers(now);
        let away = peers.iter().filter(|peer| !matches!(peer.state, PeerState::Connected | PeerState::Revoked));
        let away = away.map(|peer| self.ipam.label(peer.identity).to_string()).collect();
        Ok(Answer::Renewed(Renewed { generation: self.mesh.generation(), away }))
    }
}

fn unwritten(error: &DataDirError) -> ApiError {
    ApiError::new(ErrorKind::ReadOnly, error.to_string())
}
