//! Draws the answer of `moves`.

use std::time::{Duration, SystemTime};

use control_api::{MoveReason, MoveView, Moves};

use super::MovesArgs;
use super::print::{Lean, table};

/// Those of one workload, or all.
pub(super) fn of(args: &MovesArgs, mut answer: Moves) -> Moves {
    answer.moves.retain(|moved| args.workload.as_ref().is_none_or(|workload| *workload == moved.workload));
    answer
}

pub(super) fn text(answer: &Moves) -> String {
    let columns = [
        ("WHEN", Lean::Left),
        ("WORKLOAD", Lean::Left),
        ("ADDRESS", Lean::Left),
        ("FROM", Lean::Left),
        ("TO", Lean::Left),
        ("EPOCH", Lean::Right),
        ("WHY", Lean::Left),
        ("NETWORK", Lean::Left),
    ];
    table(columns, answer.moves.iter().map(row))
}

fn row(moved: &MoveView) -> [String; 8] {
    let why = match moved.why {
        MoveReason::Followed => "followed its workload",
        MoveReason::Asked => "asked for",
        MoveReason::TakenOver => "taken over",
        MoveReason::Revoked => "revoked",
        MoveReason::Unknown => "unknown",
    };
    [
        moment(moved.at_unix_s),
        moved.workload.clone(),
        moved.address.to_string(),
        moved.from.clone(),
        moved.to.clone(),
        moved.epoch.to_string(),
        why.to_owned(),
        moved.network.clone(),
    ]
}

/// `2026-11-21 10:42:07Z`, as the log has it.
fn moment(unix_s: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s.min(LAST_MOMENT));
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ")
}

/// The last second of the year 9999: no later one can be written with four digits.
const LAST_MOMENT: u64 = 253_402_300_799;

#[cfg(test)]
mod tests;
