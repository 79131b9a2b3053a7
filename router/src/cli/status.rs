//! Draws the answer of `status`.

use std::fmt::Write as _;

use control_api::{Health, Status, StoreState};

use super::duration::readable;
use super::print::plain;

pub(super) fn text(status: &Status) -> String {
    let Status { slots, peers, .. } = status;
    let listen: Vec<_> = status.listen.iter().map(ToString::to_string).collect();
    let pools: Vec<_> =
        [Some(&status.pool), status.pool6.as_ref()].into_iter().flatten().map(|pool| plain(pool)).collect();
    let lines = [
        (
            "router",
            format!("{}, raddle {}, up {}", plain(&status.name), plain(&status.version), readable(status.uptime_s)),
        ),
        ("identity", plain(&status.identity)),
        ("cluster", plain(&status.cluster)),
        ("listens on", if listen.is_empty() { "nothing".to_owned() } else { listen.join(", ") }),
        ("pool", pools.join(", ")),
        (
            "addresses",
            format!("{} in use, {} held, {} free of {}", slots.allocated, slots.held, slots.free, slots.owned),
        ),
        ("peers", format!("{} of {} connected", peers.connected, peers.known)),
        ("store", store(status.store).to_owned()),
        ("health", health(status.health).to_owned()),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<11} {value}");
    }
    if !status.drops.is_empty() {
        let drops: Vec<_> = status.drops.iter().map(|(reason, count)| format!("{} {count}", plain(reason))).collect();
        let _ = writeln!(text, "{:<11} {}", "dropped", drops.join(", "));
    }
    for warning in &status.warnings {
        let _ = writeln!(text, "warning:    {}", plain(warning));
    }
    text
}

fn store(state: StoreState) -> &'static str {
    match state {
        StoreState::Ok => "ok",
        StoreState::ReadOnly => "read-only: no new addresses",
        StoreState::Unknown => "unknown",
    }
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Degraded => "degraded",
        Health::Failing => "failing",
        Health::Unknown => "unknown",
    }
}
