//! How answers look: tables without lines, units for people, one JSON object for programs.
//!
//! Owns the looks. Knows nothing of what the cells mean.

use std::io;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

/// Which way a column leans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lean {
    Left,
    Right,
}

/// A heading for each column, then the rows. No row is wider than its content, and none is wrapped.
pub(super) fn table<const N: usize>(columns: [(&str, Lean); N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns.map(|(heading, _)| heading));
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)));
    }
    for (column, (_, lean)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match lean {
            Lean::Left => CellAlignment::Left,
            Lean::Right => CellAlignment::Right,
        });
    }
    format!("{}\n", table.trim_fmt())
}

/// One JSON object on one line.
pub(super) fn json<T: Serialize>(answer: &T) -> io::Result<String> {
    Ok(format!("{}\n", serde_json::to_string(answer)?))
}

/// Text from elsewhere with everything made visible that could steer a terminal or turn its reading around.
pub(super) fn plain(text: &str) -> String {
    let turns = |letter| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut seen = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || turns(letter) {
            seen.extend(letter.escape_unicode());
        } else {
            seen.push(letter);
        }
    }
    seen
}

/// `1.5 MiB`: three figures at most.
pub(super) fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths, rounded down: an integer all the way, so that no size is ever shown larger than it is.
    let mut tenths = count / 1024 * 10 + (count % 1024) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if tenths < 1000 { format!("{}.{} {name}", tenths / 10, tenths % 10) } else { format!("{} {name}", tenths / 10) }
}

/// A cell for what is not there.
pub(super) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// The first twelve characters of a container id: what engines print.
pub(super) fn short_id(id: &str) -> String {
    id.chars().take(12).collect()
}

#[cfg(test)]
mod tests;
