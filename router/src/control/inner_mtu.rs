//! The containers' MTU: what the smallest path carries in one piece, unless the operator has fixed it.
//!
//! Decides when the bridge follows. Containers keep what they were given, and what has become too large for a path travels
//! in pieces.

use super::Control;

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
        if !self.parts.inner_mtu.follow(self.mesh.smallest_path()) {
            return;
        }
        let mtu_bytes = self.parts.inner_mtu.bytes();
        match hostnet::bridge::set_mtu(&self.about.bridge, mtu_bytes) {
            Ok(()) => tracing::info!(mtu_bytes, "new containers get the MTU that every path carries"),
            Err(error) => tracing::warn!(%error, mtu_bytes, "the bridge keeps its MTU"),
        }
    }
}

#[cfg(test)]
mod tests;
