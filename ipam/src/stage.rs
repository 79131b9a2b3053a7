//! Several ledgers on one clock, for tests: disks that remember, links that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use wire::message::Handover;
use wire::{
    Epoch, Genesis, Hash, Identity, Network, NetworkId, PeerName, Pool, RECORD_VERSION, Range, Record, RecordBody, Slot,
};

use crate::seal::sign;
use crate::{
    Attachment, Claim, ClaimError, Config, Event, Ipam, Lease, Place, Release, RequestId, Table, To, Write,
    adopt_snapshot, found,
};

/// The kind of a request for space, behind the version.
const SPACE_REQUEST: u8 = 6;

pub(crate) type Disk = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) ipam: Ipam,
    pub(crate) disk: Disk,
    pub(crate) events: Vec<Event>,
    pub(crate) batches: usize,
    pub(crate) sent_bytes: usize,
    /// Requests for space it sent.
    pub(crate) questions: usize,
}

pub(crate) struct Stage {
    pub(crate) hosts: Vec<Host>,
    pub(crate) now: Instant,
    pub(crate) links: BTreeSet<(usize, usize)>,
    next_request: u64,
    /// Which of all batches, counted from now, its router does not survive, and whether it is written first.
    pub(crate) fatal: Option<(usize, bool)>,
    /// Batches of all hosts.
    pub(crate) batches: usize,
}

#[expect(clippy::disallowed_methods, reason = "some instant has to be the first; nothing depends on which")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

pub(crate) fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number + 1; 32])
}

pub(crate) fn identity(number: u8) -> Identity {
    Identity(signing_key(number).verifying_key().to_bytes())
}

/// A record as its author signs it.
pub(crate) fn signed(author: u8, range: Range, owner: u8, epoch: u64, previous: Hash) -> Record {
    let body = RecordBody {
        range,
        owner: identity(owner),
        epoch: Epoch(epoch),
        author: identity(author),
        previous,
        home: None,
    };
    Record { signature: sign(&signing_key(author), RECORD_VERSION, &body), body }
}

pub(crate) fn genesis(prefix: u8, block_slots: u32) -> Genesis {
    let pool = Pool { base: [10, 32, 0, 0].into(), prefix };
    let network = Network { id: NetworkId::DEFAULT, name: "raddle".to_owned(), pool, pool6: None };
    Genesis { networks: vec![network], block_slots, first: identity(0), authority: [9; 32], nonce: [7; 16] }
}

pub(crate) fn apply(disk: &mut Disk, batch: &[Write]) {
    for write in batch {
        match &write.value {
            Some(value) => disk.insert((write.table, write.key.clone()), value.clone()),
            None => disk.remove(&(write.table, write.key.clone())),
        };
    }
}

pub(crate) fn rows(disk: &Disk) -> Vec<Write> {
    disk.iter()
        .map(|((table, key), value)| Write { table: *table, key: key.clone(), value: Some(value.clone()) })
        .collect()
}

pub(crate) fn attachment(container: &str) -> Attachment {
    Attachment {
        network: NetworkId::DEFAULT,
        container_id: container.to_owned(),
        ifname: "eth0".to_owned(),
        owner: "cni:mesh".to_owned(),
    }
}

pub(crate) fn claim(container: &str, workload: Option<&str>) -> Claim {
    Claim {
        attachment: attachment(container),
        workload: workload.map(str::to_owned),
        address: None,
        hold: None,
        mac: None,
        handover: Handover::WhenStopped,
        place: Place {
            netns: Some(format!("/run/netns/{container}")),
            host_interface: "rd0".to_owned(),
            masqueraded: false,
        },
    }
}

pub(crate) fn lease_key(workload: &str) -> crate::LeaseKey {
    crate::LeaseKey { network: NetworkId::DEFAULT, workload: workload.to_owned(), ifname: "eth0".to_owned() }
}

pub(crate) fn name(number: u8) -> PeerName {
    format!("host{number}").parse().unwrap()
}

impl Stage {
    /// Hosts that joined one after the other, all connected.
    pub(crate) fn new(hosts: u8, prefix: u8, block_slots: u32) -> Self {
        Self::with(hosts, prefix, block_slots, |_| {})
    }

    pub(crate) fn with(hosts: u8, prefix: u8, block_slots: u32, tune: impl Fn(&mut Config)) -> Self {
        let now = epoch();
        let mut stage =
            Self { hosts: Vec::new(), now, links: BTreeSet::new(), next_request: 0, fatal: None, batches: 0 };
        for number in 0..hosts {
            let mut config = Config::new(signing_key(number), genesis(prefix, block_slots));
            tune(&mut config);
            stage.join(number, config, &(0..usize::from(number)).collect::<Vec<_>>());
        }
        stage
    }

    /// One more host, that joins through the first one, and hears only it at first.
    pub(crate) fn add(&mut self, number: u8) {
        let Config { genesis, .. } = self.hosts[0].config.clone();
        self.join(number, Config::new(signing_key(number), genesis), &[0]);
    }

    fn join(&mut self, number: u8, config: Config, heard_by: &[usize]) {
        let mut disk = Disk::new();
        if number == 0 {
            apply(&mut disk, &found(&config));
        } else {
            self.hosts[0].ipam.grant_join(config.identity, Some(name(number)), self.now);
            self.settle();
            let snapshot = self.hosts[0].events.iter().rev().find_map(|event| {
                if let Event::JoinGranted { identity, snapshot } = event
                    && *identity == config.identity
                {
                    Some(snapshot.clone())
                } else {
                    None
                }
            });
            apply(&mut disk, &adopt_snapshot(&config, &snapshot.unwrap(), self.now).unwrap());
        }
        let ipam = Ipam::new(config.clone(), &rows(&disk), self.now).unwrap();
        self.hosts.push(Host { config, ipam, disk, events: Vec::new(), batches: 0, sent_bytes: 0, questions: 0 });
        let newest = self.hosts.len() - 1;
        self.introduce(newest, newest);
        for host in heard_by {
            self.introduce(newest, *host);
            self.introduce(*host, newest);
            self.link(*host, newest);
        }
        self.settle();
    }

    fn introduce(&mut self, whom: usize, to: usize) {
        let (identity, label) = (self.id(whom), name(u8::try_from(whom).unwrap()));
        self.hosts[to].ipam.admit(identity, Some(label), self.now);
    }

    pub(crate) fn id(&self, host: usize) -> Identity {
        self.hosts[host].config.identity
    }

    pub(crate) fn link(&mut self, a: usize, b: usize) {
        self.links.insert((a, b));
        self.links.insert((b, a));
        let (id_a, id_b) = (self.id(a), self.id(b));
        self.hosts[a].ipam.handle_peer_up(id_b, self.now);
        self.hosts[b].ipam.handle_peer_up(id_a, self.now);
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.links.remove(&(a, b));
        self.links.remove(&(b, a));
        let (id_a, id_b) = (self.id(a), self.id(b));
        self.hosts[a].ipam.handle_peer_down(id_b, self.now);
        self.hosts[b].ipam.handle_peer_down(id_a, self.now);
    }

    pub(crate) fn isolate(&mut self, host: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            self.cut(host, other);
        }
    }

    /// Everything durable and delivered, until nothing is left.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut busy = false;
            for host in 0..self.hosts.len() {
                busy |= self.step(host);
            }
            if !busy {
                return;
            }
        }
    }

    fn step(&mut self, host: usize) -> bool {
        let mut busy = false;
        if let Some(batch) = self.hosts[host].ipam.poll_store() {
            self.batches += 1;
            if let Some((_, written)) = self.fatal.take_if(|(number, _)| *number == self.batches) {
                if written {
                    apply(&mut self.hosts[host].disk, &batch);
                }
                self.restart(host);
                return true;
            }
            apply(&mut self.hosts[host].disk, &batch);
            self.hosts[host].batches += 1;
            self.hosts[host].ipam.handle_stored(self.now);
            busy = true;
        }
        busy | self.send(host)
    }

    /// Delivers what may be seen.
    pub(crate) fn send(&mut self, host: usize) -> bool {
        let mut busy = false;
        while let Some((to, bytes)) = self.hosts[host].ipam.poll_transmit() {
            busy = true;
            assert!(bytes.len() <= wire::message::MESSAGE_BYTES_MAX);
            let from = self.id(host);
            self.hosts[host].questions += usize::from(bytes.get(1) == Some(&SPACE_REQUEST));
            for other in 0..self.hosts.len() {
                let meant = to == To::AllPeers || to == To::Peer(self.id(other));
                if meant && self.links.contains(&(host, other)) {
                    self.hosts[host].sent_bytes += bytes.len();
                    self.hosts[other].ipam.handle_message(from, &bytes, self.now);
                }
            }
        }
        while let Some(event) = self.hosts[host].ipam.poll_event() {
            self.hosts[host].events.push(event);
            busy = true;
        }
        busy
    }

    /// Lets time pass, doing what is due at each moment.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.settle();
            let next = self.hosts.iter().filter_map(|host| Some(host.ipam.poll_timeout()?.0)).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            for host in &mut self.hosts {
                host.ipam.handle_timeout(self.now);
            }
        }
        self.now = until;
        for host in &mut self.hosts {
            host.ipam.handle_timeout(self.now);
        }
        self.settle();
    }

    /// Kills a router and starts it again on its disk.
    pub(crate) fn restart(&mut self, host: usize) {
        let restored = Ipam::new(self.hosts[host].config.clone(), &rows(&self.hosts[host].disk), self.now).unwrap();
        self.hosts[host].ipam = restored;
        let peers: Vec<_> = self.links.iter().filter(|(from, _)| *from == host).map(|(_, to)| *to).collect();
        for peer in peers {
            self.cut(host, peer);
            self.link(host, peer);
        }
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    pub(crate) fn begin(&mut self, host: usize, claim: Claim) -> RequestId {
        let request = self.request();
        self.hosts[host].ipam.claim(request, claim, self.now);
        request
    }

    pub(crate) fn claim(&mut self, host: usize, claim: Claim) -> Result<Lease, ClaimError> {
        let request = self.begin(host, claim);
        self.settle();
        if self.answer(host, request).is_none() {
            self.pass(Duration::from_secs(9));
        }
        self.answer(host, request).expect("a claim is answered within the patience of an ADD")
    }

    pub(crate) fn answer(&self, host: usize, asked: RequestId) -> Option<Result<Lease, ClaimError>> {
        self.hosts[host].events.iter().find_map(|event| {
            if let Event::Claimed { request, result } = event
                && *request == asked
            {
                Some(result.clone())
            } else {
                None
            }
        })
    }

    pub(crate) fn release(&mut self, host: usize, container: &str) -> bool {
        let asked = self.request();
        self.hosts[host].ipam.release(asked, &attachment(container), self.now);
        self.settle();
        let known = self.hosts[host].events.iter().find_map(|event| {
            if let Event::Released { request, outcome } = event
                && *request == asked
            {
                Some(*outcome == Release::Done)
            } else {
                None
            }
        });
        known.unwrap()
    }

    pub(crate) fn owner(&self, at: usize, slot: u32) -> Identity {
        self.hosts[at].ipam.owner(NetworkId::DEFAULT, Slot(slot)).unwrap()
    }
}
