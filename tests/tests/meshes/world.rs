//! The clock, and what befalls the hosts. What must never happen is looked at as it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipam::{Attachment, Claim, Place, RequestId, To, adopt_snapshot, found};
use mesh::{Carrier, Delivery, DownReason, Event, Member, Origin, StreamId, Topic};
use wire::{Identity, NetworkId, Slot};

use crate::{
    net::{End, Net, Parcel, Weather},
    node::{Arithmetic, Node, Running, number_at},
    spread::Spread,
};

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) deaths: usize,
    pub(crate) claims: usize,
    pub(crate) given: usize,
    /// How long deaths took to be noticed, each router that was connected for itself.
    pub(crate) noticed: Vec<Duration>,
    /// How long what was pushed to all took to arrive.
    pub(crate) pushed: Vec<Duration>,
    /// Pushed records that were looked for everywhere.
    pub(crate) found: usize,
    /// Living, reachable routers that were called dead.
    pub(crate) false_verdicts: Vec<String>,
}

/// All of it.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Net,
    pub(crate) now: Instant,
    pub(crate) begin: Instant,
    seed: u64,
    next_stream: u64,
    pub(crate) next_request: u64,
    /// Who still has to notice a death, and since when.
    unnoticed: BTreeMap<usize, (Instant, BTreeSet<usize>)>,
    pub(crate) numbers: BTreeMap<Identity, usize>,
    /// Pushed to all: when, by whom.
    pushes: BTreeMap<Vec<u8>, (Instant, BTreeSet<usize>)>,
    /// Who has a slot.
    slots: BTreeMap<Slot, (usize, String)>,
    /// What was said of members, each once.
    lines: BTreeMap<(Identity, (u32, u32)), Arc<Member>>,
    spread: Spread,
    /// Whether routers die between a decision and its sync.
    pub(crate) dies_at_sync: bool,
    pub(crate) told: Told,
}

impl World {
    /// Hosts that joined one after the other, each knowing those that joined before it, all of them off.
    pub(crate) fn new(seed: u64, hosts: usize, weather: Weather) -> Result<Self> {
        Self::computed_with(Arithmetic::Real, seed, hosts, weather)
    }

    pub(crate) fn computed_with(arithmetic: Arithmetic, seed: u64, hosts: usize, weather: Weather) -> Result<Self> {
        let now = Instant::now();
        let nodes = (0..hosts).map(|number| Node::new(number, arithmetic, now)).collect::<Result<Vec<_>>>()?;
        let numbers = nodes.iter().map(|node| (node.identity, node.number)).collect();
        let mut world = Self {
            nodes,
            net: Net::new(seed, weather, now),
            now,
            begin: now,
            seed,
            next_stream: 0,
            next_request: 0,
            unnoticed: BTreeMap::new(),
            numbers,
            pushes: BTreeMap::new(),
            slots: BTreeMap::new(),
            lines: BTreeMap::new(),
            spread: Spread::default(),
            dies_at_sync: false,
            told: Told::default(),
        };
        world.join_all()?;
        Ok(world)
    }

    fn join_all(&mut self) -> Result<()> {
        let mut members: Vec<Arc<Member>> = Vec::new();
        for node in &self.nodes {
            members.push(Arc::new(node.member(members.first().map(Arc::as_ref), self.now)?));
        }
        let (first, others) = self.nodes.split_first_mut().context("no host")?;
        first.sync(&found(first.ledger_config()));
        first.members = members.iter().map(|member| (member.identity(), member.clone())).collect();
        first.start(self.seed, self.now)?;
        let mut rows = Vec::new();
        for node in others {
            if node.number <= SPONSORED {
                rows = sponsor(first, node, self.now)?;
            } else {
                // Later ones begin with what the last one was told, and ask for space when they need it.
                node.sync(&rows.iter().filter(|row| row.table != ipam::Table::Meta).cloned().collect::<Vec<_>>());
                node.sync(&found(node.ledger_config()));
            }
            node.members =
                members.iter().take(node.number + 1).map(|member| (member.identity(), member.clone())).collect();
        }
        first.running = None;
        Ok(())
    }

    pub(crate) fn start(&mut self, number: usize) -> Result<()> {
        let node = self.nodes.get_mut(number).context("no such host")?;
        node.start(self.seed, self.now)?;
        self.unnoticed.remove(&number);
        self.settle(number)
    }

    /// SIGKILL: no farewell; its host's kernel resets the streams.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        let node = self.nodes.get_mut(number).context("no such host")?;
        let identity = node.identity;
        if node.running.take().is_none() {
            return Ok(());
        }
        node.since = self.now;
        self.told.deaths += 1;
        let ends: Vec<StreamId> = self.net.ends.get(&number).into_iter().flat_map(BTreeMap::keys).copied().collect();
        for stream in ends {
            self.close(number, stream);
        }
        let connected =
            |node: &&Node| node.running.as_ref().is_some_and(|running| running.connected.contains(&identity));
        let watchers = self.nodes.iter().filter(connected).map(|node| node.number).collect();
        self.unnoticed.insert(number, (self.now, watchers));
        for (_, watchers) in self.unnoticed.values_mut() {
            watchers.remove(&number);
        }
        Ok(())
    }

    /// A container is started; the answer comes later.
    pub(crate) fn claim(&mut self, number: usize, workload: Option<String>) -> Result<()> {
        self.next_request += 1;
        let (request, container_id) = (RequestId(self.next_request), format!("c{}", self.next_request));
        let attachment = Attachment {
            network: NetworkId::DEFAULT,
            container_id,
            ifname: String::from("eth0"),
            owner: String::new(),
        };
        let claim = Claim {
            attachment,
            workload,
            address: None,
            hold: None,
            mac: None,
            place: Place::default(),
            handover: wire::message::Handover::WhenStopped,
        };
        let now = self.now;
        if let Some(running) = self.nodes.get_mut(number).and_then(|node| node.running.as_mut()) {
            self.told.claims += 1;
            running.ipam.claim(request, claim, now);
        }
        self.settle(number)
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) -> Result<()> {
        let end = self.now + time;
        while let Some((host, until)) = self.net.poll_turn(end) {
            while let Some((at, parcel)) = self.net.pop(host, until) {
                self.now = at;
                self.deliver(parcel)?;
            }
        }
        self.now = end;
        self.check_deaths()
    }

    /// Lets time pass until something holds, looked at every `LOOK`. How long it took.
    pub(crate) fn run_while(&mut self, most: Duration, mut goes_on: impl FnMut(&mut Self) -> bool) -> Result<Duration> {
        let begin = self.now;
        while goes_on(self) {
            ensure!(self.now < begin + most, "not within {most:?}");
            self.run(LOOK)?;
        }
        Ok(self.now - begin)
    }

    fn deliver(&mut self, parcel: Parcel) -> Result<()> {
        let now = self.now;
        let number = parcel.to();
        let Some(running) = self.nodes.get_mut(number).and_then(|node| node.running.as_mut()) else { return Ok(()) };
        let mesh = &mut running.mesh;
        match parcel {
            Parcel::Datagram { from, bytes, .. } => mesh.handle_datagram(crate::node::address(from), &bytes, now),
            Parcel::Opened { stream, origin, .. } => mesh.handle_stream_opened(stream, origin, now),
            Parcel::Bytes { stream, bytes, .. } => mesh.handle_stream_bytes(stream, &bytes, now),
            Parcel::Closed { stream, .. } => mesh.handle_stream_closed(stream, now),
            Parcel::NotDialled { target, .. } => mesh.handle_dial_failed(target, now),
            Parcel::Wake { .. } if running.wake != Some(now) => return Ok(()),
            Parcel::Wake { .. } => {
                running.wake = None;
                if mesh.poll_timeout(now).is_some_and(|at| at <= now) {
                    mesh.handle_timeout(now);
                }
                if running.ipam.poll_timeout().is_some_and(|(at, _)| at <= now) {
                    running.ipam.handle_timeout(now);
                }
            }
        }
        self.settle(number)
    }

    /// Drains both cores until nothing is left to be said, as the router's control loop does.
    pub(crate) fn settle(&mut self, number: usize) -> Result<()> {
        while self.store(number) | self.react_ledger(number)? | self.react_mesh(number)? {}
        let now = self.now;
        let Some(running) = self.nodes.get_mut(number).and_then(|node| node.running.as_mut()) else { return Ok(()) };
        while let Some(transmit) = running.mesh.poll_transmit() {
            match transmit.carrier {
                Carrier::Datagram(address) => {
                    if let Some(to) = number_at(address) {
                        self.net.send(number, to, transmit.bytes, now);
                    }
                }
                Carrier::Stream(stream) => self.net.write(number, stream, transmit.bytes, now),
            }
        }
        let ledger = running.ipam.poll_timeout().map(|(at, _)| at);
        let next = running.mesh.poll_timeout(now).into_iter().chain(ledger).min().map(|at| at.max(now));
        if let Some(at) = next.filter(|at| running.wake.is_none_or(|wake| *at < wake)) {
            running.wake = Some(at);
            self.net.post(at, Parcel::Wake { node: number });
        }
        Ok(())
    }

    fn store(&mut self, number: usize) -> bool {
        let now = self.now;
        let dies = self.dies_at_sync && self.net.dice.below(400) == 0;
        let Some(node) = self.nodes.get_mut(number) else { return false };
        let Some(batch) = node.running.as_mut().and_then(|running| running.ipam.poll_store()) else { return false };
        // Dead before the sync, or after it and before anybody heard: both must be harmless.
        if !(dies && self.net.dice.chance(50)) {
            node.sync(&batch);
        }
        if dies {
            return self.kill(number).is_err();
        }
        if let Some(running) = &mut node.running {
            running.ipam.handle_stored(now);
        }
        true
    }

    fn react_ledger(&mut self, number: usize) -> Result<bool> {
        let (mut any, now) = (false, self.now);
        while let Some(running) = self.running(number)
            && let Some((to, bytes)) = running.ipam.poll_transmit()
        {
            any = true;
            let (peers, delivery) = match to {
                To::Peer(peer) => (vec![peer], Delivery::Reliable),
                To::AllPeers => (running.connected.iter().copied().collect(), PUSH),
            };
            for peer in &peers {
                // What was lost is found by the next exchange of digests.
                let _ = running.mesh.send(*peer, Topic::LEDGER, &bytes, delivery, now);
            }
            if to == To::AllPeers {
                let waiting = peers.iter().filter_map(|peer| self.numbers.get(peer).copied());
                let waiting = waiting.filter(|peer| self.net.reaches(number, *peer) && self.is_alive(*peer)).collect();
                self.spread.note(&bytes, now);
                self.pushes.insert(bytes, (now, waiting));
            }
        }
        while let Some(running) = self.running(number)
            && let Some(event) = running.ipam.poll_event()
        {
            any = true;
            match event {
                ipam::Event::Claimed { result: Ok(lease), .. } => {
                    self.note_given(number, lease.slot, lease.attachment.container_id.clone())?;
                }
                ipam::Event::Refused { .. } => running.mesh.distrust_only(running.ipam.refused().collect()),
                ipam::Event::MembersNamed { by, identities } => running.mesh.expect(by, identities),
                ipam::Event::Revoked { identities } => {
                    identities.into_iter().for_each(|identity| running.mesh.revoke(identity, now));
                    running.mesh.distrust_only(running.ipam.refused().collect());
                }
                ipam::Event::Claimed { result: Err(_), .. }
                | ipam::Event::Released { .. }
                | ipam::Event::Invited { .. }
                | ipam::Event::JoinGranted { .. }
                | ipam::Event::RevokeDone { .. }
                | ipam::Event::RevocationAsked { .. }
                | ipam::Event::RevokedHere
                | ipam::Event::TableChanged
                | ipam::Event::Fenced { .. }
                | ipam::Event::Unfenced { .. }
                | ipam::Event::Alarm(_) => {}
            }
        }
        Ok(any)
    }

    /// I1, I7: nobody else has the slot.
    fn note_given(&mut self, number: usize, slot: Slot, container: String) -> Result<()> {
        self.told.given += 1;
        let other = self.slots.insert(slot, (number, container.clone()));
        ensure!(
            other.is_none() || other == Some((number, container.clone())),
            "{slot:?} given to {container} on {number}, and {other:?} has it"
        );
        Ok(())
    }

    fn react_mesh(&mut self, number: usize) -> Result<bool> {
        let mut any = false;
        while let Some(event) = self.running(number).and_then(|running| running.mesh.poll_event()) {
            any = true;
            self.react(number, event)?;
        }
        Ok(any)
    }

    fn react(&mut self, number: usize, event: Event) -> Result<()> {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number) else { return Ok(()) };
        let Some(running) = node.running.as_mut() else { return Ok(()) };
        match event {
            Event::PeerUp { peer, .. } => {
                running.connected.insert(peer);
                running.ipam.handle_peer_up(peer, now);
            }
            Event::PeerDown { peer, reason } => {
                running.connected.remove(&peer);
                running.ipam.handle_peer_down(peer, now);
                self.note_down(number, peer, reason);
            }
            Event::MemberAdmitted { member, .. } => {
                running.ipam.admit(member.identity(), Some(member.name().clone()), now);
                let line = (member.identity(), member.addresses.version);
                let shared = self.lines.entry(line).or_insert_with(|| Arc::new(*member));
                node.members.insert(line.0, Arc::clone(shared));
            }
            Event::Message { from, topic: Topic::LEDGER, payload } => {
                if let Some((at, waiting)) = self.pushes.get_mut(&payload)
                    && waiting.remove(&number)
                {
                    self.told.pushed.push(now - *at);
                }
                running.ipam.handle_message(from, &payload, now);
            }
            Event::OpenStream { target, address } => self.dial(number, target, address),
            Event::CloseStream { stream } => self.close(number, stream),
            Event::Alarm(alarm) => bail!("an alarm on {number}: {alarm:?}"),
            Event::RevokedCalled { .. }
            | Event::Message { .. }
            | Event::PlanChanged
            | Event::RouteChanged { .. }
            | Event::JoinRequested(_)
            | Event::JoinRefused { .. }
            | Event::Stranger { .. } => {}
        }
        Ok(())
    }

    fn dial(&mut self, from: usize, target: mesh::Target, address: std::net::SocketAddr) {
        let now = self.now;
        let to = number_at(address).filter(|to| self.is_alive(*to));
        let Some(to) = to.filter(|to| self.net.reaches(from, *to) && self.net.reaches(*to, from)) else {
            let at = now + self.net.travel() * 2;
            return self.net.post(at, Parcel::NotDialled { to: from, target });
        };
        let (here, there) = (StreamId(self.next_stream), StreamId(self.next_stream + 1));
        self.next_stream += 2;
        let (half, round) = (now + self.net.travel(), now + self.net.travel() * 2);
        self.net.open(from, here, End { node: to, stream: there, last: round });
        self.net.open(to, there, End { node: from, stream: here, last: round });
        let origin = Origin::Accepted(std::net::SocketAddr::new(crate::node::address(from).ip(), 40_000));
        self.net.post(half, Parcel::Opened { to, stream: there, origin });
        self.net.post(round.max(half), Parcel::Opened { to: from, stream: here, origin: Origin::Dialed(target) });
    }

    fn close(&mut self, from: usize, stream: StreamId) {
        let Some(end) = self.net.shut(from, stream) else { return };
        self.net.shut(end.node, end.stream);
        let at = (self.now + self.net.travel()).max(end.last);
        self.net.post(at, Parcel::Closed { to: end.node, stream: end.stream });
    }

    fn note_down(&mut self, number: usize, peer: Identity, reason: DownReason) {
        let Some(other) = self.numbers.get(&peer).copied() else { return };
        if let Some((since, watchers)) = self.unnoticed.get_mut(&other)
            && watchers.remove(&number)
        {
            self.told.noticed.push(self.now - *since);
        }
        // One that has just come back may be given up for what it was.
        let alive = self.nodes.get(other).is_some_and(|node| node.running.is_some() && self.now - node.since > NOTICED);
        if reason == DownReason::Silent && alive && self.net.reaches(number, other) && self.net.reaches(other, number) {
            let after = self.now - self.begin;
            self.told.false_verdicts.push(format!("{number} gave {other} up after {after:?}"));
        }
    }

    /// A death that nobody has told of by now is one too many.
    fn check_deaths(&mut self) -> Result<()> {
        for (dead, (since, watchers)) in &self.unnoticed {
            let late = self.now - *since > NOTICED && !watchers.is_empty();
            ensure!(!late, "the death of {dead} went unnoticed for {NOTICED:?} by {watchers:?}");
        }
        Ok(())
    }

    /// Of what was pushed 20 s ago, everybody knows.
    pub(crate) fn check_spread(&mut self) -> Result<()> {
        self.spread.check(&self.nodes, self.now)?;
        self.told.found = self.spread.found;
        Ok(())
    }

    fn running(&mut self, number: usize) -> Option<&mut Running> {
        self.nodes.get_mut(number)?.running.as_mut()
    }

    pub(crate) fn is_alive(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| node.running.is_some())
    }

    /// Whether everybody alive knows all members and has a session with everybody alive.
    pub(crate) fn is_whole(&self) -> bool {
        let alive: Vec<&Node> = self.nodes.iter().filter(|node| node.running.is_some()).collect();
        alive.iter().all(|node| {
            let connected = node.running.as_ref().map_or(0, |running| running.connected.len());
            connected + 1 >= alive.len() && node.members.len() == self.nodes.len()
        })
    }

    /// I1: everybody alive knows the same owners.
    pub(crate) fn is_equal(&self) -> bool {
        let table = |running: &Running| {
            let mut rows: Vec<_> =
                running.ipam.table().iter().map(|owned| (owned.range, owned.owner, owned.epoch)).collect();
            rows.sort_unstable();
            rows
        };
        let mut tables = self.nodes.iter().filter_map(|node| node.running.as_ref()).map(table);
        let first = tables.next();
        tables.all(|table| Some(&table) == first.as_ref())
    }
}

/// Admits a host as `raddle join` does, with a first block. What it writes down.
pub(crate) fn sponsor(first: &mut Node, node: &mut Node, now: Instant) -> Result<Vec<ipam::Write>> {
    let identity = node.identity;
    let running = first.running.as_mut().context("the sponsor is off")?;
    running.ipam.grant_join(identity, None, now);
    let batch = running.ipam.poll_store().context("a gift that is not written down")?;
    first.sync(&batch);
    let running = first.running.as_mut().context("the sponsor is off")?;
    running.ipam.handle_stored(now);
    while let Some(event) = running.ipam.poll_event() {
        if let ipam::Event::JoinGranted { snapshot, .. } = event {
            let rows = adopt_snapshot(node.ledger_config(), &snapshot, now)?;
            node.sync(&rows);
            return Ok(rows);
        }
    }
    bail!("no snapshot for a joiner")
}

/// Everybody hears at once what changes where an address is.
const PUSH: Delivery = Delivery::Swift;
/// Enough to give gifts of each other's; each one costs every later one a signature to check.
const SPONSORED: usize = 40;
/// How long a death may go unnoticed.
pub(crate) const NOTICED: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(250);
