//! Asks a router for addresses as a plugin does, without a container: over its control socket.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::Result;
use control_api::{Attachment, Client, ClientError, Container, LeaseRequest, LeaseView, OwnerKind};
use tests::Host;

/// A namespace that is there for as long as the host: the router takes every container for running.
const CONTAINERS: &str = "containers";

/// The way to one host's router.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    socket: PathBuf,
}

impl Asker {
    pub(crate) fn of(host: &Host) -> Self {
        // There already, if somebody has asked before.
        let _ = host.run(&["ip", "netns", "add", CONTAINERS]);
        Self { socket: host.root().join("run/raddle/control.sock") }
    }

    fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket, PATIENCE)
    }

    /// An address for a container; with a workload, the address is held for that.
    pub(crate) fn allocate(&self, container: &str, workload: Option<&str>) -> Result<Ipv4Addr, ClientError> {
        let request = LeaseRequest {
            network: control_api::DEFAULT_NETWORK.to_owned(),
            cni_network: String::from("raddle"),
            container_id: container.to_owned(),
            ifname: String::from("eth0"),
            netns: Some(format!("/run/netns/{CONTAINERS}")),
            workload: workload.map(str::to_owned),
            sticky: workload.is_some(),
            address: None,
            address6: None,
            mac: None,
            hold_s: None,
            masquerade: false,
            take_over: false,
            host_interface: format!("rd{container}").chars().take(15).collect(),
            owner_kind: OwnerKind::Cni,
        };
        Ok(self.client()?.lease(request)?.address.address)
    }

    pub(crate) fn release(&self, container: &str) -> Result<(), ClientError> {
        self.client()?.release(Attachment {
            network: control_api::DEFAULT_NETWORK.to_owned(),
            container_id: container.to_owned(),
            ifname: String::from("eth0"),
            cni_network: String::from("raddle"),
            owner_kind: OwnerKind::Cni,
        })
    }

    /// What runs here, whether or not its address may move.
    pub(crate) fn containers(&self) -> Result<Vec<Container>, ClientError> {
        Ok(self.client()?.ps()?.containers)
    }

    pub(crate) fn leases(&self) -> Result<Vec<LeaseView>, ClientError> {
        Ok(self.client()?.leases()?.leases)
    }

    pub(crate) fn status(&self) -> Result<control_api::Status, ClientError> {
        self.client()?.status()
    }
}

/// Longer than a claim may take that needs another router.
const PATIENCE: Duration = Duration::from_secs(10);
