//! Many real routers at once: how fast they find one another, and what an idle one costs. 50 under `scripts/soak`.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{Host, PASSWORD, Router, Stage, Underlay, password_file, peer, rounds, until};

/// A machine with two cores that starts fifty routers, and whatever else it does.
const WHOLE: Duration = Duration::from_secs(120);
/// What an idle router may say and hear, ARP and everything else on its cable included.
const IDLE_BYTES_A_SECOND: f64 = 1024.0;
const RSS_KIB: u64 = 25 * 1024;

#[test]
fn many_routers_find_one_another_start_together_and_are_quiet() -> Result<()> {
    let hosts = u8::try_from(rounds(8, 50))?;
    let stage = Stage::build(Underlay { hosts, mtu_bytes: 1500 })?;
    let begin = Instant::now();
    let mut routers = all_join_at_once(&stage)?;
    until_whole(&routers)?;
    println!("cold start: {hosts} routers, each joined and connected to all others after {:.1?}", begin.elapsed());

    for router in &mut routers {
        router.process().signal("KILL")?;
    }
    let begin = Instant::now();
    for router in &mut routers {
        router.kill()?;
        router.launch_again()?;
    }
    until_whole(&routers)?;
    println!("all killed and restarted: each connected to all others after {:.1?}", begin.elapsed());
    is_quiet(&routers, Duration::from_secs(u64::try_from(rounds(10, 120))?))
}

/// The first router makes the cluster; all others start at once and know its address and the password, no more.
fn all_join_at_once(stage: &Stage) -> Result<Vec<Router>> {
    let (first, others) = stage.hosts().split_first().context("no host")?;
    let file = password_file(first, PASSWORD)?;
    let mut routers = vec![Router::start(first, &["--password-file", &file])?];
    let entrance = peer(first);
    for host in others {
        let file = password_file(host, PASSWORD)?;
        routers.push(Router::launch(host, &["--password-file", &file, &entrance])?);
    }
    Ok(routers)
}

/// Every router is connected to every other.
fn until_whole(routers: &[Router]) -> Result<()> {
    let others = u64::try_from(routers.len())?.saturating_sub(1);
    let mut apart: Vec<&Router> = routers.iter().collect();
    until("all are connected to all", WHOLE, || {
        apart.retain(|router| {
            let connected = router.status().ok().and_then(|status| status.pointer("/peers/connected")?.as_u64());
            connected != Some(others)
        });
        Ok(apart.is_empty().then_some(()))
    })
}

#[expect(clippy::print_stdout, reason = "what an experiment has measured")]
fn say(text: &str) {
    println!("{text}");
}

/// What one host's router has used so far.
struct Cost {
    at: Instant,
    bytes: u64,
    datagrams: u64,
    cpu: Duration,
    rss_kib: u64,
}

fn cost(host: &Host, pid: u32) -> Result<Cost> {
    let counters = "cd /sys/class/net/eth0/statistics && cat rx_bytes tx_bytes rx_packets tx_packets";
    let said = host.run(&["sh", "-c", counters])?.ok()?;
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[received, sent, packets_in, packets_out] = numbers.as_slice() else { anyhow::bail!("{said}") };
    let stat = host.run(&["cat", &format!("/proc/{pid}/stat")])?.ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ").context("no stat")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).unwrap_or_default();
    let status = host.run(&["cat", &format!("/proc/{pid}/status")])?.ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Ok(Cost {
        at: Instant::now(),
        bytes: received + sent,
        datagrams: packets_in + packets_out,
        cpu: TICK * (ticks(11) + ticks(12)),
        rss_kib: rss.context("no VmRSS")?,
    })
}

/// Nothing happens for a while; says what that costs each of them.
fn is_quiet(routers: &[Router], time: Duration) -> Result<()> {
    // What the start has set going ends first: snapshots, streams that both sides opened, neighbours that are learned.
    sleep(Duration::from_secs(12));
    let costs =
        || -> Result<Vec<Cost>> { routers.iter().map(|router| cost(router.host(), router.process().pid())).collect() };
    let before = costs()?;
    sleep(time);
    let after = costs()?;
    let pairs = || before.iter().zip(&after);
    let seconds = |(from, to): (&Cost, &Cost)| to.at.duration_since(from.at).as_secs_f64();
    let summary = |name: &str, each: Vec<f64>| {
        let (sum, most) = each.iter().fold((0.0, 0.0_f64), |(sum, most), value| (sum + value, most.max(*value)));
        say(&format!("idle, of {} routers: {name}: mean {:.3}, most {most:.3}", each.len(), sum / each.len() as f64));
        most
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
    let rate = |of: fn(&Cost) -> u64| pairs().map(|pair| (of(pair.1) - of(pair.0)) as f64 / seconds(pair)).collect();
    let bytes = summary("bytes a second, in and out, whole frames", rate(|cost| cost.bytes));
    summary("frames a second, in and out", rate(|cost| cost.datagrams));
    summary(
        "percent of a core",
        pairs().map(|pair| (pair.1.cpu - pair.0.cpu).as_secs_f64() / seconds(pair) * 100.0).collect(),
    );
    let rss = after.iter().map(|cost| cost.rss_kib).max().unwrap_or_default();
    say(&format!("idle, of {} routers: RSS: most {rss} KiB", after.len()));
    ensure!(bytes <= IDLE_BYTES_A_SECOND, "an idle router exchanges {bytes:.0} bytes a second");
    ensure!(rss <= RSS_KIB, "an idle router takes {rss} KiB");
    Ok(())
}

/// `USER_HZ`, which Linux fixes for all programs.
const TICK: Duration = Duration::from_millis(10);
