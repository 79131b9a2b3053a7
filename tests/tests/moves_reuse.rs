//! Many short-lived containers on many hosts: an address that was somebody's is nobody's for two minutes, and what is said to
//! it meanwhile reaches nobody else.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use tests::{Cluster, Container, Host, Stage, Underlay, binary, rounds, size};

/// Design: a freed address rests.
const REST: Duration = Duration::from_secs(120);

/// One container's time with its address: from before it was given to before it was stopped.
struct Use {
    address: Ipv4Addr,
    given: Instant,
    stopped: Instant,
}

/// Starts and stops containers one after the other. Those who called the last one still do when the next one is there.
fn start_and_stop(host: &Host, caller: &Container, starts: usize) -> Result<Vec<Use>> {
    let probe = binary("probe")?.display().to_string();
    let mut uses = Vec::new();
    let mut callers = Vec::new();
    for number in 0..starts {
        let id = format!("{}-{number}", host.name());
        let container = Container::start(host, &id, None)?;
        let (address, given) = (container.address()?, Instant::now());
        let mut answering = container.spawn(&format!("answer-{number}"), &[&probe, "answer", "0.0.0.0:9", &id])?;
        answering.until_says("ready", CALLED)?;
        let words = [&probe, "call", &format!("{address}:9"), &id];
        let mut calling = caller.spawn(&format!("call-{id}"), &words)?;
        calling.until_says("right", CALLED)?;
        ensure!(!answering.output()?.contains("wrong"), "{id} was called {}", answering.output()?);
        uses.push(Use { address, given, stopped: Instant::now() });
        container.delete()?;
        answering.kill()?;
        container.host().run(&["ip", "netns", "delete", &id])?.ok()?;
        callers.push(calling);
        if callers.len() > CALLERS {
            callers.remove(0).kill()?;
        }
    }
    Ok(uses)
}

#[test]
fn no_address_is_used_again_within_two_minutes_and_nobody_hears_what_is_not_for_him() -> Result<()> {
    let hosts: u8 = u8::try_from(size(4, 10))?;
    let each = rounds(60, 10_000) / usize::from(hosts);
    let stage = Stage::build(Underlay { hosts, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let callers = stage.hosts().iter().map(|host| Container::start(host, "caller", None));
    let callers = callers.collect::<Result<Vec<_>>>()?;
    let uses = thread::scope(|scope| -> Result<Vec<Use>> {
        // Everybody is called from the next host.
        let neighbours = callers.iter().cycle().skip(1);
        let pairs = stage.hosts().iter().zip(neighbours);
        let threads: Vec<_> =
            pairs.map(|(host, caller)| scope.spawn(move || start_and_stop(host, caller, each))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow!("a host panicked"))??);
        }
        Ok(all)
    })?;
    let mut by_address: BTreeMap<Ipv4Addr, Vec<&Use>> = BTreeMap::new();
    for one in &uses {
        by_address.entry(one.address).or_default().push(one);
    }
    let mut rests = Vec::new();
    for (address, mut uses) in by_address {
        uses.sort_by_key(|one| one.given);
        for (before, after) in uses.iter().zip(uses.iter().skip(1)) {
            let rested = after.given.saturating_duration_since(before.stopped);
            ensure!(rested >= REST, "{address} was given again after {rested:?}");
            rests.push(rested);
        }
    }
    let mut out = std::io::stdout().lock();
    let soonest = rests.iter().min();
    writeln!(
        out,
        "{} starts on {hosts} hosts; {} addresses given again, the soonest after {soonest:.0?}",
        uses.len(),
        rests.len()
    )?;
    callers.iter().try_for_each(Container::stop)?;
    for host in stage.hosts() {
        ensure!(host.container_links()?.is_empty(), "{} has a port left", host.name());
    }
    Ok(())
}

/// A start, an ARP request that may be lost, and a machine that compiles beside it.
const CALLED: Duration = Duration::from_secs(20);
/// Callers that go on calling after their container has gone: those of the last few seconds.
const CALLERS: usize = 8;
