//! Hosts that want the same at the same instant.
//!
//! Decides by dice what; that one of them alone has it is in `rules`.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Result, ensure};
use ipam::{Claim, RequestId};
use wire::{NetworkId, message::Handover};

use crate::{
    host::claim,
    world::{WORKLOADS, World},
};

impl World {
    /// Every host starts one workload, or asks for one address, at the same instant.
    pub(crate) fn race(&mut self) -> Result<()> {
        let workload = format!("work-{}", self.dice.below(WORKLOADS));
        let before = self.of(&workload);
        if self.dice.chance(80) {
            for (host, container) in &before {
                self.stop(*host, container.clone());
            }
        }
        // What was said to everybody is on its way while they start.
        if self.dice.chance(50) {
            self.give_up(&workload);
        }
        self.rules.note_given_up(&workload);
        let one_address = self.dice.chance(20).then(|| self.some_address());
        let mut racers = Vec::new();
        for host in 0..self.hosts.len() {
            let container = self.new_container();
            let own_address = self.dice.chance(30).then(|| self.some_address());
            let name = if one_address.is_some() { format!("{workload}-on-{host}") } else { workload.clone() };
            racers.push(container.clone());
            let wish = claim(&container, Some(name), Handover::WhenStopped);
            self.begin(host, Claim { address: one_address.or(own_address), ..wish });
        }
        self.pass(ANSWERED)?;
        let has_won = |racer: &&String| self.hosts.iter().any(|host| host.running.contains_key(*racer));
        let won = racers.iter().filter(has_won).count();
        ensure!(won <= 1, "{won} hosts won {workload}, {one_address:?}");
        self.told.raced += won;
        Ok(())
    }

    /// Every container of a workload, and where it runs.
    fn of(&self, workload: &str) -> Vec<(usize, String)> {
        let hosts = self.hosts.iter().enumerate();
        let running = hosts.flat_map(|(number, host)| host.running.iter().map(move |(name, one)| (number, name, one)));
        let of_it = running.filter(|(_, _, one)| one.workload == workload);
        of_it.map(|(number, name, _)| (number, name.clone())).collect()
    }

    /// Whoever holds it gives it up, as an operator says.
    fn give_up(&mut self, workload: &str) {
        for host in &mut self.hosts {
            self.counter += 1;
            if let Some(ipam) = &mut host.ipam {
                ipam.release_workload(RequestId(self.counter), NetworkId::DEFAULT, workload, self.now);
            }
        }
    }

    fn some_address(&mut self) -> Ipv4Addr {
        let last = u8::try_from(4 + self.dice.below(100)).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, 32, 0, last)
    }
}

/// Longer than a claim may take.
const ANSWERED: Duration = Duration::from_secs(5);
