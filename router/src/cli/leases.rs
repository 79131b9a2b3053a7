//! Draws the answer of `leases`.

use control_api::{LeaseState, LeaseView, Leases};

use super::duration::readable;
use super::print::{Lean, or_dash, short_id, table};

pub(super) fn text(answer: &Leases) -> String {
    let columns = [
        ("ADDRESS", Lean::Left),
        ("ADDRESS6", Lean::Left),
        ("MAC", Lean::Left),
        ("WORKLOAD", Lean::Left),
        ("OWNER", Lean::Left),
        ("EPOCH", Lean::Right),
        ("STATE", Lean::Left),
        ("SINCE", Lean::Right),
        ("CONTAINER", Lean::Left),
        ("NETWORK", Lean::Left),
    ];
    table(columns, answer.leases.iter().map(row))
}

fn row(lease: &LeaseView) -> [String; 10] {
    let named_after_container =
        lease.workload.len() == 64 && lease.workload.bytes().all(|byte| byte.is_ascii_hexdigit());
    let workload = if named_after_container { short_id(&lease.workload) } else { lease.workload.clone() };
    [
        lease.address.to_string(),
        or_dash(lease.address6),
        lease.mac.clone(),
        workload,
        lease.owner.clone(),
        lease.epoch.to_string(),
        state(lease),
        readable(lease.since_s),
        or_dash(lease.container_id.as_deref().map(short_id)),
        lease.network.clone(),
    ]
}

fn state(lease: &LeaseView) -> String {
    let goes = lease.moving_to.as_deref().map_or_else(String::new, |to| format!(", to move to {to}"));
    standing(lease) + &goes
}

fn standing(lease: &LeaseView) -> String {
    match (lease.state, lease.held_for_s) {
        (LeaseState::Active, _) => "active".to_owned(),
        (LeaseState::Held, Some(left)) => format!("held, {} left", readable(left)),
        (LeaseState::Held, None) => "held".to_owned(),
        (LeaseState::Fenced, _) => "fenced".to_owned(),
        (LeaseState::Frozen, _) => "frozen".to_owned(),
        (LeaseState::Unknown, _) => "unknown".to_owned(),
    }
}
