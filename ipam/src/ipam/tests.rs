//! Claims, releases, gifts, moves and revocations among several routers.

mod crashes;
mod failures;
mod gossip;
mod leases;
mod moves;
mod revocations;
mod spaces;
