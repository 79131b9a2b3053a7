//! Hosts with a router and podman each, all with the same image.

use anyhow::{Context as _, Result};

use crate::{Cluster, Image, Plugin, Podman, Stage, Underlay, binary};

/// Podman on every host of a cluster.
#[derive(Debug)]
pub struct Engines {
    podmans: Vec<Podman>,
    /// The routers.
    pub cluster: Cluster,
    // Last: what runs on the hosts goes before the hosts do.
    /// The hosts.
    pub stage: Stage,
}

impl Engines {
    /// So many hosts. The image has the probe in it.
    pub fn on(hosts: u8) -> Result<Self> {
        let stage = Stage::build(Underlay { hosts, mtu_bytes: 1500 })?;
        let cluster = Cluster::form(&stage)?;
        let image = Image::pack(stage.directory(), &[binary("probe")?])?;
        let podman = |host| Podman::on(host, &image, Plugin::Raddle);
        let podmans = stage.hosts().iter().map(podman).collect::<Result<Vec<_>>>()?;
        Ok(Self { podmans, cluster, stage })
    }

    /// Podman on the host with this number.
    pub fn podman(&self, number: usize) -> Result<&Podman> {
        number.checked_sub(1).and_then(|at| self.podmans.get(at)).with_context(|| format!("no podman {number}"))
    }
}
