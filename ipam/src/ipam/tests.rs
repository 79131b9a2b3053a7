//! Claims, releases, gifts, moves and revocations among several routers.

mod census;
mod crashes;
mod failures;
mod forgetting;
mod gossip;
mod heirs;
mod history;
mod hostile;
mod interrupted;
mod leases;
mod macs;
mod moves;
mod names;
mod reserving;
mod resting;
mod returning;
mod revocations;
mod sizes;
mod spaces;
mod strangers;
