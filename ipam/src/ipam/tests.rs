//! Claims, releases, gifts, moves and revocations among several routers.

mod failures;
mod leases;
mod moves;
mod revocations;
mod spaces;
