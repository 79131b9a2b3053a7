//! Who looks for a way to one peer by us: those to tell when there is one, and those to tell when what they were told changes.
//!
//! Owns both lists. Knows nothing of the ways.

use wire::Identity;

/// The neighbours that asked.
#[derive(Debug, Default)]
pub(crate) struct Seekers {
    /// When there was no way.
    waiting: Vec<Identity>,
    /// Who was told of one, and of how large a datagram; the last one was told last.
    told: Vec<(Identity, u16)>,
}

impl Seekers {
    /// Notes that this neighbour wants to know when there is a way.
    pub(crate) fn note(&mut self, seeker: Identity) {
        if self.waiting.len() < SEEKERS_MOST && !self.waiting.contains(&seeker) {
            self.waiting.push(seeker);
        }
    }

    /// Those who want to know it.
    pub(crate) fn take(&mut self) -> Vec<Identity> {
        std::mem::take(&mut self.waiting)
    }

    /// Notes that this neighbour was told that a datagram of so many bytes gets to the peer by us.
    pub(crate) fn note_told(&mut self, neighbour: Identity, datagram_bytes: u16) {
        self.told.retain(|(told, _)| *told != neighbour);
        if self.told.len() >= SEEKERS_MOST {
            self.told.remove(0);
        }
        self.told.push((neighbour, datagram_bytes));
    }

    /// Those who were told of another size than this one.
    pub(crate) fn told_otherwise(&self, datagram_bytes: u16) -> Vec<Identity> {
        let otherwise = self.told.iter().filter(|(_, told)| *told != datagram_bytes);
        otherwise.map(|(neighbour, _)| *neighbour).collect()
    }

    /// The way is gone: whoever looks for another one asks again.
    pub(crate) fn forget_told(&mut self) {
        self.told.clear();
    }
}

/// Who else is told; the others ask again.
const SEEKERS_MOST: usize = 64;

#[cfg(test)]
mod tests;
