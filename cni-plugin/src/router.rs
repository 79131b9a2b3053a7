//! The router, as far as the plugin needs it.
//!
//! Owns how long it is waited for, and what becomes of a release that it does not take.

use std::time::Duration;

use control_api::spool::{self, Release};
use control_api::{Client, ClientError, ErrorKind};

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

/// Calls the router once.
pub(crate) fn call<T>(
    place: &Place,
    within: Duration,
    question: impl FnOnce(&mut Client) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut client = Client::connect(&place.control_socket, within)?;
    question(&mut client)
}

/// Releases what a target has: through the router, or else through the spool. Nothing there is fine.
pub(crate) fn release(target: &Target) -> Result<(), Fault> {
    match call(&target.place, DEL_WITHIN, |client| client.release(target.attachment())) {
        Ok(()) => Ok(()),
        Err(ClientError::Refused(refusal)) if refusal.code == ErrorKind::Unknown => Ok(()),
        Err(_) => spool_release(target),
    }
}

/// Leaves a release for when the router is back.
pub(crate) fn spool_release(target: &Target) -> Result<(), Fault> {
    let release = Release { attachment: target.attachment(), host_interface: target.host_interface() };
    Ok(spool::store(&target.place.spool, &release)?)
}
