//! A ledger of ten thousand records: how long a router takes to start on it, and that a joiner gets all of it.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ed25519_dalek::{Signer as _, SigningKey};
use ipam::{Config, Ipam, Table, Write};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tests::{Cluster, Host, Stage, Underlay, promised, until};
use wire::{
    Epoch, GENESIS_VERSION, Hash, Identity, RECORD_VERSION, Range, Record, RecordBody, Signature, Slot,
    message::Message,
};

use crate::client::Asker;

/// (part, key) → value, as the store documents it; the ledger's parts begin at 0x100.
const STATE: TableDefinition<'_, (u16, &[u8]), &[u8]> = TableDefinition::new("state");
const LEDGER: u16 = 0x100;

fn store_of(host: &Host) -> PathBuf {
    host.root().join("var/lib/raddle/ledger.redb")
}

/// The version of the ledger's values in the store.
const LEDGER_VERSION: u8 = 2;

type Row = ((u16, Vec<u8>), Vec<u8>);

fn rows(host: &Host) -> Result<Vec<Row>> {
    let database = Database::open(store_of(host))?;
    let transaction = database.begin_read()?;
    let table = transaction.open_table(STATE)?;
    let mut all = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (part, key) = key.value();
        all.push(((part, key.to_vec()), value.value().to_vec()));
    }
    Ok(all)
}

fn records(host: &Host) -> Result<BTreeSet<Vec<u8>>> {
    let part = LEDGER | Table::Records as u16;
    Ok(rows(host)?.into_iter().filter(|((number, _), _)| *number == part).map(|((_, key), _)| key).collect())
}

/// Fills a store with what the founder's router would hold if many hosts had joined it and moved many slots about.
fn fill(host: &Host) -> Result<usize> {
    let stored = rows(host)?;
    let genesis = stored.iter().find(|((part, key), _)| *part == 0 && key == b"genesis").context("no genesis")?;
    let secret = std::fs::read(host.root().join("var/lib/raddle/signing.key"))?;
    let key = SigningKey::from_bytes(&<[u8; 32]>::try_from(secret.as_slice())?);
    let config = Config::new(key, wire::decode(GENESIS_VERSION, &genesis.1)?);
    let table = |part: u16| Table::ALL.into_iter().find(|table| part == LEDGER | *table as u16);
    let ledger: Vec<_> = stored
        .iter()
        .filter_map(|((part, key), value)| {
            Some(Write { table: table(*part)?, key: key.clone(), value: Some(value.clone()) })
        })
        .collect();
    let now = Instant::now();
    let mut ipam = Ipam::new(config.clone(), &ledger, now)?;
    let mut written: Vec<Write> = Vec::new();
    let keys: Vec<_> = (0..HOSTS).map(|number| SigningKey::from_bytes(&[number; 32])).collect();
    let identity = |key: &SigningKey| Identity(key.verifying_key().to_bytes());
    for (number, key) in keys.iter().enumerate() {
        ipam.grant_join(identity(key), Some(format!("old-{number}").parse()?), now);
        written.extend(ipam.poll_store().into_iter().flatten());
        ipam.handle_stored(now);
        while ipam.poll_event().is_some() {}
    }
    let gifts: Vec<Record> = written
        .iter()
        .filter(|write| write.table == Table::Records)
        .filter_map(|write| wire::decode(LEDGER_VERSION, write.value.as_deref()?).ok())
        .collect();
    for (number, gift) in gifts.iter().enumerate() {
        let author = keys.iter().find(|key| identity(key) == gift.body.owner).context("a gift to nobody")?;
        let taker = identity(keys.get((number + 1) % keys.len()).context("nobody")?);
        let hash = written.iter().find_map(|write| hash_in_key(write, &gift.body.range)).context("no hash")?;
        let carved = (gift.body.range.start.0 + 1..gift.body.range.end().0).map(|slot| {
            let range = Range { start: Slot(slot), length: 1, ..gift.body.range };
            let epoch = Epoch(gift.body.epoch.0 + 1);
            let body = RecordBody { range, owner: taker, epoch, author: gift.body.owner, previous: hash, home: None };
            let signature = author.sign(&wire::encode(RECORD_VERSION, &body));
            Record { body, signature: Signature(signature.to_bytes()) }
        });
        ipam.handle_message(gift.body.owner, &Message::Records(carved.collect()).emit(), now);
    }
    written.extend(ipam.poll_store().into_iter().flatten());
    let database = Database::open(store_of(host))?;
    let transaction = database.begin_write()?;
    {
        let mut state = transaction.open_table(STATE)?;
        for Write { table, key, value } in &written {
            let value = value.as_deref().context("nothing is taken out")?;
            state.insert((LEDGER | *table as u16, key.as_slice()), value)?;
        }
    }
    transaction.commit()?;
    Ok(written.iter().filter(|write| write.table == Table::Records).count())
}

/// A record's row ends with its hash.
fn hash_in_key(write: &Write, range: &Range) -> Option<Hash> {
    let record: Record =
        (write.table == Table::Records).then(|| wire::decode(LEDGER_VERSION, write.value.as_deref()?).ok())??;
    (record.body.range == *range).then(|| write.key.last_chunk::<32>().map(|hash| Hash(*hash)))?
}

#[test]
fn ten_thousand_records_are_read_at_once_and_given_to_a_joiner() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let (first, second) = (stage.host(1)?, stage.host(2)?);
    first.raddle(&["init"])?.ok()?;
    let many = fill(first)?;
    ensure!(many >= 10_000, "{many} records only");
    let mut starts = Vec::new();
    for _ in 0..4 {
        let asker = Asker::of(first);
        let begun = Instant::now();
        let mut router = first.spawn("router", &["raddle", "router"])?;
        until("the router answers", Duration::from_secs(30), || {
            // As often as it takes: a process that answers in a tenth of a second is not to be asked every 20 ms.
            for _ in 0..20_000 {
                if asker.status().is_ok() {
                    return Ok(Some(()));
                }
                std::hint::spin_loop();
            }
            if router.is_running()? { Ok(None) } else { bail!("{}", router.output()?) }
        })?;
        starts.push(begun.elapsed());
        router.kill()?;
    }
    let mut cluster = Cluster::of_one(first)?;
    let begun = Instant::now();
    cluster.join(second)?;
    cluster.until_whole()?;
    let joined = begun.elapsed();
    for router in cluster.routers_mut() {
        router.kill()?;
    }
    let (one, two) = (records(first)?, records(second)?);
    ensure!(one == two && two.len() > many, "{} records here, {} there", one.len(), two.len());
    writeln!(std::io::stdout(), "{many} records: started in {starts:?}, joined and connected in {joined:?}")?;
    promised("a start", starts.into_iter().max().unwrap_or_default(), START)
}

/// What a router may take to start on so many records, where nothing else runs.
const START: Duration = Duration::from_millis(300);
/// Each has a block and gave 63 slots of it away.
const HOSTS: u8 = 160;
