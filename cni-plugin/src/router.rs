//! The router, as far as the plugin needs it.
//!
//! Owns how long it is waited for, and what becomes of a release that it does not take.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use control_api::spool::{self, Release};
use control_api::{Client, ClientError};

use crate::config::Place;
use crate::fault::Fault;
use crate::request::Target;

/// Connecting and answering may take this long each: an ADD that gets no answer ends within 10 s. Enough for a router that
/// has to ask a peer for addresses first.
pub(crate) const ADD_WITHIN: Duration = Duration::from_millis(4500);

/// The same for what a runtime does not like to wait for; what is not done by then goes into the spool.
pub(crate) const DEL_WITHIN: Duration = Duration::from_millis(2000);

/// A whole STATUS takes less than a second.
pub(crate) const STATUS_WITHIN: Duration = Duration::from_millis(400);

/// Between two calls to a router that is not there.
const PAUSE: Duration = Duration::from_millis(50);

/// Calls the router once.
pub(crate) fn call<T>(
    place: &Place,
    within: Duration,
    question: impl FnOnce(&mut Client) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut client = Client::connect(&place.control_socket, within)?;
    question(&mut client)
}

/// Calls the router until it answers: one that is started again, after an upgrade say, is back in a second. What asks so may
/// be asked twice. With an error comes whether the router may have done it nevertheless.
pub(crate) fn call_until_answered<T>(
    place: &Place,
    within: Duration,
    mut question: impl FnMut(&mut Client) -> Result<T, ClientError>,
) -> Result<T, Unanswered> {
    let deadline = Instant::now() + within;
    let mut is_doubtful = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
        let wrong = match call(place, left, &mut question) {
            Ok(answer) => return Ok(answer),
            Err(wrong) => wrong,
        };
        is_doubtful |= may_be_done(&wrong);
        if !is_away(&wrong) || Instant::now() + PAUSE >= deadline {
            return Err(Unanswered { wrong, is_doubtful });
        }
        thread::sleep(PAUSE);
    }
}

/// Why there is no answer, and whether what was asked may be done.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) wrong: ClientError,
    pub(crate) is_doubtful: bool,
}

/// Whether nobody listens, or no longer: not where we may not ask, or cannot.
fn is_away(wrong: &ClientError) -> bool {
    let hopeless = [ErrorKind::PermissionDenied, ErrorKind::InvalidInput];
    matches!(wrong, ClientError::Unreachable { source, .. } if !hopeless.contains(&source.kind()))
}

/// Whether the router may have done what it did not answer. Where nobody listens it has not.
fn may_be_done(wrong: &ClientError) -> bool {
    match wrong {
        ClientError::Unreachable { source, .. } => {
            use ErrorKind::{ConnectionRefused, InvalidInput, NotFound, PermissionDenied};
            ![NotFound, ConnectionRefused, PermissionDenied, InvalidInput].contains(&source.kind())
        }
        ClientError::TimedOut { .. } | ClientError::Protocol { .. } => true,
        ClientError::RequestTooLong { .. } | ClientError::Refused(_) => false,
    }
}

/// Releases what a target has: through the router, or else through the spool. Nothing there is fine.
pub(crate) fn release(target: &Target) -> Result<(), Fault> {
    match call(&target.place, DEL_WITHIN, |client| client.release(target.attachment())) {
        Ok(()) => Ok(()),
        Err(ClientError::Refused(refusal)) if refusal.code == control_api::ErrorKind::Unknown => Ok(()),
        Err(_) => spool_release(target),
    }
}

/// Leaves a release for when the router is back.
pub(crate) fn spool_release(target: &Target) -> Result<(), Fault> {
    let release = Release { attachment: target.attachment(), host_interface: target.host_interface() };
    Ok(spool::store(&target.place.spool, &release)?)
}

#[cfg(test)]
mod tests;
