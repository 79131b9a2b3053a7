//! Many short-lived containers on many hosts: an address that was somebody's is nobody's for two minutes, and what is said to
//! it meanwhile reaches nobody else.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use tests::{Cluster, Container, Host, JoinBy, Plugin, Stage, Underlay, binary, rounds, size};

/// Design: a freed address rests.
const REST: Duration = Duration::from_secs(120);

/// One container's time with its address, both ends as late as they can have been and as early.
struct Use {
    address: Ipv4Addr,
    given: Instant,
    stopped: Instant,
}

/// Starts one as an engine does, which tries again where somebody did not answer in time. None where every address that is left
/// rests, and this is said.
fn start_unless_all_rest(host: &Host, id: &str) -> Result<Option<Container>> {
    for _ in 0..10 {
        match Container::try_start(host, Plugin::Raddle, id, None)? {
            Ok(container) => return Ok(Some(container)),
            Err(answer) => {
                let (code, message) = answer.failed()?;
                ensure!(code == 11, "{id}: code {code}: {message}");
                if message.contains("and rest") {
                    return Ok(None);
                }
            }
        }
    }
    bail!("{id}: refused ten times");
}

/// Starts and stops containers one after the other, at most so many. Those who called the last one still do when the next one
/// is there. Ends before that where every address that is left rests, and says so.
fn start_and_stop(host: &Host, caller: &Container, starts: usize) -> Result<(Vec<Use>, bool)> {
    let probe = binary("probe")?.display().to_string();
    let mut uses = Vec::new();
    let mut callers = Vec::new();
    for number in 0..starts {
        let id = format!("{}-{number}", host.name());
        let Some(container) = start_unless_all_rest(host, &id)? else { return Ok((uses, true)) };
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
    Ok((uses, false))
}

#[test]
fn no_address_is_used_again_within_two_minutes_and_nobody_hears_what_is_not_for_him() -> Result<()> {
    let hosts: u8 = u8::try_from(size(4, 10))?;
    let each = rounds(0, 10_000) / usize::from(hosts);
    let is_short = each == 0;
    let stage = Stage::build(Underlay { hosts, mtu_bytes: 1500 })?;
    // In two minutes and more addresses come round by themselves. Where there is no such time, the pool is so small that it
    // ends long before the first of them has rested.
    let (pool, block, each) = if is_short { ("10.32.0.0/26", "4", POOL) } else { ("10.32.0.0/12", "16", each) };
    let _cluster = Cluster::form_by(&stage, JoinBy::Token, &["--pool", pool, "--block-size", block])?;
    let begun = Instant::now();
    let callers = stage.hosts().iter().map(|host| Container::start(host, "caller", None));
    let callers = callers.collect::<Result<Vec<_>>>()?;
    let (uses, refused) = thread::scope(|scope| -> Result<_> {
        // Everybody is called from the next host.
        let neighbours = callers.iter().cycle().skip(1);
        let pairs = stage.hosts().iter().zip(neighbours);
        let threads: Vec<_> =
            pairs.map(|(host, caller)| scope.spawn(move || start_and_stop(host, caller, each))).collect();
        let (mut all, mut refused) = (Vec::new(), 0);
        for thread in threads {
            let (uses, is_refused) = thread.join().map_err(|_| anyhow!("a host panicked"))??;
            all.extend(uses);
            refused += usize::from(is_refused);
        }
        Ok((all, refused))
    })?;
    let took = begun.elapsed();
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
        "{} starts on {hosts} hosts in {took:.0?}; {} addresses given again, the soonest after {soonest:.0?}; {refused} hosts were refused",
        uses.len(),
        rests.len()
    )?;
    let is_over = is_short || took > REST;
    ensure!(!is_over || refused > 0 || !rests.is_empty(), "nobody had to wait for an address");
    ensure!(!is_short || uses.len() > POOL / 2, "after {} starts of {POOL} addresses no one is left", uses.len());
    callers.iter().try_for_each(Container::stop)?;
    for host in stage.hosts() {
        ensure!(host.container_links()?.is_empty(), "{} has a port left", host.name());
    }
    Ok(())
}

/// The addresses of the small pool.
const POOL: usize = 64;
/// A start, an ARP request that may be lost, and a machine that compiles beside it.
const CALLED: Duration = Duration::from_secs(20);
/// Callers that go on calling after their container has gone: those of the last few seconds.
const CALLERS: usize = 8;
