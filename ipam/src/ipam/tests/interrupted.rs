//! A move that is interrupted at every one of its steps, by the death of each router that has a part in it or hears of it:
//! one owner afterwards, a repeated ADD succeeds with the old address, nothing is left over.

use std::time::Duration;

use wire::message::Handover;
use wire::{Identity, Slot};

use crate::stage::{Stage, apply, attachment, claim};
use crate::{Claim, LeaseState, RequestId, To};

const GIVER: usize = 0;
const TAKER: usize = 1;
const HOSTS: usize = 3;

/// Who dies, and what of it.
#[derive(Debug, Clone, Copy)]
struct Death {
    victim: usize,
    /// Whether the batch that was being written had reached the disk.
    written: bool,
    /// Whether it is away until the others have nothing left to say.
    away: bool,
}

struct Move {
    stage: Stage,
    slot: Slot,
    request: RequestId,
    handover: Handover,
}

impl Move {
    /// A workload that has stopped on one host, or is to be taken from it, and whose start on another has begun.
    fn begin(handover: Handover) -> Self {
        let mut stage = Stage::new(u8::try_from(HOSTS).unwrap(), 24, 16);
        let slot = stage.claim(GIVER, claim("c1", Some("web"))).unwrap().slot;
        if handover == Handover::WhenStopped {
            stage.release(GIVER, "c1");
        }
        let request = stage.begin(TAKER, Claim { handover, ..claim("c2", Some("web")) });
        Self { stage, slot, request, handover }
    }

    /// The next thing that happens: one batch is written, or one message goes where it is meant. Returns whether anything did.
    fn step(&mut self) -> bool {
        for host in 0..HOSTS {
            if let Some(batch) = self.stage.hosts[host].ipam.poll_store() {
                apply(&mut self.stage.hosts[host].disk, &batch);
                self.stage.hosts[host].ipam.handle_stored(self.stage.now);
                return true;
            }
            if let Some((to, bytes)) = self.stage.hosts[host].ipam.poll_transmit() {
                self.hand_over(host, to, &bytes);
                return true;
            }
        }
        false
    }

    fn hand_over(&mut self, from: usize, to: To, bytes: &[u8]) {
        let sender = self.stage.id(from);
        for other in (0..HOSTS).filter(|other| self.stage.links.contains(&(from, *other))).collect::<Vec<_>>() {
            let meant = to == To::AllPeers || to == To::Peer(self.stage.id(other));
            if meant {
                self.stage.hosts[other].ipam.handle_message(sender, bytes, self.stage.now);
            }
        }
    }

    fn die(&mut self, death: Death) {
        let Death { victim, written, away } = death;
        if let Some(batch) = self.stage.hosts[victim].ipam.poll_store().filter(|_| written) {
            apply(&mut self.stage.hosts[victim].disk, &batch);
        }
        if away {
            self.stage.isolate(victim);
            // Nothing of what it had to say is said.
            while self.stage.hosts[victim].ipam.poll_transmit().is_some() {}
            let others: Vec<_> = (0..HOSTS).filter(|host| *host != victim).collect();
            while others.iter().any(|_| self.step_of_others(victim)) {}
            self.stage.restart(victim);
            others.iter().for_each(|other| self.stage.link(victim, *other));
        } else {
            self.stage.restart(victim);
        }
        self.stage.settle();
    }

    /// As [`Self::step`], while one of them is dead: it writes and says nothing.
    fn step_of_others(&mut self, dead: usize) -> bool {
        let before = self.stage.hosts[dead].ipam.clone();
        let stepped = self.step();
        self.stage.hosts[dead].ipam = before;
        stepped
    }

    fn ends_well(mut self) {
        let taken = self.stage.answer(TAKER, self.request);
        self.stage.pass(Duration::from_secs(15));
        let lease = match self.stage.answer(TAKER, self.request) {
            Some(Ok(lease)) => lease,
            // A runtime repeats what failed, and what nobody answered.
            _ => {
                let again = Claim { handover: self.handover, ..claim("c2", Some("web")) };
                self.stage.claim(TAKER, again).unwrap_or_else(|error| panic!("{taken:?}, then {error}"))
            }
        };
        assert_eq!((lease.slot, lease.state), (self.slot, LeaseState::Active));
        self.stage.pass(Duration::from_secs(15));
        let owners: Vec<Identity> = (0..HOSTS).map(|host| self.stage.owner(host, self.slot.0)).collect();
        assert_eq!(owners, vec![self.stage.id(TAKER); HOSTS]);
        let states = |stage: &Stage| -> Vec<_> {
            let leases = |host: usize| stage.hosts[host].ipam.leases().map(move |lease| (host, lease.state));
            (0..HOSTS).flat_map(leases).collect()
        };
        let mut expected = vec![(TAKER, LeaseState::Active)];
        if self.handover == Handover::TakeOver {
            expected.insert(0, (GIVER, LeaseState::Fenced));
        }
        assert_eq!(states(&self.stage), expected);
        // And it is given up like any other.
        self.stage.release(GIVER, "c1");
        self.stage.release(TAKER, "c2");
        assert!(matches!(states(&self.stage)[..], [(TAKER, LeaseState::Held { .. })]));
        assert!(self.stage.hosts[GIVER].ipam.lease_of(&attachment("c1")).is_none());
    }
}

fn steps_of(handover: Handover) -> usize {
    let mut whole = Move::begin(handover);
    let mut steps = 0;
    while whole.step() {
        steps += 1;
    }
    whole.stage.settle();
    whole.ends_well();
    steps
}

#[test]
fn whoever_dies_at_whatever_step_the_address_has_one_owner_and_comes_along() {
    let mut histories = 0;
    for handover in [Handover::WhenStopped, Handover::TakeOver] {
        let steps = steps_of(handover);
        assert!(steps > 10, "{steps}");
        for (at, victim) in (0..=steps).flat_map(|at| (0..HOSTS).map(move |victim| (at, victim))) {
            for (written, away) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut interrupted = Move::begin(handover);
                (0..at).for_each(|_| {
                    interrupted.step();
                });
                interrupted.die(Death { victim, written, away });
                interrupted.ends_well();
                histories += 1;
            }
        }
    }
    println!("{histories} histories");
}
