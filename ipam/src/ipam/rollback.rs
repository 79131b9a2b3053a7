//! A store that went back in time: restored from a copy, in place, so that its stamp does not show it.
//!
//! Decides when a router has to believe that it has forgotten what it promised. Its own signature is the only proof that
//! counts: a number of its log that it has not told anybody, or that another of its lives wrote than the one it knows of, or a
//! record or line of its own that it does not hold.
//!
//! ```text
//!   A, restored                                 B
//!     ── Digest, LogHead(A, 40, life 6) ────────▶   had LogHead(A, 57, life 7): alarm
//!     ◀──────────── LogHead(A, 57, life 7) ──
//!   gives nothing any more; the way back is a new identity (invariant I3)
//!
//!   A, restored, has written 20 batches since   B
//!     ── LogHead(A, 60, life 8) ────────────────▶   had LogHead(A, 57, life 7): is that before it?
//!     ◀──────────── LogHead(A, 57, life 7) ──
//!   it knows that its life 8 wrote the 57th: another was forgotten
//! ```

use wire::Identity;
use wire::message::{Entry, LOG_VERSION, LogBody, LogHead, Message};

use super::{Health, Ipam};
use crate::event::Alarm;
use crate::outbox::To;
use crate::seal::{is_signed_by, sign};
use crate::store::Write;

impl Ipam {
    /// Says how far this router's log has come. What is being written does not count yet.
    pub(super) fn send_log_head(&mut self, to: Identity) {
        let number = self.outbox.tell_log();
        let life = self.outbox.life_of(number).unwrap_or(0);
        let body = LogBody { author: self.config.identity, number, life };
        let said = self.course.said.take().filter(|head| head.body == body);
        let head = said.unwrap_or_else(|| {
            let signature = sign(&self.config.signing_key, LOG_VERSION, &body);
            LogHead { body, signature }
        });
        self.course.said = Some(head.clone());
        self.send(To::Peer(to), &Message::LogHead(head));
    }

    pub(super) fn handle_log_head(&mut self, from: Identity, head: &LogHead) {
        let LogBody { author, number, life } = head.body;
        let mine = author == self.config.identity;
        if !mine && author != from
            || !is_signed_by(self.config.verify, author, LOG_VERSION, &head.body, &head.signature)
        {
            return;
        }
        if mine {
            // What was written since it told anybody does not make up for what it has forgotten, nor does as much as was lost.
            if number > self.outbox.told() || self.outbox.life_of(number).is_some_and(|own| own != life) {
                self.become_rolled_back();
            }
            return;
        }
        match self.heads.get(&author).cloned() {
            Some(known) if known.body.number > number => {
                let peer = self.members.label(author);
                self.alarm(Alarm::RolledBack { peer });
                self.send(To::Peer(author), &Message::LogHead(known));
            }
            Some(known) => {
                // It has started since. Only it can know whether it goes on from there.
                if known.body.life != life && known.body.number > 0 {
                    self.send(To::Peer(author), &Message::LogHead(known));
                }
                self.heads.insert(author, head.clone());
            }
            None => {
                self.heads.insert(author, head.clone());
            }
        }
    }

    /// Whether a line is this router's own and newer than what it remembers to have said. What it has declared over is not.
    pub(super) fn is_unremembered(&self, entry: &Entry) -> bool {
        let key = crate::directory::key_of(&entry.body);
        let remembered = self.directory.entry_of(&key, self.config.identity).map_or(0, |entry| entry.body.number);
        entry.body.number > remembered && !self.directory.is_over(&entry.body)
    }

    /// What this router promised since its store was copied is not known here: it gives nothing any more.
    pub(super) fn become_rolled_back(&mut self) {
        if self.course.health >= Health::RolledBack {
            return;
        }
        self.course.health = Health::RolledBack;
        self.outbox.write(Write::rolled_back());
        let name = self.members.label(self.config.identity);
        self.alarm(Alarm::RolledBackHere { name });
    }
}
