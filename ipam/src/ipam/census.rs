//! Lines of the directory that are over: when this router has its own forgotten, and what it does about others' word.
//!
//! Decides when it is worth a message to everybody. Which lines are over is the directory's to say.

use std::collections::BTreeSet;
use std::time::Instant;

use wire::message::{CENSUS_VERSION, Census, CensusBody, Entry, EntryBody, EntryState, LINES_MAX, Message};

use super::{Health, Ipam};
use crate::directory::{Count, is_census_authentic};
use crate::outbox::To;
use crate::seal::sign;
use crate::store::Write;

impl Ipam {
    /// Counts this router's lines, if enough of them are over. One that others' lines have overtaken must have been so a round
    /// ago: by then mostly everybody has those.
    pub(super) fn count_lines(&mut self) {
        let me = self.config.identity;
        if self.course.health != Health::Working {
            return;
        }
        let Count { living, ended, overtaken } = self.directory.count(me, &self.ledger);
        let fresh: BTreeSet<u64> = overtaken.difference(&self.overtaken).copied().collect();
        let over = ended + overtaken.len() - fresh.len();
        self.overtaken = overtaken;
        // A quarter as many as live: what is told then is a fraction of what was told of those that are over.
        let is_due = over >= living.len() / 4 || self.directory.lines(me) + over >= LINES_MAX;
        if over < self.config.census_after || !is_due {
            return;
        }
        let living: BTreeSet<u64> = living.into_iter().chain(fresh).collect();
        let upto = self.directory.next_number(me).saturating_sub(1);
        let body = CensusBody { author: me, upto, living: living.into_iter().collect() };
        let census = Census { signature: sign(&self.config.signing_key, CENSUS_VERSION, &body), body };
        self.take_census(&census);
        self.send(To::AllPeers, &Message::Census(census));
    }

    /// Somebody says which of an author's lines are not over.
    pub(super) fn learn_census(&mut self, census: &Census, now: Instant) {
        let author = census.body.author;
        if !self.members.is_admitted(&author) || census.body.upto < self.directory.counted_upto(author) {
            return;
        }
        if !is_census_authentic(self.config.verify, census) {
            return;
        }
        if author != self.config.identity {
            let over = self.take_census(census);
            for line in over.into_iter().filter(|line| self.members.is_revoked(&line.body.author)).collect::<Vec<_>>() {
                self.correct_orphans(&EntryBody { state: EntryState::Ended, ..line.body }, now);
            }
        } else if census.body.upto > self.directory.counted_upto(author) {
            // Written here, and not remembered here.
            self.become_rolled_back();
        }
    }

    /// Returns the lines that are over.
    fn take_census(&mut self, census: &Census) -> Vec<Entry> {
        let Some(over) = self.directory.take_census(census.clone()) else { return Vec::new() };
        self.outbox.write(Write::census(census));
        for line in &over {
            self.outbox.write(Write::entry_gone(&line.body));
        }
        over
    }
}
