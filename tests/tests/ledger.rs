//! The ledger in real routers: killed at any moment, parted, with a full disk or one that fails, restored from a copy, and
//! with ten thousand records. What is claimed here of
//! addresses is what their users were told, not what a router believes.

#[path = "ledger/ailing.rs"]
mod ailing;
#[path = "ledger/client.rs"]
mod client;
#[path = "sim/dice.rs"]
mod dice;
#[path = "ledger/disks.rs"]
mod disks;
#[path = "ledger/kills.rs"]
mod kills;
#[path = "ledger/partition.rs"]
mod partition;
#[path = "ledger/size.rs"]
mod size;
