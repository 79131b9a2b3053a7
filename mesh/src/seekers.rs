//! Who looks for a way to one peer by us: those to tell when there is one, and those to tell when what they were told changes,
//! for they use it.
//!
//! Owns both lists. Knows nothing of the ways.

use wire::Identity;

/// The neighbours that asked.
#[derive(Debug, Default)]
pub(crate) struct Seekers {
    /// When there was no way.
    waiting: Vec<Identity>,
    /// Who was told of one; the last was told last.
    told: Vec<Told>,
}

#[derive(Debug)]
struct Told {
    neighbour: Identity,
    /// How large a datagram gets to the peer by us, in our words; 0, if we have said none.
    datagram_bytes: u16,
    /// Most that ask find another way, or a direct one.
    uses: bool,
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
        let uses = self.told.extract_if(.., |told| told.neighbour == neighbour).any(|told| told.uses);
        self.remember(Told { neighbour, datagram_bytes, uses });
    }

    /// This neighbour sends to the peer by us, whether it was told that it can or not. Returns whether that is news.
    pub(crate) fn handle_use(&mut self, neighbour: Identity) -> bool {
        if let Some(told) = self.told.iter_mut().find(|told| told.neighbour == neighbour) {
            return !std::mem::replace(&mut told.uses, true);
        }
        self.remember(Told { neighbour, datagram_bytes: 0, uses: true });
        true
    }

    fn remember(&mut self, told: Told) {
        if self.told.len() >= SEEKERS_MOST {
            self.told.remove(0);
        }
        self.told.push(told);
    }

    /// Those who use what they were told, and were told of another size than this one.
    pub(crate) fn told_otherwise(&self, datagram_bytes: u16) -> Vec<Identity> {
        let otherwise = self.told.iter().filter(|told| told.uses && told.datagram_bytes != datagram_bytes);
        otherwise.map(|told| told.neighbour).collect()
    }

    /// The peer is lost: whoever looks for a way to it asks again.
    pub(crate) fn forget_told(&mut self) {
        self.told.clear();
    }

    /// Everybody has found the peer gone: when it is back, all hear it.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
    }
}

/// Who else is told; the others ask again.
const SEEKERS_MOST: usize = 64;

#[cfg(test)]
mod tests;
