//! Tells the kernel what each container may send and who is masqueraded, and looks whether it still knows.
//!
//! Decides when the edge is told and when it is looked at. Knows nothing of how frames are judged.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use control_api::{ApiError, ErrorKind};
use hostnet::edge::{Checked, Edge, EdgeError, GuardedPort, Outside, PortDrops, Told};
use hostnet::forwarding::{self, Family};
use ipam::LeaseState;
use wire::Network;

use super::Control;
use super::alarms::Part;

/// The edge, and how it does.
pub(crate) struct Guarding {
    edge: Edge,
    next_look: Instant,
    /// What is wrong with it, as it was told to the operator.
    wrong: Option<String>,
}

impl Guarding {
    /// An edge that nobody has told anything yet.
    pub(crate) fn new(edge: Edge, now: Instant) -> Self {
        Self { edge, next_look: now, wrong: None }
    }

    /// When it wants to be looked at.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.next_look
    }

    /// Lets a network's containers through to the outside: the host forwards what they send. Nothing is masqueraded where the
    /// rules are not loaded, and then nobody is told that it is.
    pub(super) fn ensure_way_out(&self, network: &Network) -> Result<(), ApiError> {
        self.ensure_rules()?;
        let families = std::iter::once(Family::V4).chain(network.pool6.map(|_| Family::V6));
        for family in families {
            forwarding::switch_on(family).map_err(|error| {
                ApiError::new(ErrorKind::Internal, format!("nothing can be masqueraded: {error}: {}", error.source))
                    .with_remedy("switch forwarding on, or leave \"ipMasq\" out")
            })?;
        }
        Ok(())
    }

    /// Whether anything can be masqueraded; changes nothing.
    pub(super) fn ensure_rules(&self) -> Result<(), ApiError> {
        let Some(wrong) = &self.wrong else { return Ok(()) };
        Err(ApiError::new(ErrorKind::NotReady, format!("nothing can be masqueraded: {wrong}"))
            .with_remedy("'raddle status' says what is missing; or leave \"ipMasq\" out"))
    }

    /// What was dropped at each port; nothing where the kernel cannot be asked.
    pub(super) fn drops(&self) -> PortDrops {
        self.edge.drops().unwrap_or_else(|error| {
            tracing::debug!(%error, "what the edge has dropped cannot be read");
            PortDrops::new()
        })
    }
}

impl Control {
    /// Says which ports there are. Before a lease is answered: its container is guarded from its first frame.
    pub(super) fn guard_ports(&mut self) {
        let active = self.ipam.leases().filter(|lease| lease.state == LeaseState::Active);
        let ports: Vec<_> = active.filter_map(|lease| self.guarded_port(lease)).collect();
        let told = self.parts.guarding.edge.set_ports(ports);
        // Who was told nothing has not shown that it works.
        if !matches!(told, Ok(Told::Nothing)) {
            self.judge_edge(told.map(|_| ()));
        }
    }

    /// Looks whether the kernel has the rules, and the bridge and its ports are what they are to be: other tools flush and take
    /// down what is not theirs.
    pub(super) fn look_at_edge(&mut self, now: Instant) {
        self.parts.guarding.next_look = now + LOOK;
        self.look_at_ports(now);
        // Whatever has changed in the ledger without a word is told now at the latest.
        self.guard_ports();
        let looked = self.parts.guarding.edge.check().map(|checked| {
            if checked == Checked::Restored {
                tracing::info!(bridge = self.about.bridge, "the rules for what containers may send are in place");
            }
        });
        self.judge_edge(looked);
        let whole = hostnet::bridge::ensure_whole(&self.about.bridge, &self.about.tap);
        let broken = whole.err().map(|error| format!("no container has traffic: {error}; restart the router"));
        self.alarms.judge(Part::Bridge, broken);
        self.look_at_host_rules();
    }

    /// Whether the host's own rules stand between its containers. Where they cannot be read, the edge's own trouble says why.
    fn look_at_host_rules(&mut self) {
        let pools: Vec<_> = self.about.networks.iter().map(|network| network.pool.base).collect();
        let cut = self.parts.guarding.edge.is_cut_by_host(&pools).unwrap_or_default();
        let bridge = &self.about.bridge;
        let told = cut.then(|| {
            format!(
                "containers do not reach each other: this host's iptables see what the bridge passes on \
                 (net.bridge.bridge-nf-call-iptables = 1) and drop it (the policy of FORWARD), and no rule there knows {bridge} or \
                 its containers; this lets them: iptables -I FORWARD -i {bridge} -o {bridge} -j ACCEPT"
            )
        });
        self.alarms.judge(Part::HostRules, told);
    }

    fn guarded_port(&self, lease: &ipam::Lease) -> Option<GuardedPort> {
        let network = self.ipam.network(lease.attachment.network)?;
        let ipv6 = network.address6(lease.slot).map(IpAddr::from);
        Some(GuardedPort {
            interface: lease.place.host_interface.clone(),
            mac: lease.mac_on(network).0,
            addresses: std::iter::once(network.address(lease.slot).into()).chain(ipv6).collect(),
            outside: if lease.place.masqueraded { Outside::AsTheHost } else { Outside::AsItself },
        })
    }

    /// A host without nftables still has its overlay; its operator is told once what it lacks.
    fn judge_edge(&mut self, done: Result<(), EdgeError>) {
        let wrong = match done {
            Ok(()) => None,
            // What was wrong when they were to be loaded has been told.
            Err(EdgeError::NotLoaded) => return,
            Err(error) => Some(error.to_string()),
        };
        self.alarms.judge(Part::Edge, wrong.clone());
        self.parts.guarding.wrong = wrong;
    }
}

/// Rules that somebody has flushed are missing for so long at most; looking costs a millisecond, more where the host
/// drops what it forwards and has many rules.
const LOOK: Duration = Duration::from_secs(5);
