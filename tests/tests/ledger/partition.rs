//! Both halves of a parted cluster go on giving addresses, and are one again after the heal.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Cluster, Router, Stage, Underlay, promised, size, until};

use crate::client::Asker;

/// What all hosts must come to agree on: workload → address, owner, epoch.
fn known(host: &Asker) -> Result<BTreeMap<String, (Ipv4Addr, String, u64)>> {
    let leases = host.leases()?;
    Ok(leases.into_iter().map(|lease| (lease.workload, (lease.address, lease.owner, lease.epoch))).collect())
}

/// For how long each peer has been connected, by name.
fn sessions(router: &Router) -> Result<BTreeMap<String, u64>> {
    let peers = router.peers()?;
    let since = |peer: &Value| Some((peer["name"].as_str()?.to_owned(), peer["since_s"].as_u64()?));
    Ok(peers.iter().filter_map(since).collect())
}

#[test]
fn both_halves_give_addresses_and_agree_after_the_heal() -> Result<()> {
    // Half of what a router has without asking anybody: 1000 in each half of fifty.
    let (half, each) = (size(3, 25), 40);
    let hosts = u8::try_from(2 * half)?;
    let stage = Stage::build(Underlay { hosts, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let askers: Vec<_> = stage.hosts().iter().map(Asker::of).collect();
    let (left, right) = stage.hosts().split_at(half);
    stage.part(left, right)?;
    let parted = Instant::now();
    for router in cluster.routers() {
        router.until_connected(u64::try_from(half)? - 1)?;
    }
    let noticed = parted.elapsed();

    let given: Vec<BTreeMap<String, Ipv4Addr>> = std::thread::scope(|scope| {
        let started: Vec<_> =
            askers.iter().enumerate().map(|(host, asker)| scope.spawn(move || allocate(asker, host, each))).collect();
        started.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("panicked"))?).collect::<Result<_>>()
    })?;
    let addresses: BTreeSet<_> = given.iter().flat_map(BTreeMap::values).collect();
    ensure!(addresses.len() == each * 2 * half, "{} addresses for {} containers", addresses.len(), each * 2 * half);
    let apart = parted.elapsed();

    stage.mend()?;
    let healed = Instant::now();
    let wanted: BTreeMap<String, Ipv4Addr> = given.into_iter().flatten().collect();
    until("all ledgers are equal", EQUAL, || {
        let first = known(askers.first().context("no host")?)?;
        let complete = first.iter().map(|(workload, (address, ..))| (workload.clone(), *address)).collect();
        ensure!(wanted == complete, "host 1 knows {} of {}", first.len(), wanted.len());
        for asker in &askers {
            ensure!(known(asker)? == first, "{asker:?} knows otherwise");
        }
        Ok(Some(()))
    })?;
    let equal = healed.elapsed();
    cluster.until_whole()?;
    writeln!(
        std::io::stdout(),
        "{half}+{half} hosts, {each} addresses each: parted noticed after {noticed:?}, {apart:?} apart, equal {equal:?} \
         after the heal, everybody connected after {:?}",
        healed.elapsed()
    )?;
    promised("all ledgers are equal", equal, EQUAL_PROMISED)?;
    ensure_no_churn(&cluster, half, parted)
}

fn allocate(asker: &Asker, host: usize, many: usize) -> Result<BTreeMap<String, Ipv4Addr>> {
    let one = |number: usize| {
        let name = format!("{host}-{number}");
        let address =
            until(&format!("an address for {name}"), GIVEN, || Ok(Some(asker.allocate(&name, Some(&name))?)))?;
        Ok((name, address))
    };
    (0..many).map(one).collect()
}

/// Whoever was on the same side kept its session, through the cut and the heal.
fn ensure_no_churn(cluster: &Cluster, half: usize, parted: Instant) -> Result<()> {
    for (number, router) in cluster.routers().iter().enumerate() {
        let apart_s = parted.elapsed().as_secs();
        for (name, since_s) in sessions(router)? {
            let other: usize = name.trim_start_matches("host").parse()?;
            let same_side = (number < half) == (other <= half);
            let own = router.host().name();
            ensure!(
                !same_side || since_s >= apart_s,
                "{own} has been connected to {name} for {since_s} s only, and the cut is {apart_s} s old"
            );
        }
    }
    Ok(())
}

/// A lease needs no other router, or a spare block from one of the same half.
const GIVEN: Duration = Duration::from_secs(20);
/// What is promised where nothing else runs.
const EQUAL_PROMISED: Duration = Duration::from_secs(15);
/// A machine that compiles beside it takes longer.
const EQUAL: Duration = Duration::from_secs(60);
