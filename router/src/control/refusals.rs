//! Why a router does not do what it is asked, as its clients hear it: a code to go by, the reason, and what helps.
//!
//! Owns the remedies. Decides nothing.

use control_api::{ApiError, ErrorKind};
use ipam::{ClaimError, PeerLabel, RevokeError};

use super::{Control, views};

impl Control {
    pub(super) fn claim_error(&self, error: &ClaimError) -> ApiError {
        let (kind, remedy) = match error {
            ClaimError::UnknownNetwork { .. } | ClaimError::Text { .. } => (ErrorKind::Invalid, None),
            ClaimError::OutsidePool { .. } | ClaimError::Reserved { .. } => {
                (ErrorKind::Invalid, Some(format!("ask for an address of {}", views::pools(&self.about.networks))))
            }
            ClaimError::Taken { workload, holder, .. } => (
                ErrorKind::Taken,
                Some(format!(
                    "ask for another address, or none; if {workload:?} is not to come back, run on {holder}: raddle release {workload}"
                )),
            ),
            ClaimError::MacOfAnother { address, .. } => (
                ErrorKind::Invalid,
                Some(format!("ask for {address} with it, or for a MAC that begins with another byte than 02")),
            ),
            ClaimError::MacUnusable { .. } => (
                ErrorKind::Invalid,
                Some("ask for one whose first byte is even, and neither 00:…:00 nor fe".to_owned()),
            ),
            ClaimError::MacTaken { workload, holder, .. } => (
                ErrorKind::Taken,
                Some(format!(
                    "ask for another MAC, or none; or stop {workload:?} on {holder} and run there: raddle release {workload}"
                )),
            ),
            ClaimError::Resting { .. } => (ErrorKind::TryAgain, Some("try again when it has rested".to_owned())),
            ClaimError::Duplicate { .. } => {
                (ErrorKind::Duplicate, Some("delete the container's interface first (CNI DEL)".to_owned()))
            }
            ClaimError::HeldElsewhere { holder, .. } => {
                (ErrorKind::Held, Some(format!("stop it on {holder}; its address then follows the workload here")))
            }
            ClaimError::Contended { winner, .. } => {
                (ErrorKind::Held, Some(format!("stop it on {winner}; its address then follows the workload here")))
            }
            ClaimError::HolderUnreachable { holder, .. } => (
                ErrorKind::Held,
                Some(format!("bring {holder} back, or, if it is gone for good: raddle revoke {holder}")),
            ),
            ClaimError::HolderUnable { holder, .. } => {
                (ErrorKind::Held, Some(format!("run 'raddle status' on {holder}: it says why, and what helps")))
            }
            ClaimError::Frozen { .. } => (ErrorKind::TryAgain, Some("see 'raddle status' for the alarm".to_owned())),
            // It ends by itself: with the silence, or when what was freed has rested.
            ClaimError::NoneYet { silent, .. } => (ErrorKind::TryAgain, Some(later(silent))),
            ClaimError::Exhausted { .. } => {
                (ErrorKind::Exhausted, Some("remove containers; 'raddle leases' shows who has what".to_owned()))
            }
            ClaimError::Withdrawn => (ErrorKind::TryAgain, None),
            ClaimError::ReadOnly => return self.read_only(),
            ClaimError::RolledBackHere => return rolled_back(),
            ClaimError::RevokedHere => {
                (ErrorKind::NotReady, Some("empty its data directory and run 'raddle join' again".to_owned()))
            }
        };
        ApiError { code: kind, message: error.to_string(), remedy }
    }
}

pub(super) fn unknown_network(name: &str) -> ApiError {
    ApiError::new(ErrorKind::Invalid, format!("there is no network {name:?} in this cluster"))
        .with_remedy(format!("the default one is {:?}", control_api::DEFAULT_NETWORK))
}

pub(super) fn rolled_back() -> ApiError {
    ApiError::new(ErrorKind::NotReady, "this router's store was restored from a copy, so it gives no address")
        .with_remedy(
            "stop it, run 'raddle revoke' with its name on another router, empty its data directory and join again",
        )
}

/// What ends a want of addresses that is not for good.
fn later(silent: &[PeerLabel]) -> String {
    match silent {
        [] => "try again when they have rested, or remove containers; 'raddle leases' shows who has what".to_owned(),
        [first, ..] => format!(
            "try again when the routers that do not answer are back ('raddle peers' shows them); those that are gone for \
             good: raddle revoke {first}"
        ),
    }
}

pub(super) fn revoke_error(error: &RevokeError) -> ApiError {
    let kind = match error {
        RevokeError::Unknown { .. } => ErrorKind::Unknown,
        RevokeError::Itself | RevokeError::TooMuch { .. } => ErrorKind::Invalid,
        RevokeError::Blocked { .. } | RevokeError::AskedElsewhere { .. } => ErrorKind::TryAgain,
        RevokeError::ReadOnly => ErrorKind::ReadOnly,
        RevokeError::RevokedHere | RevokeError::RolledBackHere => ErrorKind::NotReady,
    };
    ApiError::new(kind, error.to_string())
}
