//! Remembering moves, for people.
//!
//! Decides which lines of the directory tell of one. Nothing depends on what is remembered.

use std::time::{Duration, Instant};

use wire::message::{Came, Entry, EntryBody};

use super::{Health, Ipam};
use crate::directory::key_of;
use crate::history::Moved;
use crate::store::Write;

impl Ipam {
    /// Takes a line into the directory, this router's own or another's. Returns whether it was news.
    pub(super) fn merge_line(&mut self, entry: &Entry, now: Instant) -> bool {
        let came = entry.body.came.filter(|_| self.directory.tells_of_move(&entry.body));
        let is_news = self.directory.merge(entry);
        if is_news {
            self.directory.note_heard(entry, now);
        }
        if let Some(came) = came.filter(|_| is_news && self.course.health != Health::ReadOnly) {
            self.remember(&entry.body, came, now);
        }
        is_news
    }

    /// When this router heard a line of the directory, unless that was before its start.
    #[must_use]
    pub fn heard_at(&self, line: &EntryBody) -> Option<Instant> {
        self.directory.heard_at(line)
    }

    fn remember(&mut self, line: &EntryBody, came: Came, now: Instant) {
        let moved = Moved {
            at: self.wall(now),
            key: key_of(line),
            slot: line.slot,
            epoch: line.epoch,
            from: came.from,
            to: line.author,
            why: came.why,
        };
        let row = moved.clone();
        let (number, oldest) = self.history.add(moved);
        self.outbox.write(Write::moved(number, &row));
        if let Some(oldest) = oldest {
            self.outbox.write(Write::moved_gone(oldest));
        }
    }

    fn wall(&self, now: Instant) -> Duration {
        let said = self.course.wall;
        said.map_or(Duration::ZERO, |(then, wall)| wall + now.saturating_duration_since(then))
    }
}
