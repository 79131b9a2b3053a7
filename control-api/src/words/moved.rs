//! What became of a move that an operator asked for.
//!
//! Owns the answer of `move`. Knows nothing of how an address moves.

use serde::{Deserialize, Serialize};

/// Where a workload's address is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The workload key.
    pub workload: String,
    /// The router it goes to.
    pub to: String,
    /// Whether it is there.
    pub state: MoveState,
    /// Where the workload runs, while it is waited for.
    pub holder: Option<String>,
    /// The container it runs in, while it is waited for.
    pub container_id: Option<String>,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveState {
    /// The address is there, for the workload's next start.
    Ready,
    /// The workload runs; its address follows as soon as it stops.
    Waiting,
    /// A state that a newer router knows.
    #[serde(other)]
    Unknown,
}
