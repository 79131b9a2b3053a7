//! What Raddle costs on this machine: attach time beside Debian's own plugins, an idle router, throughput.
//!
//! Decides what is measured and how often. Every figure is a median, and every comparison is made in one run, turn by turn.
#![forbid(unsafe_code)]

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tests::{Attachment, Cluster, Container, Host, Plugin, Stage, Underlay, binary, pass};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let as_json = match words.as_slice() {
        [] | ["--output", "text"] => false,
        ["--output", "json"] | ["--output=json"] => true,
        other => bail!("unknown words {other:?}; usage: scripts/bench [--output json]"),
    };
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let figures = json!({
        "idle": idle(&cluster)?,
        "add": add(stage.host(1)?)?,
        "storm": storm(stage.host(1)?)?,
        "throughput": throughput(&stage)?,
    });
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{figures}")?;
    } else {
        for (group, rows) in figures.as_object().into_iter().flatten() {
            for (name, value) in rows.as_object().into_iter().flatten() {
                writeln!(out, "{group:12} {name:32} {value}")?;
            }
        }
    }
    Ok(())
}

/// ADD, from the start of the plugin to its end, beside `bridge` with `host-local` in turn.
fn add(host: &Host) -> Result<Value> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ADD_ROUNDS {
        for (plugin, times) in [Plugin::Raddle, Plugin::Bridge].into_iter().zip(&mut times) {
            times.push(add_once(host, plugin, &format!("bench{round}"))?);
        }
    }
    let [mut ours, mut theirs] = times;
    Ok(json!({
        "rounds": ADD_ROUNDS,
        "raddle_cni_ms": rounded(median(&mut ours)?),
        "raddle_cni_worst_ms": rounded(ours.last().copied().unwrap_or_default()),
        "bridge_host_local_ms": rounded(median(&mut theirs)?),
    }))
}

/// As many ADDs at once, and then as many DELs, beside `bridge` with `host-local`.
fn storm(host: &Host) -> Result<Value> {
    let mut figures = json!({"containers": STORM});
    for (plugin, name) in [(Plugin::Raddle, "raddle_cni"), (Plugin::Bridge, "bridge_host_local")] {
        host.storm_begins(STORM)?;
        let added = host.storm(plugin, "ADD", STORM)?;
        let deleted = host.storm(plugin, "DEL", STORM)?;
        host.storm_ends(STORM)?;
        for (verb, storm) in [("add", added), ("del", deleted)] {
            figures[format!("{name}_{verb}_p50_ms")] = json!(rounded(storm.percentile_ms(50)));
            figures[format!("{name}_{verb}_p99_ms")] = json!(rounded(storm.percentile_ms(99)));
            figures[format!("{name}_{verb}s_per_second")] = json!(rounded(storm.per_second()));
        }
    }
    Ok(figures)
}

fn add_once(host: &Host, plugin: Plugin, id: &str) -> Result<f64> {
    let netns = format!("/run/netns/{id}");
    host.run(&["ip", "netns", "add", id])?.ok()?;
    let about = Attachment { container: id, netns: &netns, arguments: "" };
    let took_us: f64 = host.time_cni(plugin, "ADD", about)?.parse()?;
    host.cni(plugin, "DEL", about, &json!({}))?.done()?;
    host.run(&["ip", "netns", "delete", id])?.ok()?;
    Ok(took_us / 1000.0)
}

/// Resident memory and processor time of a router with two peers that nobody uses.
fn idle(cluster: &Cluster) -> Result<Value> {
    // What the forming of the cluster cost is not idleness; rekeys and anti-entropy are.
    pass(SETTLE);
    let router = cluster.router(1)?;
    let pid = router.process().pid().to_string();
    let ticks = || -> Result<f64> {
        let stat = router.host().run(&["cat", &format!("/proc/{pid}/stat")])?.ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a short stat")?.parse()?) };
        Ok(field(11)? + field(12)?)
    };
    let before = ticks()?;
    pass(IDLE);
    let used = (ticks()? - before) / TICKS_PER_SECOND;
    let status = router.host().run(&["grep", "VmRSS", &format!("/proc/{pid}/status")])?.ok()?;
    let rss_kib: f64 = status.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
    Ok(json!({
        "peers": 2,
        "rss_mib": rounded(rss_kib / 1024.0),
        "cpu_percent_of_a_core": rounded(100.0 * used / IDLE.as_secs_f64()),
        "seconds": IDLE.as_secs(),
    }))
}

/// One TCP stream between containers on two hosts, and the same between the hosts themselves for comparison.
fn throughput(stage: &Stage) -> Result<Value> {
    let server = Container::start(stage.host(1)?, "server", None)?;
    let client = Container::start(stage.host(2)?, "client", None)?;
    client.until_reaches(server.address()?)?;
    let mut listener = server.spawn("iperf3", &["iperf3", "-s", "--forceflush"])?;
    listener.until_says("Server listening", Duration::from_secs(10))?;
    let mut bare_listener = stage.host(1)?.spawn("iperf3-bare", &["iperf3", "-s", "--forceflush"])?;
    bare_listener.until_says("Server listening", Duration::from_secs(10))?;
    let (mut overlay, mut bare) = (Vec::new(), Vec::new());
    let to = server.address()?.to_string();
    let bare_to = stage.host(1)?.underlay().to_string();
    for _ in 0..THROUGHPUT_ROUNDS {
        overlay.push(gbps(&client.run(&measure(&to))?.json()?)?);
        bare.push(gbps(&stage.host(2)?.run(&measure(&bare_to))?.json()?)?);
    }
    Ok(json!({
        "rounds": THROUGHPUT_ROUNDS,
        "tcp_gbps": rounded(median(&mut overlay)?),
        "tcp_bare_underlay_gbps": rounded(median(&mut bare)?),
        "container_mtu_bytes": client.mtu_bytes()?,
        "binaries": binary("raddle")?.display().to_string(),
    }))
}

fn measure(to: &str) -> [&str; 8] {
    ["iperf3", "--json", "--time", "5", "--omit", "1", "--client", to]
}

fn gbps(report: &Value) -> Result<f64> {
    let bits = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(bits.with_context(|| format!("no figure in {report}"))? / 1e9)
}

fn median(values: &mut [f64]) -> Result<f64> {
    ensure!(!values.is_empty(), "no values");
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no middle")
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Enough for a steady median in a few seconds.
const ADD_ROUNDS: usize = 40;
/// What a node has that comes back after an outage.
const STORM: usize = 200;
/// Three, and the median of them: one disturbed round does not count.
const THROUGHPUT_ROUNDS: usize = 3;
/// The first anti-entropy rounds after a join carry more than the later ones.
const SETTLE: Duration = Duration::from_secs(12);
/// Long enough for 0.1 % of a core to be three ticks, and for three rounds of anti-entropy.
const IDLE: Duration = Duration::from_secs(30);
/// Linux' USER_HZ on every architecture Debian has.
const TICKS_PER_SECOND: f64 = 100.0;
