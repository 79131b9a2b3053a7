//! Many real routers at once: how fast they find one another, and what an idle one costs. 50 under `scripts/soak`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use control_api::{Client, Status};
use tests::{Host, PASSWORD, PORT, Process, Router, Stage, Underlay, pass, password_file, peer, promised, size, until};

/// A machine with two cores that starts fifty routers, and whatever else it does.
const WHOLE: Duration = Duration::from_secs(120);
/// What an idle router may say and hear, in whole frames.
const IDLE_BYTES_A_SECOND: f64 = 1024.0;
const RSS_KIB: u64 = 25 * 1024;
/// What fifty may take, or an idle one of them, where nothing else runs.
const COLD_START: Duration = Duration::from_secs(15);
const RESTART: Duration = Duration::from_secs(20);
const CORE_PERCENT: f64 = 0.3;
/// What a client of the control socket waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);

#[test]
fn many_routers_find_one_another_start_together_and_are_quiet() -> Result<()> {
    let hosts = u8::try_from(size(10, 50))?;
    ensure_neighbours_fit(hosts)?;
    let stage = Stage::build(Underlay { hosts, mtu_bytes: 1500 })?;
    let begin = Instant::now();
    let mut routers = all_start_by_password(&stage)?;
    promised("cold start", until_whole("cold start with a password", &mut routers, begin)?, COLD_START)?;

    for router in &mut routers {
        router.process().signal("KILL")?;
    }
    let begin = Instant::now();
    for router in &mut routers {
        router.kill()?;
        router.launch_again()?;
    }
    promised("restart", until_whole("all killed and started again", &mut routers, begin)?, RESTART)?;
    is_quiet(&routers, Duration::from_secs(u64::try_from(size(10, 60))?))
}

#[test]
fn many_routers_join_by_one_token_at_once() -> Result<()> {
    let hosts = u8::try_from(size(10, 50))?;
    ensure_neighbours_fit(hosts)?;
    let stage = Stage::build(Underlay { hosts, mtu_bytes: 1500 })?;
    let (first, others) = stage.hosts().split_first().context("no host")?;
    first.raddle(&["init"])?.ok()?;
    let mut routers = vec![Router::start(first, &[])?];
    let token = first.raddle(&["token", "create", "--uses", &others.len().to_string()])?.ok()?;
    let begin = Instant::now();
    let join = |host: &Host| host.spawn("join", &["raddle", "join", &token, &peer(first)]);
    let mut joining = others.iter().map(join).collect::<Result<Vec<Process>>>()?;
    for process in &mut joining {
        ensure!(process.wait(WHOLE)? == Some(0), "{}", process.output()?);
    }
    say(&format!("{} hosts have joined by one token after {:.1?}", joining.len(), begin.elapsed()));
    let begin = Instant::now();
    for host in others {
        routers.push(Router::launch(host, &[])?);
    }
    until_whole("first start of all that joined", &mut routers, begin)?;
    Ok(())
}

/// The kernel has one neighbour table for all namespaces together. Where it is full, packets are lost without a word, which has
/// nothing to do with routers that run on a kernel each.
fn ensure_neighbours_fit(hosts: u8) -> Result<()> {
    let wanted = u64::from(hosts) * u64::from(hosts);
    for family in ["ipv4", "ipv6"] {
        let most = std::fs::read_to_string(format!("/proc/sys/net/{family}/neigh/default/gc_thresh3"))?;
        let fits = most.trim().parse::<u64>()? >= wanted;
        ensure!(
            fits,
            "net.{family}.neigh.default.gc_thresh3 is {} and {wanted} are needed: scripts/soak sets it",
            most.trim()
        );
    }
    Ok(())
}

/// The first router makes the cluster; all others start at once and know its address and the password, no more.
fn all_start_by_password(stage: &Stage) -> Result<Vec<Router>> {
    let (first, others) = stage.hosts().split_first().context("no host")?;
    let file = password_file(first, PASSWORD)?;
    let mut routers = vec![Router::launch(first, &["--password-file", &file])?];
    let entrance = peer(first);
    for host in others {
        let file = password_file(host, PASSWORD)?;
        routers.push(Router::launch(host, &["--password-file", &file, &entrance])?);
    }
    Ok(routers)
}

/// Waits until every router is connected to every other, and says how long that and the answers to an operator took. Returns
/// how long that took.
fn until_whole(what: &str, routers: &mut [Router], begin: Instant) -> Result<Duration> {
    let others = u64::try_from(routers.len())?.saturating_sub(1);
    let mut apart: Vec<usize> = (0..routers.len()).collect();
    let (mut running, mut slowest) = (None, Duration::ZERO);
    until(what, WHOLE, || {
        let (mut silent, mut ended) = (0, 0);
        apart.retain(|number| {
            let Some(router) = routers.get_mut(*number) else { return false };
            let asked = Instant::now();
            let answer = status(router);
            slowest = slowest.max(asked.elapsed());
            silent += usize::from(answer.is_none());
            ended += usize::from(!matches!(router.process_mut().is_running(), Ok(true)));
            answer.is_none_or(|answer| answer.peers.connected != others)
        });
        if silent == 0 {
            running.get_or_insert(begin.elapsed());
        }
        if apart.is_empty() {
            return Ok(Some(()));
        }
        bail!("{} are not connected to all, {silent} do not answer, {ended} have ended", apart.len())
    })?;
    let (whole, running) = (begin.elapsed(), running.unwrap_or_default());
    say(&format!(
        "{what}: {} routers: all answer after {running:.1?}, each connected to all others after {whole:.1?}; \
         the slowest answer to an operator took {slowest:.1?}",
        routers.len(),
    ));
    Ok(whole)
}

/// What a router says over its control socket, asked from outside of its host: no process is started for it.
fn status(router: &Router) -> Option<Status> {
    let socket = router.host().root().join("run/raddle/control.sock");
    Client::connect(socket, ANSWER).and_then(|mut client| client.status()).ok()
}

#[expect(clippy::print_stdout, reason = "what an experiment has measured")]
fn say(text: &str) {
    println!("{text}");
}

/// What one host's router has used so far.
struct Cost {
    at: Instant,
    /// On its cable: what the kernel says to find its neighbours too.
    cable: Traffic,
    /// The router's own.
    own: Traffic,
    cpu: Duration,
    rss_kib: u64,
}

/// Whole frames, both ways.
#[derive(Clone, Copy)]
struct Traffic {
    frames: u64,
    bytes: u64,
}

/// Begins to count what is the routers'.
fn count_own(host: &Host) -> Result<()> {
    let rules = format!(
        "table inet own {{ counter own {{ }}
         chain in {{ type filter hook input priority -300; meta l4proto {{ tcp, udp }} th dport {PORT} counter name own accept;
                     meta l4proto {{ tcp, udp }} th sport {PORT} counter name own; }};
         chain out {{ type filter hook output priority -300; meta l4proto {{ tcp, udp }} th dport {PORT} counter name own accept;
                      meta l4proto {{ tcp, udp }} th sport {PORT} counter name own; }}; }}"
    );
    host.run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
    Ok(())
}

fn own(host: &Host) -> Result<Traffic> {
    let said = host.run(&["nft", "list", "counter", "inet", "own", "own"])?.ok()?;
    let after = |word: &str| said.split_whitespace().skip_while(|at| *at != word).nth(1)?.parse::<u64>().ok();
    let (frames, bytes) = after("packets").zip(after("bytes")).with_context(|| said.clone())?;
    Ok(Traffic { frames, bytes: bytes + frames * ETHERNET_BYTES })
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
        cable: Traffic { frames: packets_in + packets_out, bytes: received + sent },
        own: own(host)?,
        cpu: TICK * (ticks(11) + ticks(12)),
        rss_kib: rss.context("no VmRSS")?,
    })
}

/// What the start has set going ends first: snapshots, streams that both sides opened, paths whose size is sought.
fn until_settled(routers: &[Router]) -> Result<()> {
    let begin = Instant::now();
    until("what the start has set going ends", WHOLE, || {
        let bytes = || routers.iter().map(|router| Ok(own(router.host())?.bytes)).collect::<Result<Vec<u64>>>();
        let (at, before) = (Instant::now(), bytes()?);
        pass(Duration::from_secs(3));
        let after = bytes()?;
        let seconds = at.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
        let rates = before.iter().zip(&after).map(|(from, to)| (to - from) as f64 / seconds);
        let most = rates.fold(0.0, f64::max);
        ensure!(most <= IDLE_BYTES_A_SECOND, "one still exchanges {most:.0} bytes a second");
        Ok(Some(()))
    })?;
    say(&format!("quiet {:.1?} after the last was connected", begin.elapsed()));
    Ok(())
}

/// Nothing happens for a while; says what that costs each of them.
fn is_quiet(routers: &[Router], time: Duration) -> Result<()> {
    routers.iter().try_for_each(|router| count_own(router.host()))?;
    until_settled(routers)?;
    let costs =
        || -> Result<Vec<Cost>> { routers.iter().map(|router| cost(router.host(), router.process().pid())).collect() };
    let before = costs()?;
    pass(time);
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
    let bytes = summary("bytes a second, in and out, whole frames", rate(|cost| cost.own.bytes));
    summary("frames a second, in and out", rate(|cost| cost.own.frames));
    summary("bytes a second, the kernel's search for neighbours too", rate(|cost| cost.cable.bytes));
    summary("frames a second, the kernel's search for neighbours too", rate(|cost| cost.cable.frames));
    let core = summary(
        "percent of a core",
        pairs().map(|pair| (pair.1.cpu - pair.0.cpu).as_secs_f64() / seconds(pair) * 100.0).collect(),
    );
    let rss = after.iter().map(|cost| cost.rss_kib).max().unwrap_or_default();
    say(&format!("idle, of {} routers: RSS: most {rss} KiB", after.len()));
    ensure!(bytes <= IDLE_BYTES_A_SECOND, "an idle router exchanges {bytes:.0} bytes a second");
    ensure!(rss <= RSS_KIB, "an idle router takes {rss} KiB");
    promised("percent of a core", core, CORE_PERCENT)
}

/// In front of each packet.
const ETHERNET_BYTES: u64 = 14;
/// `USER_HZ`, which Linux fixes for all programs.
const TICK: Duration = Duration::from_millis(10);
