//! Peers that come back while somebody waits for them.
//!
//! Decides what such a peer is asked again. Knows nothing of why it was away, or what was lost: every question may be repeated,
//! and is judged by what is so by then.

use std::time::Instant;

use wire::Identity;

use super::{Ipam, Pending, Stage};
use crate::outbox::To;

impl Ipam {
    /// Asks a peer that is connected, perhaps again, whatever is waited for from it.
    pub(super) fn ask_once_more(&mut self, peer: Identity, now: Instant) {
        self.repeat_asks(&[peer]);
        let invited = self.waiting.invitations.iter().filter(|((to, _), _)| *to == peer);
        let invitations: Vec<_> = invited.map(|(_, sent)| sent.invitation.clone()).collect();
        for invitation in invitations {
            self.send(To::Peer(peer), &invitation);
        }
        let waits = |pending: &Pending| matches!(pending.stage, Stage::Moving { holder, .. } | Stage::Stopping { holder, .. } if holder == peer);
        let claims: Vec<_> = self.waiting.claims.extract_if(.., |_, pending| waits(pending)).collect();
        for (_, pending) in claims {
            self.advance(pending, now);
        }
        let networks: Vec<_> = self.waiting.quests.keys().copied().collect();
        for network in networks {
            if let Some(quest) = self.waiting.quests.get_mut(&network) {
                quest.forget_silent(peer);
            }
            self.go_on_asking(network, now);
        }
    }
}
