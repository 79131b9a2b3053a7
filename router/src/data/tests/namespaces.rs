//! Two data planes with real taps: taps.queues, bridges and containers, a network namespace each, and what `ping` and `iperf3` say.
//!
//! ```text
//!   container A ── bridge ── tap ── plane A ══ veth ══ plane B ── tap ── bridge ── container B
//! ```

use std::num::NonZeroU8;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hostnet::netns::Netns;
use hostnet::tap;
use hostnet::udp::bind_group;
use switch::BroadcastRate;
use wire::chunk::inner_mtu;

use super::super::DataConfig;
use super::hosts::{Host, NETWORK, introduce};

/// Two hosts and their containers. Everything goes with it.
struct Pair {
    name: String,
    hosts: Vec<Host>,
}

/// What lies between the hosts.
#[derive(Clone, Copy)]
struct Underlay {
    mtu_bytes: u16,
    addresses: [&'static str; 2],
    header_bytes: u16,
}

const IPV4: Underlay = Underlay { mtu_bytes: 1500, addresses: ["192.168.77.1", "192.168.77.2"], header_bytes: 28 };
const IPV6: Underlay = Underlay { mtu_bytes: 1500, addresses: ["fd77::1", "fd77::2"], header_bytes: 48 };

/// The containers' addresses: slots 65 and 129.
const CONTAINERS: [&str; 2] = ["10.32.0.65", "10.32.0.129"];
const MACS: [&str; 2] = ["02:00:00:00:00:41", "02:00:00:00:00:81"];

impl Underlay {
    fn datagram_bytes(self) -> u16 {
        self.mtu_bytes - self.header_bytes
    }

    fn inner_mtu(self) -> u16 {
        inner_mtu(self.datagram_bytes())
    }
}

impl Pair {
    fn new(name: &str, underlay: Underlay, container_mtu: u16, queues: u8) -> Self {
        let mut pair = Self { name: format!("rdd-{name}-{}", std::process::id()), hosts: Vec::new() };
        for side in [0, 1] {
            for what in ["host", "cont"] {
                ip(&format!("netns add {}", pair.space(what, side)));
                ip(&format!("-n {} link set lo up", pair.space(what, side)));
            }
        }
        let [a, b] = [pair.space("host", 0), pair.space("host", 1)];
        let mtu = underlay.mtu_bytes;
        ip(&format!("-n {a} link add u0 mtu {mtu} type veth peer name u0 mtu {mtu} netns {b}"));
        for side in [0, 1] {
            let host = pair.start(side, underlay, queues);
            pair.hosts.push(host);
            pair.wire(side, container_mtu);
        }
        introduce(&pair.hosts, underlay.datagram_bytes(), queues);
        pair
    }

    fn space(&self, what: &str, side: usize) -> String {
        format!("{}-{what}{side}", self.name)
    }

    /// Opens taps and sockets in the host's namespace and starts a plane over them.
    fn start(&self, side: usize, underlay: Underlay, queues: u8) -> Host {
        let space = self.space("host", side);
        let address = underlay.addresses[side];
        let length = if underlay.header_bytes == IPV4.header_bytes { "24" } else { "64 nodad" };
        ip(&format!("-n {space} address add {address}/{length} dev u0"));
        ip(&format!("-n {space} link set u0 up"));
        let queues = NonZeroU8::new(queues).unwrap();
        let (tap, group) = Netns::open(format!("/run/netns/{space}"))
            .unwrap()
            .run(|| (tap::open("tap0", queues).unwrap(), bind_group("[::]:6783".parse().unwrap(), queues).unwrap()))
            .unwrap();
        let broadcasts = BroadcastRate::default();
        let config = DataConfig { network: NETWORK, taps: tap.queues, sockets: group.data, broadcasts };
        let address = (address.parse::<std::net::IpAddr>().unwrap(), 6783).into();
        Host::over(u8::try_from(side).unwrap(), address, config)
    }

    /// Puts the tap and a container on a bridge.
    fn wire(&self, side: usize, mtu: u16) {
        let (host, container) = (self.space("host", side), self.space("cont", side));
        ip(&format!("-n {host} link add br0 mtu {mtu} type bridge"));
        ip(&format!("-n {host} link set tap0 mtu {mtu} master br0 up"));
        let mac = MACS[side];
        ip(&format!(
            "-n {host} link add c0 mtu {mtu} type veth peer name eth0 mtu {mtu} address {mac} netns {container}"
        ));
        ip(&format!("-n {host} link set c0 master br0 up"));
        ip(&format!("-n {host} link set br0 up"));
        ip(&format!("-n {container} address add {}/12 dev eth0", CONTAINERS[side]));
        ip(&format!("-n {container} link set eth0 up"));
    }

    fn command(&self, side: usize, command: &str) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.space("cont", side)]).args(command.split(' '));
        inside
    }

    /// Runs a command in a container.
    fn run(&self, side: usize, command: &str) -> Output {
        self.command(side, command).output().unwrap()
    }

    fn must(&self, side: usize, command: &str) -> String {
        let output = self.run(side, command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{command}: {said}{complaint}{:?}",
            self.hosts.iter().map(Host::losses).collect::<Vec<_>>()
        );
        said
    }

    /// Serves `iperf3` in container B while `client` runs in container A.
    fn iperf(&self, arguments: &str) -> String {
        let server = self.command(1, "iperf3 --server --one-off --idle-timeout 20").stdout(Stdio::null()).spawn();
        let client = format!("iperf3 --client {} --json {arguments}", CONTAINERS[1]);
        // The server says only to its own output that it listens.
        let tried = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(50));
            self.run(0, &client)
        });
        let done = tried.take(40).find(|output| output.status.success());
        server.unwrap().wait().unwrap();
        String::from_utf8(done.unwrap().stdout).unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for side in [0, 1] {
            for what in ["cont", "host"] {
                // Half a pair, after a failure, is taken down as far as it got.
                let _ = Command::new("ip").args(["netns", "delete", &self.space(what, side)]).status();
            }
        }
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// A ping that may not be fragmented, with an IP packet of so many bytes.
fn ping(packet_bytes: u16) -> String {
    format!("ping -n -q -c 3 -i 0.01 -W 2 -M do -s {} {}", packet_bytes - 28, CONTAINERS[1])
}

#[test]
#[ignore = "makes network namespaces: run as root with --ignored"]
fn a_ping_of_exactly_the_inner_mtu_passes_whole() {
    let jumbo = Underlay { mtu_bytes: 9000, ..IPV4 };
    let jumbo6 = Underlay { mtu_bytes: 9000, ..IPV6 };
    for (name, underlay, expected) in
        [("p4", IPV4, 1414), ("p6", IPV6, 1394), ("j4", jumbo, 8914), ("j6", jumbo6, 8894)]
    {
        let mtu = underlay.inner_mtu();
        assert_eq!(mtu, expected);
        let pair = Pair::new(name, underlay, mtu, 1);
        pair.must(0, &ping(mtu));
        assert!(!pair.run(0, &ping(mtu + 1)).status.success(), "the container's own interface refuses more");
        for host in &pair.hosts {
            assert!(host.losses().iter().all(|(reason, _)| !reason.starts_with("pieces") && *reason != "too-large"));
        }
    }
}

#[test]
#[ignore = "makes network namespaces: run as root with --ignored"]
fn frames_larger_than_the_path_pass_in_pieces() {
    let pair = Pair::new("pieces", IPV4, 9000, 1);
    pair.must(0, &ping(9000));
    pair.must(0, "ping -n -q -c 2 -i 0.01 -W 2 -s 60000 10.32.0.129");
    assert!(pair.iperf("--bytes 50M").contains("\"sum_received\""));
}

#[test]
#[ignore = "makes network namespaces: run as root with --ignored"]
fn streams_and_datagrams_pass_in_both_directions_and_on_every_queue() {
    let pair = Pair::new("iperf", IPV4, IPV4.inner_mtu(), 2);
    for arguments in [
        "--bytes 200M",
        "--bytes 100M --reverse",
        "--bytes 100M --parallel 4",
        "--udp --bitrate 200M --length 20000 --time 1",
    ] {
        let report = pair.iperf(arguments);
        assert!(report.contains("bits_per_second"), "{arguments}: {report}");
    }
    let losses = ["forged", "replayed", "offload", "tap-refused", "malformed-chunk", "unknown-session"];
    for host in &pair.hosts {
        assert!(host.losses().iter().all(|(reason, _)| !losses.contains(reason)), "{:?}", host.losses());
    }
}
