//! The containers' MTU: what the smallest path carries in one piece, unless the operator has fixed it.
//!
//! Decides when the bridge follows. Containers keep what they were given, and what has become too large for a path travels
//! in pieces.

use hostnet::link::Link;

use super::Control;
use super::alarms::Part;

/// What new containers get.
#[derive(Debug)]
pub(crate) struct InnerMtu {
    chosen: Option<u16>,
    /// What this host's own end of the underlay leaves.
    here: u16,
    bytes: u16,
}

impl InnerMtu {
    pub(crate) fn new(chosen: Option<u16>, here: u16) -> Self {
        Self { chosen, here, bytes: chosen.unwrap_or(here) }
    }

    pub(crate) fn bytes(&self) -> u32 {
        u32::from(self.bytes)
    }

    /// This host's own end leaves so much from now on. Whether it was a change.
    pub(super) fn set_here(&mut self, here: u16) -> bool {
        std::mem::replace(&mut self.here, here) != here
    }

    /// Follows the largest datagram that every path carries, if that is known. Whether it was a change.
    fn follow(&mut self, smallest_path: Option<u16>) -> bool {
        let fits =
            smallest_path.map_or(self.here, |datagram_bytes| wire::chunk::inner_mtu(datagram_bytes).min(self.here));
        let bytes = self.chosen.unwrap_or(fits);
        std::mem::replace(&mut self.bytes, bytes) != bytes
    }
}

impl Control {
    /// Lets the bridge follow the paths.
    pub(super) fn follow_paths(&mut self) {
        if self.parts.inner_mtu.follow(self.mesh.smallest_path()) {
            tracing::info!(
                mtu_bytes = self.parts.inner_mtu.bytes(),
                "new containers get the MTU that every path carries"
            );
            self.set_mtu();
        }
    }

    /// Sets it again where that is wanted: it could not be set, somebody has set another, or a container whose ADD took its time
    /// has come with the MTU of its beginning.
    pub(super) fn look_at_mtu(&mut self, links: &[Link]) {
        if !hostnet::bridge::wants_mtu(links, &self.about.bridge, self.parts.inner_mtu.bytes()) {
            // Somebody else may have seen to it.
            return self.alarms.judge(Part::Mtu, None);
        }
        self.set_mtu();
        if self.alarms.works(Part::Mtu) {
            tracing::info!("the bridge and its tap have the MTU of their containers again");
        }
    }

    fn set_mtu(&mut self) {
        let mtu_bytes = self.parts.inner_mtu.bytes();
        let refused = hostnet::bridge::set_mtu(&self.about.bridge, mtu_bytes).err();
        let trouble = refused.map(|error| {
            format!("large packets of containers may be lost: the bridge does not get the MTU {mtu_bytes}: {error}")
        });
        self.alarms.judge(Part::Mtu, trouble);
    }
}

#[cfg(test)]
mod tests;
