//! Who may start a workload that nobody has yet.
//!
//! Owns the words between a claimant and the registrar of a name. Decides nothing about them.

use serde::{Deserialize, Serialize};

use super::is_text;
use crate::id::{Identity, NetworkId};

/// One interface of one workload, as its name is known everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name {
    /// The network.
    pub network: NetworkId,
    /// The workload key.
    pub workload: String,
    /// The interface.
    pub ifname: String,
}

/// What a registrar answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NameVerdict {
    /// The claimant starts it, and nobody else for the time being.
    Granted,
    /// Somebody else asked first and starts it now.
    Claimed {
        /// Who.
        by: Identity,
    },
    /// Somebody has it; the line that says so was sent before.
    Known {
        /// Who.
        by: Identity,
    },
}

/// What became of an invitation to take a workload's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Invited {
    /// The address is at the invited router, and held there for its workload.
    Here,
    /// The workload runs; its address follows when it stops.
    Waits {
        /// Where it runs.
        holder: Identity,
        /// In which container.
        container_id: String,
    },
    /// Nobody has such a workload.
    Unknown,
    /// It cannot be had.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

impl Invited {
    pub(super) fn is_within_limits(&self) -> bool {
        match self {
            Self::Waits { container_id: text, .. } | Self::Refused { reason: text } => is_text(text),
            Self::Here | Self::Unknown => true,
        }
    }
}

impl Name {
    pub(super) fn is_within_limits(&self) -> bool {
        is_text(&self.workload) && is_text(&self.ifname)
    }
}
