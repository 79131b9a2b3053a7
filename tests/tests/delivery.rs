//! What a container gets is what was sent: every packet whole, with right sums, and in order.
//!
//! The receiving container's interface has no offloads, so that what it captures are the bytes that a real network card
//! would put on a wire.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use etherparse::{NetSlice, SlicedPacket};
use serde_json::Value;
use tests::{Cluster, Container, JoinBy, Process, Recording, Stage, Underlay, binary, until};

const WAIT: Duration = Duration::from_secs(15);
/// One of so many may come late, as on a LAN whose cards have several queues: when the kernel gives a flow another one.
const WITHIN_ORDER: u64 = 10_000;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Two containers on two hosts, each with an address of both families.
struct Pair {
    stage: Stage,
    _cluster: Cluster,
    one: Container,
    two: Container,
}

impl Pair {
    fn start(mtu_bytes: u16) -> Result<Self> {
        let stage = Stage::build(Underlay { hosts: 2, mtu_bytes })?;
        for host in [stage.host(1)?, stage.host(2)?] {
            // As Docker and Kubernetes set it: the host puts bridged fragments together and cuts them again.
            let all = "for f in /proc/sys/net/bridge/bridge-nf-call-ip*; do [ ! -e $f ] || echo 1 > $f; done";
            host.run(&["sh", "-c", all])?.ok()?;
        }
        let cluster = Cluster::form_by(&stage, JoinBy::Token, &["--pool6"])?;
        let one = Container::start(stage.host(1)?, "one", None)?;
        let two = Container::start(stage.host(2)?, "two", None)?;
        one.until_reaches(two.address()?)?;
        Ok(Self { stage, _cluster: cluster, one, two })
    }

    /// Serves one `iperf3` in the second container, runs it in the first, and returns its report.
    fn send(&self, to: &str, words: &str) -> Result<Value> {
        let mut server = self.two.spawn("iperf3", &["iperf3", "--server", "--one-off", "--forceflush"])?;
        server.until_says("Server listening", WAIT)?;
        let words: Vec<_> = ["iperf3", "--json", "--client", to].into_iter().chain(words.split(' ')).collect();
        let report = self.one.run(&words)?.json()?;
        server.wait(WAIT)?;
        Ok(report)
    }

    fn addresses(&self) -> Result<[String; 2]> {
        let shown = self.two.run(&["ip", "-json", "-6", "address", "show", "eth0", "scope", "global"])?.json()?;
        let address6 = shown.pointer("/0/addr_info/0/local").and_then(Value::as_str).context("no IPv6 address")?;
        Ok([self.two.address()?.to_string(), address6.to_owned()])
    }
}

/// A capture of what comes to a container's `eth0`.
struct Arrivals {
    tcpdump: Process,
    file: std::path::PathBuf,
}

impl Arrivals {
    fn capture(stage: &Stage, container: &Container) -> Result<Self> {
        let file = stage.directory().join("arrivals.pcap");
        let path = file.display().to_string();
        // A slot of the ring is as large as the largest frame: with small ones no burst overflows it.
        let options = ["-i", "eth0", "-Q", "in", "-U", "--immediate-mode", "-s", "9100", "-B", "65536", "-Z", "root"];
        let words: Vec<_> = ["tcpdump"].iter().chain(&options).copied().chain(["-w", &path]).collect();
        let mut tcpdump = container.spawn("tcpdump", &words)?;
        tcpdump.until_says("listening on", WAIT)?;
        Ok(Self { tcpdump, file })
    }

    /// Ends it once it has seen a datagram that `from` sends last.
    fn finish(mut self, from: &Container, to: &str) -> Result<Recording> {
        let (probe, mark) = (binary("probe")?.display().to_string(), "the last datagram");
        let recording = until("the capture has its end", WAIT, || {
            from.run(&[&probe, "say", &format!("{to}:9"), mark])?.ok()?;
            let recording = Recording::parse(&fs::read(&self.file)?)?;
            Ok((recording.occurrences(mark.as_bytes()) > 0).then_some(recording))
        })?;
        self.tcpdump.signal("INT")?;
        self.tcpdump.wait(WAIT)?;
        let said = self.tcpdump.output()?;
        ensure!(said.contains("\n0 packets dropped by kernel"), "the capture is not complete: {said}");
        Ok(recording)
    }
}

/// What a captured packet is, if its sums are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    is_ipv6: bool,
    protocol: u8,
    is_fragment: bool,
    packet_bytes: usize,
}

/// Reads a packet and checks its sums. `None` for what is not IP.
fn examine(frame: &[u8]) -> Result<Option<Seen>> {
    let sliced = SlicedPacket::from_ethernet(frame)?;
    let (pseudo, payload, is_ipv6) = match sliced.net {
        Some(NetSlice::Ipv4(ref ip)) => {
            ensure!(sum(ip.header().slice()) == 0xffff, "IPv4 header sum: {frame:02x?}");
            (ip.header().slice().get(12..20).context("no addresses")?, ip.payload(), false)
        }
        Some(NetSlice::Ipv6(ref ip)) => (ip.header().slice().get(8..40).context("no addresses")?, ip.payload(), true),
        Some(NetSlice::Arp(_)) | None => return Ok(None),
    };
    let protocol = payload.ip_number.0;
    let length = u32::try_from(payload.payload.len())?;
    let seen = Seen { is_ipv6, protocol, is_fragment: payload.fragmented, packet_bytes: frame.len() - 14 };
    if !payload.fragmented && [TCP, UDP, 58].contains(&protocol) {
        let pseudo = [pseudo, &length.to_be_bytes(), &[0, 0, 0, protocol], payload.payload].concat();
        ensure!(sum(&pseudo) == 0xffff, "transport sum of protocol {protocol}: {frame:02x?}");
    }
    Ok(Some(seen))
}

/// The Internet checksum's sum (RFC 1071), computed as the RFC has it.
fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| pair.iter().zip([256, 1]).map(|(&byte, weight)| u64::from(byte) * weight).sum::<u64>();
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// Sends a stream, datagrams that fill less than a packet, and some of `large` bytes; no packet of them may come otherwise than
/// it was, and so many fragments must come.
fn every_packet_arrives_with_right_sums(mtu_bytes: u16, large: &str, fragments: usize) -> Result<String> {
    let large = format!("--udp --bitrate 60M --bytes 1M --length {large}");
    let traffic = ["--bytes 6M", "--udp --bitrate 60M --bytes 2M --length 1000", &large];
    let pair = Pair::start(mtu_bytes)?;
    for link in pair.two.host().container_links()? {
        pair.two.host().run(&["ethtool", "-K", &link, "tx", "off", "tso", "off", "gso", "off"])?.ok()?;
    }
    let addresses = pair.addresses()?;
    let capture = Arrivals::capture(&pair.stage, &pair.two)?;
    for to in &addresses {
        for words in traffic {
            pair.send(to, words)?;
        }
    }
    let recording = capture.finish(&pair.one, &addresses[0])?;
    let inner_bytes = usize::try_from(pair.two.mtu_bytes()?)?;
    let mut seen = Vec::new();
    for packet in &recording.packets {
        seen.extend(examine(&packet.bytes)?);
    }
    ensure!(seen.iter().all(|seen| seen.packet_bytes <= inner_bytes), "super-frames: these are not the wire's bytes");
    // Each carried at least this: otherwise nothing was shown.
    let mut report = String::new();
    for is_ipv6 in [false, true] {
        for (protocol, is_fragment, least) in [(TCP, false, 300), (UDP, false, 1900), (UDP, true, fragments)] {
            let wanted = |seen: &&Seen| {
                seen.is_ipv6 == is_ipv6 && seen.is_fragment == is_fragment && (is_fragment || seen.protocol == protocol)
            };
            let count = seen.iter().filter(wanted).count();
            writeln!(report, "IPv6 {is_ipv6}, protocol {protocol}, fragments {is_fragment}: {count}")?;
            ensure!(count >= least, "too few packets: {report}");
        }
    }
    Ok(report)
}

/// One flow keeps to one queue on its whole way, so next to nothing overtakes anything: what the sender's TCP notes of reordering, and
/// what numbered datagrams show of it.
#[test]
fn a_flow_arrives_in_order() -> Result<()> {
    let pair = Pair::start(1500)?;
    for to in &pair.addresses()? {
        let datagrams = pair.send(to, "--udp --bitrate 100M --bytes 20M --length 1000")?;
        let overtaken = datagrams.pointer("/end/streams/0/udp/out_of_order").and_then(Value::as_u64);
        let lost = datagrams.pointer("/end/sum/lost_packets").and_then(Value::as_u64);
        println!("to {to}: {overtaken:?} datagrams overtaken, {lost:?} lost");
        ensure!(overtaken.context("not counted")? <= 20_000 / WITHIN_ORDER, "{overtaken:?} datagrams came late");
        pair.send(to, "--bytes 200M")?;
    }
    let noted = pair.one.run(&["nstat", "-asz", "TcpExtTCP*Reorder", "TcpOutSegs"])?.ok()?;
    println!("{noted}");
    let count = |line: &str| line.split_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok());
    let sum = |name: &str| noted.lines().filter(|line| line.contains(name)).filter_map(count).sum::<u64>();
    let (overtaken, sent) = (sum("Reorder"), sum("TcpOutSegs"));
    ensure!(sent > 100_000 && overtaken <= sent / WITHIN_ORDER, "{overtaken} segments came late: {noted}");
    Ok(())
}

#[test]
fn every_packet_arrives_with_right_sums_on_1500() -> Result<()> {
    println!("{}", every_packet_arrives_with_right_sums(1500, "12000", 700)?);
    Ok(())
}

#[test]
fn every_packet_arrives_with_right_sums_on_9000() -> Result<()> {
    println!("{}", every_packet_arrives_with_right_sums(9000, "20000", 100)?);
    Ok(())
}
