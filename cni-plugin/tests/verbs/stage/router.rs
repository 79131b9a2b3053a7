//! Speaks the control words over a real socket and hands out addresses in order. A stand-in: it keeps nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use control_api::server::{emit_reply, parse_request};
use control_api::{
    Answer, ApiError, Attachment, AttachmentId, Collected, CollectedAttachment, Done, ErrorKind, GcRequest, Lease,
    LeaseRequest, Prefixed, Reply, Request,
};

pub(crate) struct Router {
    state: Arc<Mutex<State>>,
    socket: PathBuf,
    listening: Mutex<Option<JoinHandle<()>>>,
}

/// Longer than any answer takes on a busy machine; only a failing test waits it out.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    /// Connections that are open.
    open: usize,
    leases: Vec<(LeaseRequest, Lease)>,
    given: u8,
    asked: usize,
    last: Option<LeaseRequest>,
    refusal: Option<ApiError>,
    silent: bool,
    ipv6: bool,
    stopped: bool,
}

impl Router {
    pub(crate) fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let listening = thread::spawn(move || {
            for stream in listener.incoming() {
                if !shared.lock().unwrap().accept() {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    serve(stream.unwrap(), &shared);
                    shared.lock().unwrap().open -= 1;
                });
            }
        });
        Self { state, socket: socket.to_owned(), listening: Mutex::new(Some(listening)) }
    }

    /// Nobody listens there any more.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        let _ = UnixStream::connect(&self.socket);
        self.listening.lock().unwrap().take().unwrap().join().unwrap();
    }

    /// Waits until it has answered everything that it was asked, also by those who are gone.
    pub(crate) fn finish(&self) {
        // Connections are taken in the order in which they were made: when this one is, all before it were.
        let mut last = UnixStream::connect(&self.socket).unwrap();
        last.shutdown(Shutdown::Write).unwrap();
        last.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(last.read(&mut [0]).unwrap(), 0);
        let begun = Instant::now();
        while self.state().open > 0 {
            assert!(begun.elapsed() < PATIENCE, "somebody is still connected");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// It takes requests and answers none.
    pub(crate) fn fall_silent(&self) {
        self.state().silent = true;
    }

    pub(crate) fn set_ipv6(&self) {
        self.state().ipv6 = true;
    }

    pub(crate) fn refuse_with(&self, refusal: ApiError) {
        self.state().refusal = Some(refusal);
    }

    pub(crate) fn forget(&self, container_id: &str) {
        self.state().leases.retain(|(request, _)| request.container_id != container_id);
    }

    /// The containers that have a lease.
    pub(crate) fn leases(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.state().leases.iter().map(|(request, _)| request.container_id.clone()).collect();
        ids.sort();
        ids
    }

    /// How often it was asked for a lease.
    pub(crate) fn asked(&self) -> usize {
        self.state().asked
    }

    pub(crate) fn last_lease(&self) -> LeaseRequest {
        self.state().last.clone().unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn serve(stream: UnixStream, shared: &Mutex<State>) {
    let mut writer = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let request = parse_request(line.as_bytes()).unwrap();
        let reply = {
            let mut state = shared.lock().unwrap();
            if state.silent {
                continue;
            }
            state.answer(request)
        };
        if writer.write_all(&emit_reply(&reply)).is_err() {
            return;
        }
    }
}

impl State {
    /// Counts one more connection, unless nobody is to listen any more.
    fn accept(&mut self) -> bool {
        self.open += usize::from(!self.stopped);
        !self.stopped
    }

    fn answer(&mut self, request: Request) -> Reply<Answer> {
        let answer = match request {
            Request::Lease(request) => self.lease(request),
            Request::Release(attachment) => self.release(&attachment),
            Request::Check(attachment) => self.check(&attachment),
            Request::Gc(request) => Ok(self.gc(&request)),
            Request::Ready { .. } => Ok(Answer::Done(Done {})),
            Request::Status
            | Request::Peers
            | Request::Ps
            | Request::Leases
            | Request::Moves
            | Request::TokenCreate { .. }
            | Request::TokenList
            | Request::TokenWithdraw { .. }
            | Request::Renew
            | Request::Connect { .. }
            | Request::Forget { .. }
            | Request::Revoke { .. }
            | Request::Reserve { .. }
            | Request::Move { .. }
            | Request::CancelMove { .. }
            | Request::ReleaseWorkload { .. } => panic!("that is none of the plugin's business"),
        };
        match answer {
            Ok(answer) => Reply::Ok(answer),
            Err(refusal) => Reply::Error(refusal),
        }
    }

    fn lease(&mut self, request: LeaseRequest) -> Result<Answer, ApiError> {
        self.asked += 1;
        self.last = Some(request.clone());
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.given += 1;
        let slot = self.given + 1;
        let lease = Lease {
            network: request.network.clone(),
            workload: request.workload.clone().unwrap_or_else(|| request.container_id.clone()),
            address: Prefixed { address: Ipv4Addr::new(10, 32, 0, slot), prefix: 12 },
            address6: self
                .ipv6
                .then(|| Prefixed { address: Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 0, slot.into()), prefix: 64 }),
            gateway: Ipv4Addr::new(10, 32, 0, 1),
            gateway6: self.ipv6.then(|| Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 0, 1)),
            mac: format!("02:00:00:00:00:{slot:02x}"),
            mtu_bytes: 1389,
            bridge: "raddle0".to_owned(),
            host_interface: request.host_interface.clone(),
            epoch: 1,
        };
        self.leases.push((request, lease.clone()));
        Ok(Answer::Lease(Box::new(lease)))
    }

    fn release(&mut self, gone: &Attachment) -> Result<Answer, ApiError> {
        let before = self.leases.len();
        self.leases.retain(|(request, _)| !is_of(request, gone));
        if self.leases.len() == before {
            return Err(ApiError::new(ErrorKind::Unknown, "no such attachment"));
        }
        Ok(Answer::Done(Done {}))
    }

    fn check(&self, attachment: &Attachment) -> Result<Answer, ApiError> {
        let found = self.leases.iter().find(|(request, _)| is_of(request, attachment));
        let missing = || ApiError::new(ErrorKind::Unknown, "no such attachment");
        found.map(|(_, lease)| Answer::Lease(Box::new(lease.clone()))).ok_or_else(missing)
    }

    fn gc(&mut self, wanted: &GcRequest) -> Answer {
        let Some(valid) = &wanted.valid else {
            return Answer::Collected(Collected::default());
        };
        let is_valid = |request: &LeaseRequest| {
            valid.contains(&AttachmentId { container_id: request.container_id.clone(), ifname: request.ifname.clone() })
        };
        let (kept, gone) = std::mem::take(&mut self.leases).into_iter().partition(|(request, _)| is_valid(request));
        self.leases = kept;
        let gone: Vec<(LeaseRequest, Lease)> = gone;
        let collected = gone.into_iter().map(|(request, _)| CollectedAttachment {
            container_id: request.container_id,
            ifname: request.ifname,
            host_interface: request.host_interface,
        });
        Answer::Collected(Collected { collected: collected.collect() })
    }
}

fn is_of(request: &LeaseRequest, attachment: &Attachment) -> bool {
    request.network == attachment.network
        && request.container_id == attachment.container_id
        && request.ifname == attachment.ifname
}
