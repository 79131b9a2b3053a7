//! Draws the answer of `moves`.

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
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Years that begin in March have their leap day at the end, and 400 of them always have the same number of days.
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z", era * 400 + year)
}

/// From the first of March of the year 0.
const DAYS_TO_1970: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;

#[cfg(test)]
mod tests;
