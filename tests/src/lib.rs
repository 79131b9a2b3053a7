//! The stage: hosts made of namespaces on one underlay, real routers and engines on them, and independent observers.
//!
//! Decides how a host is made, entered and taken down. Knows Raddle only as an operator does: by its commands.
//!
//! ```text
//!   switch (bridge "underlay", captured and cut here)
//!     │            │            │
//!   host1        host2        host3       net, mount, uts and pid namespace each; /etc /var /opt /srv /run of its own
//!   raddle       raddle       raddle
//!   containers   containers   containers  bare namespaces through raddle-cni, or podman's, or containerd's
//! ```
#![forbid(unsafe_code)]

mod beats;
mod capture;
mod cluster;
mod cni;
mod command;
mod containerd;
mod cri;
mod engines;
mod gaps;
mod grpc;
mod host;
mod image;
mod libcni;
mod newer;
mod podman;
mod process;
mod raw;
mod router;
mod soak;
mod stage;
mod storm;
mod wait;

pub use beats::Beats;
pub use capture::{Capture, Packet, Recording};
pub use cluster::{Cluster, PASSWORD, PORT, password_file, peer};
pub use cni::{Answer, Attachment, Container, NETWORK, Plugin, conflist};
pub use command::{Finished, run};
pub use containerd::Containerd;
pub use cri::{Cri, Generation, Pod, Sandbox};
pub use engines::Engines;
pub use gaps::{Distribution, Gap, OpenPing, clock};
pub use host::Host;
pub use image::{IMAGE, Image};
pub use libcni::Libcni;
pub use podman::Podman;
pub use process::Process;
pub use raw::Listener;
pub use router::{JoinBy, Router};
pub use soak::{promised, rounds, size};
pub use stage::{Stage, Underlay, binary};
pub use storm::Storm;
pub use wait::{now_ms, pass, until};
