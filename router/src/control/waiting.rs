//! Who waits for which answer.
//!
//! Owns the numbers under which the ledger is asked. Knows nothing of what it answers.

use control_api::spool::Spooled;
use control_api::{Answer, Reply};
use ipam::RequestId;
use tokio::sync::oneshot;
use wire::NetworkId;

use super::Control;

/// Who, and for what.
pub(super) enum Waiting {
    /// A claim.
    Lease(oneshot::Sender<Reply<Answer>>),
    /// A release of an attachment.
    Release(oneshot::Sender<Reply<Answer>>),
    /// A release of a workload's address.
    ReleasedWorkload(NetworkId, String, oneshot::Sender<Reply<Answer>>),
    /// A revocation.
    Revoke(oneshot::Sender<Reply<Answer>>),
    /// A move that an operator asked for.
    Moved(Mover),
    /// The spool: the release is taken out of it.
    Spool(Spooled),
    /// Nobody: the router itself asked.
    Nobody,
}

/// Who waits for what becomes of a move.
pub(super) struct Mover {
    pub(super) workload: String,
    pub(super) to: String,
    pub(super) reply: oneshot::Sender<Reply<Answer>>,
}

impl Control {
    /// Remembers who asked, under a number of its own.
    pub(super) fn wait(&mut self, waiting: Waiting) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.waiting.insert(request, waiting);
        request
    }
}
