//! Addresses that are kept for a workload's next start, here or on another host.
//!
//! Owns the translation of `reserve`, `move` and `release`. Decides nothing about addresses.

use std::net::Ipv4Addr;
use std::time::Instant;

use control_api::{Answer, ApiError, Done, ErrorKind, MoveState, Moved, Reply};
use ipam::{Hold, LeaseKey, RequestId, Reservation};
use tokio::sync::oneshot;
use wire::NetworkId;
use wire::message::{Handover, Invited};

use super::Control;
use super::waiting::{Mover, Waiting};

impl Control {
    pub(super) fn reserve(
        &mut self,
        name: (&str, String, String),
        address: Option<Ipv4Addr>,
        reply: oneshot::Sender<Reply<Answer>>,
        now: Instant,
    ) {
        match self.key_of(name) {
            Ok(key) => {
                let request = self.wait(Waiting::Lease(reply));
                // An operator who reserves an address means it, until it is released.
                self.ipam.reserve(request, Reservation { key, address, hold: Hold::Forever }, now);
            }
            Err(error) => drop(reply.send(Reply::Error(error))),
        }
    }

    pub(super) fn move_workload(
        &mut self,
        name: (&str, String, String),
        to: String,
        handover: Handover,
        reply: oneshot::Sender<Reply<Answer>>,
        now: Instant,
    ) {
        let found = self.identity_named(&to).and_then(|identity| Ok((identity, self.key_of(name)?)));
        match found {
            Ok((identity, key)) => {
                let request = self.wait(Waiting::Moved(Mover { workload: key.workload.clone(), to, reply }));
                self.ipam.invite(request, identity, key, handover, now);
            }
            Err(error) => drop(reply.send(Reply::Error(error))),
        }
    }

    pub(super) fn cancel_move(&mut self, name: (&str, String, String)) -> Result<Answer, ApiError> {
        let key = self.key_of(name)?;
        let workload = key.workload.clone();
        if self.ipam.cancel_move(key) {
            return Ok(Answer::Done(Done {}));
        }
        Err(ApiError::new(ErrorKind::Unknown, format!("no move of {workload:?} waits"))
            .with_remedy("'raddle leases' shows where each workload is; start it where you want it"))
    }

    /// Gives up an address that waits for its workload.
    pub(super) fn release_workload(
        &mut self,
        network: &str,
        workload: String,
        reply: oneshot::Sender<Reply<Answer>>,
        now: Instant,
    ) {
        match self.network_named(network).map(|network| network.id) {
            Ok(network) => {
                let name = workload.clone();
                let request = self.wait(Waiting::ReleasedWorkload(network, workload, reply));
                self.ipam.release_workload(request, network, &name, now);
            }
            Err(error) => drop(reply.send(Reply::Error(error))),
        }
    }

    /// Why no address of a workload was given up: it runs, or another host holds it.
    pub(super) fn not_held_here(&self, network: NetworkId, workload: &str) -> ApiError {
        let here = self.ipam.leases().find(|lease| lease.attachment.network == network && lease.name() == workload);
        if let Some(lease) = here {
            let container = &lease.attachment.container_id;
            return ApiError::new(ErrorKind::Held, format!("{workload:?} runs here in container {container}"))
                .with_remedy("stop it first; its address is then held, unless it is configured not to be");
        }
        match self.ipam.directory().find(|line| line.network == network && line.workload == workload) {
            Some(line) => {
                let holder = self.ipam.label(line.author);
                ApiError::new(ErrorKind::Held, format!("the address of {workload:?} is with {holder}, not here"))
                    .with_remedy(format!("run it on {holder}"))
            }
            None => nobody_has(workload),
        }
    }

    fn key_of(&self, (network, workload, ifname): (&str, String, String)) -> Result<LeaseKey, ApiError> {
        Ok(LeaseKey { network: self.network_named(network)?.id, workload, ifname })
    }

    pub(super) fn answer_invited(&mut self, request: RequestId, outcome: Invited) {
        let Some(Waiting::Moved(Mover { workload, to, reply })) = self.waiting.remove(&request) else { return };
        let moved = |state, holder, container_id| {
            Ok(Answer::Moved(Moved { workload: workload.clone(), to: to.clone(), state, holder, container_id }))
        };
        let answer = match outcome {
            Invited::Here => moved(MoveState::Ready, None, None),
            Invited::Waits { holder, container_id } => {
                moved(MoveState::Waiting, Some(self.ipam.label(holder).to_string()), Some(container_id))
            }
            Invited::Unknown => Err(nobody_has(&workload)),
            Invited::Refused { reason } => {
                Err(ApiError::new(ErrorKind::TryAgain, format!("{workload:?} cannot go to {to}: {reason}")))
            }
        };
        let _ = reply.send(answer.map_or_else(Reply::Error, Reply::Ok));
    }
}

fn nobody_has(workload: &str) -> ApiError {
    ApiError::new(ErrorKind::Unknown, format!("nobody has an address for a workload {workload:?}"))
        .with_remedy("'raddle leases' lists them; 'raddle reserve' makes one")
}
