//! Which peer has a slot: the ledger's ranges made ready for looking up.
//!
//! Owns a table that never changes: control builds a new one after each change of the ledger. Knows no frame.
//!
//! ```text
//!   the ledger's ranges     |---- block: P1 ----|---- block: P2 ----|
//!                                 |carved: P2|
//!   the table               | P1  |    P2    |P1|        P2         | Nobody …
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::{Mac, Network, NetworkId, PeerIndex, Range, Slot};

/// Who has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This router.
    Here,
    /// Another router.
    Peer(PeerIndex),
    /// No router that this one knows.
    Nobody,
}

/// A slot that came here from another router by a move. Until every router knows, frames for it may come through there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The slot's network.
    pub network: NetworkId,
    /// The slot.
    pub slot: Slot,
    /// Who had it before and may pass on frames for it.
    pub from: PeerIndex,
}

/// The forwarding table of all networks.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Sorted by id.
    networks: Vec<NetworkTable>,
    /// Sorted by network, slot and peer.
    arrivals: Vec<(NetworkId, Slot, PeerIndex)>,
    replicas: Vec<PeerIndex>,
}

/// A MAC that is not the one its slot names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception {
    /// The network.
    pub network: NetworkId,
    /// The MAC.
    pub mac: Mac,
    /// Whose it is.
    pub slot: Slot,
}

/// The table of one network.
#[derive(Debug, Clone)]
pub(crate) struct NetworkTable {
    pub(crate) network: Network,
    /// Sorted by MAC, one slot each.
    exceptions: Vec<(Mac, Slot)>,
    /// Where each run of slots with one owner begins; the first is slot 0.
    starts: Vec<Slot>,
    /// The owner of the run at the same position.
    owners: Vec<Owner>,
}

impl Table {
    /// Builds the table. `ranges` are disjoint or nested, and where two cover a slot the smaller one has it. `replicas`
    /// are the peers that get broadcast and multicast frames. `arrivals` are the moves hither of late.
    #[must_use]
    pub fn new(
        networks: Vec<Network>,
        ranges: &[(Range, Owner)],
        replicas: Vec<PeerIndex>,
        arrivals: &[Arrival],
    ) -> Self {
        let mut networks: Vec<_> = networks.into_iter().map(|network| NetworkTable::new(network, ranges)).collect();
        networks.sort_by_key(|table| table.network.id);
        networks.dedup_by_key(|table| table.network.id);
        let mut arrivals: Vec<_> =
            arrivals.iter().map(|arrival| (arrival.network, arrival.slot, arrival.from)).collect();
        arrivals.sort_unstable();
        Self { networks, arrivals, replicas }
    }

    /// The same table with MACs that do not name their slots. One that names a slot stays that slot's; one that two slots
    /// want is the lower one's, everywhere alike.
    #[must_use]
    pub fn with_exceptions(mut self, exceptions: &[Exception]) -> Self {
        for table in &mut self.networks {
            let of_network = exceptions.iter().filter(|exception| exception.network == table.network.id);
            let free = of_network.filter(|exception| {
                !exception.mac.is_multicast() && table.network.slot_of_mac(exception.mac).is_none()
            });
            table.exceptions = free.map(|exception| (exception.mac, exception.slot)).collect();
            table.exceptions.sort_unstable();
            table.exceptions.dedup_by_key(|(mac, _)| *mac);
        }
        self
    }

    /// Who has a slot.
    #[must_use]
    pub fn owner(&self, network: NetworkId, slot: Slot) -> Owner {
        self.network(network).map_or(Owner::Nobody, |table| table.owner(slot))
    }

    /// The peers that get broadcast and multicast frames.
    #[must_use]
    pub fn replicas(&self) -> &[PeerIndex] {
        &self.replicas
    }

    /// The networks, sorted by id.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.iter().map(|table| &table.network)
    }

    pub(crate) fn network(&self, id: NetworkId) -> Option<&NetworkTable> {
        let at = self.networks.binary_search_by_key(&id, |table| table.network.id).ok()?;
        self.networks.get(at)
    }

    pub(crate) fn has_arrived(&self, network: NetworkId, slot: Slot, from: PeerIndex) -> bool {
        self.arrivals.binary_search(&(network, slot, from)).is_ok()
    }
}

impl NetworkTable {
    fn new(network: Network, ranges: &[(Range, Owner)]) -> Self {
        let mut ranges: Vec<(Range, Owner)> =
            ranges.iter().filter(|(range, _)| range.network == network.id).copied().collect();
        // A range comes before those inside it. The sort is stable: of two equal ranges the later one is inside.
        ranges.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.length)));
        let mut runs = Runs { starts: vec![Slot(0)], owners: vec![Owner::Nobody] };
        let mut around: Vec<(Slot, Owner)> = Vec::new();
        for (range, owner) in ranges {
            runs.leave(&mut around, range.start);
            runs.begin(range.start, owner);
            around.push((range.end(), owner));
        }
        runs.leave(&mut around, Slot(u32::MAX));
        Self { network, exceptions: Vec::new(), starts: runs.starts, owners: runs.owners }
    }

    pub(crate) fn owner(&self, slot: Slot) -> Owner {
        let after = self.starts.partition_point(|&start| start <= slot);
        self.owners.get(after.wrapping_sub(1)).copied().unwrap_or(Owner::Nobody)
    }

    pub(crate) fn owner_of_mac(&self, mac: Mac) -> Option<(Slot, Owner)> {
        let slot = self.network.slot_of_mac(mac).or_else(|| self.exception(mac))?;
        Some((slot, self.owner(slot)))
    }

    pub(crate) fn is_exception(&self, mac: Mac) -> bool {
        self.network.slot_of_mac(mac).is_none()
    }

    fn exception(&self, mac: Mac) -> Option<Slot> {
        let at = self.exceptions.binary_search_by_key(&mac, |(known, _)| *known).ok()?;
        self.exceptions.get(at).map(|(_, slot)| *slot)
    }

    pub(crate) fn owner_of(&self, address: Ipv4Addr) -> Option<(Slot, Owner)> {
        let slot = self.network.slot_of(address)?;
        Some((slot, self.owner(slot)))
    }

    pub(crate) fn owner_of6(&self, address: Ipv6Addr) -> Option<(Slot, Owner)> {
        if let Some(mac) = Mac::of_link_local(address) {
            return self.owner_of_mac(mac);
        }
        let slot = self.network.slot_of6(address)?;
        Some((slot, self.owner(slot)))
    }
}

/// Runs of slots with one owner, built front to back.
struct Runs {
    starts: Vec<Slot>,
    owners: Vec<Owner>,
}

impl Runs {
    /// Ends every range that does not reach `at`: what it lies in goes on behind it.
    fn leave(&mut self, around: &mut Vec<(Slot, Owner)>, at: Slot) {
        while let Some((end, _)) = around.pop_if(|(end, _)| *end <= at) {
            // A range that ends no later than the one inside it has nothing left behind that one.
            while around.pop_if(|(outer, _)| *outer <= end).is_some() {}
            self.begin(end, around.last().map_or(Owner::Nobody, |&(_, owner)| owner));
        }
    }

    fn begin(&mut self, start: Slot, owner: Owner) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.owners.pop();
        }
        if self.owners.last() != Some(&owner) {
            self.starts.push(start);
            self.owners.push(owner);
        }
    }
}

#[cfg(test)]
mod tests;
