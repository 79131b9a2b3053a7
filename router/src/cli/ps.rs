//! Draws the answer of `ps`.

use control_api::{Container, Containers};

use super::print::{Lean, or_dash, short_id, table};

pub(super) fn text(answer: &Containers) -> String {
    let columns = [
        ("CONTAINER", Lean::Left),
        ("INTERFACE", Lean::Left),
        ("ADDRESS", Lean::Left),
        ("ADDRESS6", Lean::Left),
        ("MAC", Lean::Left),
        ("WORKLOAD", Lean::Left),
        ("NETWORK", Lean::Left),
        ("DROPS", Lean::Right),
    ];
    table(columns, answer.containers.iter().map(row))
}

fn row(container: &Container) -> [String; 8] {
    let drops = container.drops.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    // A workload without a name of its own is called after its container: once is enough.
    let workload = Some(&container.workload).filter(|workload| **workload != container.container_id);
    [
        short_id(&container.container_id),
        container.ifname.clone(),
        container.address.to_string(),
        or_dash(container.address6),
        container.mac.clone(),
        or_dash(workload),
        container.network.clone(),
        drops.to_string(),
    ]
}
