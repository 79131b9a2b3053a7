//! What is on its way to the disk, and what waits for it. The loop goes on meanwhile: a disk may take a second for what a peer
//! or a runtime expects within milliseconds.
//!
//! Owns the thread that writes, what is gathered for it, what follows, and the way back after a write that failed. At any time
//! one transaction is under way; whatever is decided meanwhile shares the next one. Knows nothing of what the bytes mean.
//!
//! ```text
//!   add ──▶ gathering ──begin──▶ writing (one fsync) ──Stored──▶ finish: what waited for it
//! ```

use std::io;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use control_api::{Answer, ApiError, Done, ErrorKind, Reply};
use tokio::sync::mpsc;

use super::Control;
use super::alarms::Part;
use super::then::Then;
use crate::memory;
use crate::storage::{Ailment, Change, Storage, StorageError};

/// The way to the disk.
pub(crate) struct Storing {
    /// None while it is being dropped.
    jobs: Option<std_mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    gathering: Vec<Change>,
    then: Vec<Then>,
    /// What the thread is at.
    under_way: Option<UnderWay>,
    /// Why nothing can be stored, while that is so.
    trouble: Option<ApiError>,
}

/// A job that the thread has.
struct UnderWay {
    /// What waits for it.
    then: Vec<Then>,
    begun: Instant,
    /// Whether it takes so long that the operator was told.
    is_slow: bool,
}

enum Job {
    Commit(Vec<Change>),
    Reopen,
}

/// What became of it.
pub(crate) enum Stored {
    /// A transaction is on the disk, whole or not at all.
    Committed(Result<(), StorageError>),
    /// The file was opened anew, and holds this.
    Reopened(Result<Vec<Change>, StorageError>),
}

impl Storing {
    /// Starts the thread. What becomes of each job is sent to `done`.
    pub(crate) fn start(storage: Storage, done: mpsc::Sender<Stored>) -> io::Result<Self> {
        let (jobs, queue) = std_mpsc::channel();
        let thread =
            std::thread::Builder::new().name("store".to_owned()).spawn(move || work(storage, &queue, &done))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            gathering: Vec::new(),
            then: Vec::new(),
            under_way: None,
            trouble: None,
        })
    }

    /// Adds to the next transaction.
    pub(super) fn add(&mut self, changes: impl IntoIterator<Item = Change>, then: Then) {
        self.gathering.extend(changes);
        self.then.push(then);
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// When somebody has to be told that the disk does not answer.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.as_ref().filter(|job| !job.is_slow).map(|job| job.begun + SLOW)
    }

    /// Whether this router's certificate is on its way, another one or the one before.
    pub(super) fn awaits_certificate(&self) -> bool {
        let under_way = self.under_way.iter().flat_map(|job| &job.then);
        self.then.iter().chain(under_way).any(|then| matches!(then, Then::Renew(_) | Then::Corrections))
    }

    /// Why nothing can be stored, while that is so.
    pub(super) fn trouble(&self) -> Option<ApiError> {
        self.trouble.clone()
    }

    /// Begins the next transaction, if something has gathered and none is under way.
    fn begin(&mut self, now: Instant) {
        if self.is_idle() && !self.then.is_empty() {
            let changes = std::mem::take(&mut self.gathering);
            let then = std::mem::take(&mut self.then);
            self.post(Job::Commit(changes), then, now);
        }
    }

    /// Has the file opened anew, if nothing is under way. Returns whether it will be.
    fn reopen(&mut self, now: Instant) -> bool {
        let is_idle = self.is_idle();
        if is_idle {
            self.post(Job::Reopen, Vec::new(), now);
        }
        is_idle
    }

    fn post(&mut self, job: Job, then: Vec<Then>, now: Instant) {
        self.under_way = Some(UnderWay { then, begun: now, is_slow: false });
        // The thread ends when this sender does, and not before.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

impl Drop for Storing {
    /// Waits for the thread, which closes the file.
    fn drop(&mut self) {
        self.jobs = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn work(mut storage: Storage, queue: &std_mpsc::Receiver<Job>, done: &mpsc::Sender<Stored>) {
    while let Ok(job) = queue.recv() {
        let stored = match job {
            Job::Commit(changes) => Stored::Committed(storage.commit(&changes)),
            Job::Reopen => Stored::Reopened(storage.reopen()),
        };
        if done.blocking_send(stored).is_err() {
            return;
        }
    }
}

impl Control {
    /// Hands the disk what was decided, if it is free.
    pub(super) fn store(&mut self, now: Instant) {
        if !self.parts.storing.is_idle() {
            return;
        }
        if let Some(batch) = self.ipam.poll_store() {
            self.parts.storing.add(batch.into_iter().map(memory::ledger_change), Then::Ledger);
        }
        self.parts.storing.begin(now);
    }

    /// The disk is done with something.
    pub(super) fn handle_stored(&mut self, stored: Stored, now: Instant) {
        let Some(done) = self.parts.storing.under_way.take() else { return };
        match stored {
            Stored::Committed(result) => {
                for then in done.then {
                    self.go_on(then, result.as_ref(), now);
                }
                match result {
                    Ok(()) if done.is_slow && self.parts.storing.trouble.is_none() => {
                        self.alarms.judge(Part::Store, None);
                    }
                    Ok(()) => {}
                    Err(error) => self.lose_store(&error, now),
                }
            }
            Stored::Reopened(rows) => self.resume(rows, now),
        }
    }

    fn go_on(&mut self, then: Then, result: Result<&(), &StorageError>, now: Instant) {
        match (then, result) {
            (Then::Ledger, Ok(())) => self.ipam.handle_stored(now),
            // They hear of it as of any write that fails.
            (Then::Ledger | Then::Corrections, Err(_)) | (Then::Member | Then::Corrections, Ok(())) => {}
            (Then::Member, Err(error)) => {
                tracing::error!(%error, "a member cannot be stored; it is learned again after a restart");
            }
            (Then::Answer { reply, answer } | Then::Issue { reply, answer, .. }, Ok(())) => {
                drop(reply.send(Reply::Ok(*answer)));
            }
            (Then::Answer { reply, .. }, Err(error)) => drop(reply.send(Reply::Error(unstored(error)))),
            (Then::Issue { id, reply, .. }, Err(error)) => self.unissue_token(id, reply, error, now),
            (Then::Withdraw { token, reply }, Ok(())) => {
                tracing::info!(token = %token.id, "withdrawn: nobody joins by it any more");
                drop(reply.send(Reply::Ok(Answer::Done(Done {}))));
            }
            (Then::Withdraw { token, reply }, Err(error)) => self.keep_token(*token, reply, error, now),
            (Then::Renew(renewal), Ok(())) => self.renewal_stored(*renewal, now),
            (Then::Renew(renewal), Err(error)) => renewal.refuse(error),
            (Then::Admit(admission), Ok(())) => self.admit_stored(*admission, now),
            (Then::Admit(admission), Err(error)) => self.refuse_unstored(*admission, error, now),
        }
    }

    /// The disk has neither taken nor refused what it was given.
    pub(super) fn tell_slow_disk(&mut self) {
        let storing = &mut self.parts.storing;
        storing.under_way.iter_mut().for_each(|job| job.is_slow = true);
        if storing.trouble.is_none() {
            let told = format!(
                "the disk of the data directory has not answered for {} s: whatever has to be written (new containers, moves, \
                 tokens) waits for it; see what the kernel says of it ('dmesg')",
                SLOW.as_secs()
            );
            self.alarms.judge(Part::Store, Some(told));
        }
    }

    /// A write has failed: from here on nothing is decided that would have to be written, until the file was opened anew.
    fn lose_store(&mut self, error: &StorageError, now: Instant) {
        if self.parts.storing.trouble.is_none() {
            self.ipam.handle_store_failed(now);
            self.ail(error.to_string(), error.ailment(), now);
        }
    }

    /// Says what is wrong with the store, and tries it again after a while.
    fn ail(&mut self, what: String, ailment: Ailment, now: Instant) {
        let message = format!("no address is given: {what}");
        let remedy = remedy(ailment);
        self.alarms.judge(Part::Store, Some(format!("{message}; {remedy}")));
        self.parts.storing.trouble = Some(ApiError::new(ErrorKind::ReadOnly, message).with_remedy(remedy));
        self.deadlines.recover = Some(now + RECOVER);
    }

    /// Looks whether the disk takes writes again.
    pub(super) fn recover_store(&mut self, now: Instant) {
        let begun = self.parts.storing.reopen(now);
        self.deadlines.recover = (!begun).then_some(now + RECOVER);
    }

    /// Goes on from what the store holds, if it could be opened anew.
    fn resume(&mut self, rows: Result<Vec<Change>, StorageError>, now: Instant) {
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return self.ail(error.to_string(), error.ailment(), now),
        };
        let corrections = memory::corrections(&rows, self.decided());
        if let Err(error) = self.ipam.resume(&memory::ledger_rows(rows), now) {
            return self.ail(format!("the store is not what it was: {error}"), Ailment::Damaged, now);
        }
        self.parts.storing.trouble = None;
        self.alarms.judge(Part::Store, None);
        self.parts.storing.add(corrections, Then::Corrections);
        self.replay_spool(now);
    }

    /// What is to be in the store beside the ledger, whatever of it was said to have failed.
    fn decided(&self) -> Vec<Change> {
        let members = self.mesh.members();
        let certificate = memory::certificate_change(&self.certificate);
        members.iter().map(memory::member_change).chain(self.parts.tokens.changes()).chain([certificate]).collect()
    }

    /// What somebody is told whose request would have to be written.
    pub(super) fn read_only(&self) -> ApiError {
        let trouble = self.parts.storing.trouble();
        trouble
            .unwrap_or_else(|| ApiError::new(ErrorKind::ReadOnly, "no address is given: the store cannot be written"))
    }
}

/// What was asked for is not on the disk.
pub(super) fn unstored(error: &StorageError) -> ApiError {
    ApiError::new(ErrorKind::ReadOnly, error.to_string()).with_remedy(remedy(error.ailment()))
}

/// What the operator does, and what the router does by itself.
fn remedy(ailment: Ailment) -> String {
    match ailment {
        Ailment::Full | Ailment::ReadOnly | Ailment::Missing | Ailment::Failing | Ailment::InUse => {
            format!(
                "{}; once the store can be written again, the router goes on by itself within seconds",
                ailment.remedy()
            )
        }
        Ailment::Damaged => ailment.remedy().to_owned(),
    }
}

/// Longer than a plugin waits for an address.
const SLOW: Duration = Duration::from_secs(5);

/// What works again is used within ten seconds.
const RECOVER: Duration = Duration::from_secs(3);
