//! What a person reads when a verb could not be carried out.
//!
//! Owns the remedy for every way to fail. Knows nothing of how it came about.

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use control_api::ClientError;

use super::install::InstallError;

/// Why a client verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error("the answer cannot be printed")]
    Print(#[source] io::Error),
}

impl CliError {
    /// What to do about it.
    pub(super) fn remedy(&self) -> Option<String> {
        match self {
            Self::Client(error) | Self::Install(InstallError::Router(error)) => client_remedy(error),
            Self::Install(InstallError::NoPlugin { .. }) => {
                Some("put raddle-cni of the same release beside raddle, and try again".to_owned())
            }
            Self::Install(InstallError::Relative { .. }) => {
                Some("give it in full: --data-dir, --control-socket".to_owned())
            }
            Self::Install(InstallError::Write { .. }) => {
                Some("run this as root, or name other directories: --bin-dir, --conf-dir".to_owned())
            }
            Self::Print(_) => None,
        }
    }
}

fn client_remedy(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unreachable { source, .. } => Some(unreachable(source.kind()).to_owned()),
        ClientError::TimedOut { .. } => Some("it is stuck or overloaded; see its log".to_owned()),
        ClientError::Protocol { .. } => Some(
            "use the raddle of the same release as the router, or name the right socket: --control-socket PATH"
                .to_owned(),
        ),
        ClientError::RequestTooLong { .. } => Some("give fewer operands at a time".to_owned()),
        ClientError::Refused(refusal) => refusal.remedy.clone(),
    }
}

fn unreachable(kind: io::ErrorKind) -> &'static str {
    if kind == io::ErrorKind::PermissionDenied {
        return "run this as root or as a member of the group raddle";
    }
    if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&kind) {
        return "the router stopped in the middle; see its log, then try again";
    }
    "start it: raddle router (or name the socket of one that runs: --control-socket PATH)"
}

/// Writes an error, everything it came from, and what to do about it, to standard error.
pub(crate) fn report(error: &dyn Error, remedy: Option<&str>) {
    // There is nowhere left to say that standard error is gone.
    let _ = io::stderr().lock().write_all(explain(error, remedy).as_bytes());
}

/// `raddle: what: why: why` and, on the next line, the remedy.
pub(super) fn explain(error: &dyn Error, remedy: Option<&str>) -> String {
    let mut text = format!("raddle: {error}");
    let mut cause = error.source();
    while let Some(because) = cause {
        text.push_str(&format!(": {because}"));
        cause = because.source();
    }
    text.push('\n');
    if let Some(remedy) = remedy {
        text.push_str(&format!("  {remedy}\n"));
    }
    text
}

/// Every other question is answered from memory, or by a peer within four seconds: a router that needs longer is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Who still sees a lost router alive promises when it has noticed: a router answers within twelve seconds.
pub(super) const REVOKE_PATIENCE: Duration = Duration::from_secs(20);
