//! What a router remembers between two starts, as values.
//!
//! Owns the rows of the store and their encodings. Knows nothing of files.

use std::collections::BTreeSet;

use mesh::{MEMBER_VERSION, Member};
use wire::{CERTIFICATE_VERSION, Certificate, DecodeError, GENESIS_VERSION, Genesis, Identity};

use crate::storage::{Change, Storage, StorageError, Table};
use crate::token::IssuedToken;

/// The content of a store.
pub(crate) struct Memory {
    pub(crate) genesis: Genesis,
    pub(crate) certificate: Certificate,
    /// How often the router has started.
    pub(crate) boots: u32,
    /// Machine and file the store was made for.
    pub(crate) stamp: String,
    pub(crate) members: Vec<Member>,
    pub(crate) tokens: Vec<IssuedToken>,
    pub(crate) targets: Vec<String>,
    pub(crate) ledger: Vec<ipam::Write>,
}

impl Memory {
    /// Reads everything.
    pub(crate) fn recall(storage: &Storage) -> Result<Self, RecallError> {
        let (mut genesis, mut certificate, mut boots, mut stamp) = (None, None, 0, String::new());
        let (mut members, mut tokens, mut targets, mut ledger) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for Change { table, key, value } in storage.load()? {
            let value = value.unwrap_or_default();
            let damaged = |source| RecallError::Damaged { row: String::from_utf8_lossy(&key).into_owned(), source };
            match table {
                Table::Meta => match key.as_slice() {
                    b"genesis" => genesis = Some(wire::decode(GENESIS_VERSION, &value).map_err(damaged)?),
                    b"certificate" => certificate = Some(wire::decode(CERTIFICATE_VERSION, &value).map_err(damaged)?),
                    b"boots" => boots = wire::decode(META_VERSION, &value).map_err(damaged)?,
                    b"stamp" => stamp = String::from_utf8_lossy(&value).into_owned(),
                    b"targets" => targets = decode_targets(&value).map_err(damaged)?,
                    _ => {}
                },
                Table::Members => members.push(wire::decode(MEMBER_VERSION, &value).map_err(damaged)?),
                Table::Tokens => tokens.push(IssuedToken::decode(&value).map_err(damaged)?),
                Table::Ledger(number) => ledger.extend(ledger_row(number, key, value)),
            }
        }
        let genesis = genesis.ok_or(RecallError::Incomplete)?;
        let certificate = certificate.ok_or(RecallError::Incomplete)?;
        Ok(Self { genesis, certificate, boots, stamp, members, tokens, targets, ledger })
    }
}

/// How the cluster began.
pub(crate) fn genesis_change(genesis: &Genesis) -> Change {
    meta("genesis", wire::encode(GENESIS_VERSION, genesis))
}

/// Which member this is.
pub(crate) fn certificate_change(certificate: &Certificate) -> Change {
    meta("certificate", wire::encode(CERTIFICATE_VERSION, certificate))
}

/// How often it has started.
pub(crate) fn boots_change(boots: u32) -> Change {
    meta("boots", wire::encode(META_VERSION, &boots))
}

/// For which machine and file.
pub(crate) fn stamp_change(stamp: &str) -> Change {
    meta("stamp", stamp.as_bytes().to_vec())
}

/// Which addresses the operator gave.
pub(crate) fn targets_change(targets: &[String]) -> Change {
    meta("targets", wire::encode(META_VERSION, &targets))
}

/// Reads what [`targets_change`] stores.
pub(crate) fn decode_targets(row: &[u8]) -> Result<Vec<String>, DecodeError> {
    wire::decode(META_VERSION, row)
}

/// Somebody in the cluster.
pub(crate) fn member_change(member: &Member) -> Change {
    let key = member.certificate.title.identity.0.to_vec();
    Change { table: Table::Members, key, value: Some(wire::encode(MEMBER_VERSION, member)) }
}

/// Somebody who came not to be in the cluster.
pub(crate) fn no_member_change(identity: Identity) -> Change {
    Change { table: Table::Members, key: identity.0.to_vec(), value: None }
}

/// A row of the ledger's.
pub(crate) fn ledger_change(write: ipam::Write) -> Change {
    Change { table: Table::Ledger(write.table as u8), key: write.key, value: write.value }
}

/// What brings a store to what was decided: all of that, and of members and tokens nothing else. A write that was said to have
/// failed may be on the disk all the same.
pub(crate) fn corrections(rows: &[Change], decided: Vec<Change>) -> Vec<Change> {
    let kept: BTreeSet<(Table, &[u8])> = decided.iter().map(|row| (row.table, row.key.as_slice())).collect();
    let is_left_over = |row: &&Change| match row.table {
        Table::Members | Table::Tokens => !kept.contains(&(row.table, row.key.as_slice())),
        Table::Meta | Table::Ledger(_) => false,
    };
    let left_over = rows.iter().filter(is_left_over);
    let gone: Vec<_> = left_over.map(|row| Change { value: None, ..row.clone() }).collect();
    decided.into_iter().chain(gone).collect()
}

/// The ledger's rows of a store.
pub(crate) fn ledger_rows(all: Vec<Change>) -> Vec<ipam::Write> {
    let row = |Change { table, key, value }| match table {
        Table::Ledger(number) => ledger_row(number, key, value.unwrap_or_default()),
        Table::Meta | Table::Members | Table::Tokens => None,
    };
    all.into_iter().filter_map(row).collect()
}

/// Rows of tables that this version does not know are a newer version's, and stay where they are.
fn ledger_row(number: u8, key: Vec<u8>, value: Vec<u8>) -> Option<ipam::Write> {
    let table = ipam::Table::ALL.into_iter().find(|table| *table as u8 == number)?;
    Some(ipam::Write { table, key, value: Some(value) })
}

fn meta(key: &str, value: Vec<u8>) -> Change {
    Change { table: Table::Meta, key: key.as_bytes().to_vec(), value: Some(value) }
}

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecallError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the store's row {row:?} is damaged: {source}; this identity is lost: join again with an empty --data-dir")]
    Damaged { row: String, source: DecodeError },
    #[error(
        "the store does not say which cluster it is of; this identity is lost: join again with an empty --data-dir"
    )]
    Incomplete,
}

/// The format of single facts.
const META_VERSION: u8 = 1;

#[cfg(test)]
mod tests;
