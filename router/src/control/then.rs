//! What waits for the disk.
//!
//! Owns what has to be known to go on. Knows nothing of how.

use control_api::{Answer, Reply};
use mesh::{Application, Member, Secret, TokenId};
use tokio::sync::oneshot;

use crate::datadir::DataDir;
use crate::token::IssuedToken;

/// What waits for a transaction.
pub(super) enum Then {
    /// The ledger.
    Ledger,
    /// Nobody: it is learned again if it is lost.
    Member,
    /// Whoever would change this router's certificate: after a failure the disk is made to hold what was decided.
    Corrections,
    /// Somebody at the control socket.
    Answer { reply: oneshot::Sender<Reply<Answer>>, answer: Box<Answer> },
    /// A new token, and who asked for it.
    Issue { id: TokenId, reply: oneshot::Sender<Reply<Answer>>, answer: Box<Answer> },
    /// The end of a token, and who asked for it.
    Withdraw { token: Box<IssuedToken>, reply: oneshot::Sender<Reply<Answer>> },
    /// Another handshake key of this router.
    Renew(Box<Renewal>),
    /// Somebody who wants to be a member.
    Admit(Box<Admission>),
}

/// A key and its certificate on their way to the disk, and who asked for them.
pub(super) struct Renewal {
    pub(super) member: Member,
    pub(super) noise_key: Secret,
    pub(super) data_dir: DataDir,
    pub(super) reply: oneshot::Sender<Reply<Answer>>,
}

/// An admission on its way to the disk.
pub(super) struct Admission {
    pub(super) application: Application,
    pub(super) member: Member,
    /// The token that it uses up.
    pub(super) token: Option<TokenId>,
}
