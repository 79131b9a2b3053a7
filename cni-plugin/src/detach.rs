//! DEL and GC: links are removed, leases released, and whatever is not there is fine.
//!
//! Owns that neither waits for the other: a link that cannot be removed does not keep an address, and the other way round.

use control_api::{AttachmentId, GcRequest};
use hostnet::veth::{self, DetachError};

use crate::fault::Fault;
use crate::request::{Gc, Target};
use crate::{note, router};

/// Carries out a DEL. It is by the host's end that the attachment is known: neither the namespace nor what is in it matters,
/// it may be gone or be another container's by now.
pub(crate) fn detach(target: &Target) -> Result<(), Fault> {
    let unplugged = unplug(target);
    let released = router::release(target);
    unplugged.and(released)
}

/// Carries out a GC: the router says what is no longer valid, and its links go.
pub(crate) fn collect(gc: &Gc) -> Result<(), Fault> {
    let valid = gc.valid.as_ref().map(|valid| {
        let id = |(container_id, ifname): &(String, String)| AttachmentId {
            container_id: container_id.clone(),
            ifname: ifname.clone(),
        };
        valid.iter().map(id).collect()
    });
    let request = GcRequest { cni_network: gc.cni_network.clone(), valid, started_ago_s: 0 };
    let collected = router::call(&gc.place, router::ADD_WITHIN, |client| client.gc(request))?;
    let mut result = Ok(());
    for gone in collected.collected {
        let target = Target {
            place: gc.place.clone(),
            cni_network: gc.cni_network.clone(),
            container_id: gone.container_id,
            ifname: gone.ifname,
        };
        result = result.and(unplug(&target));
    }
    result
}

fn unplug(target: &Target) -> Result<(), Fault> {
    match veth::detach(&target.host_interface(), &target.owner()) {
        Ok(()) => Ok(()),
        Err(wrong @ DetachError::Foreign { .. }) => {
            note(&format!("{wrong}; it is left alone"));
            Ok(())
        }
        Err(wrong @ DetachError::Netlink(_)) => Err(wrong.into()),
    }
}
