//! Why frames are dropped.
//!
//! Owns the list of reasons. A dropped frame is not an error: it is a reason, and a counter at whoever drops it.

/// Declares the reasons once: the enum, the list of all, and their names.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal,)*) => {
        /// Why a frame went nowhere.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[$doc])* $reason,)*
        }

        impl DropReason {
            /// Every reason, in the order of their counters.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$reason),*];

            /// The reason's name in outputs and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// Cut short or contradicting itself.
    Malformed = "malformed",
    /// Neither IPv4, IPv6 nor ARP.
    Protocol = "protocol",
    /// A VLAN tag: the overlay has none.
    Tagged = "vlan-tag",
    /// Spanning tree, LLDP, pause and their kin: of one link only (IEEE 802.1D reserved addresses).
    LinkLocalControl = "link-control",
    /// The source MAC is not one that the sender may use.
    SourceMac = "source-mac",
    /// The source address (IPv4, IPv6, or in ARP and neighbour discovery) is not one that the sender may use.
    SourceAddress = "source-address",
    /// From or for the gateway, which is on every host and leaves none.
    Gateway = "gateway",
    /// A router advertisement, router solicitation or redirect.
    RouterDiscovery = "router-discovery",
    /// A DHCP server's reply.
    DhcpServer = "dhcp-server",
    /// The destination MAC or the address asked for is outside the network.
    Foreign = "foreign-destination",
    /// Nobody owns the destination.
    NoOwner = "no-owner",
    /// The destination is on the host the frame came from: the bridge has delivered it.
    Local = "local-destination",
    /// The frame has been forwarded once already and its destination is elsewhere still.
    Hops = "forwarded-twice",
    /// A network that this router does not have.
    UnknownNetwork = "unknown-network",
    /// Above the rate for broadcast and multicast.
    Rate = "broadcast-rate",
}
