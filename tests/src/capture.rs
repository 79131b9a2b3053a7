//! What really passed over the underlay: a capture by tcpdump, and what can be found in it.
//!
//! Decides what counts as clear. Knows only the ports on which Raddle may speak, none of its formats.

use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::{cluster::PORT, host::Host, process::Process, stage::Stage, wait::until};

/// A running capture of every frame between hosts.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    switch: Host,
    tcpdump: Process,
}

impl Capture {
    /// Starts to capture on the underlay bridge.
    pub fn start(stage: &Stage, name: &str) -> Result<Self> {
        let file = stage.directory().join(format!("{name}.pcap"));
        let path = file.display().to_string();
        let switch = stage.switch();
        switch.run(&["ip", "address", "replace", "10.99.0.254/24", "dev", "underlay"])?.ok()?;
        switch.run(&["ip", "neighbour", "replace", SINK, "lladdr", "02:00:00:00:00:fd", "dev", "underlay"])?.ok()?;
        let words = [
            "tcpdump",
            "-i",
            "underlay",
            "-U",
            "--immediate-mode",
            "-s",
            "0",
            "-B",
            "65536",
            "-Z",
            "root",
            "-w",
            &path,
        ];
        let mut tcpdump = switch.spawn(name, &words)?;
        tcpdump.until_says("listening on", START)?;
        Ok(Self { file, switch: switch.clone(), tcpdump })
    }

    /// Ends it and reads what it saw. The kernel must not have dropped anything: what was not seen proves nothing.
    pub fn finish(mut self) -> Result<Recording> {
        // tcpdump ends at once when told, whatever still waits in its ring: so it is told when it has seen this mark.
        self.switch.run(&["bash", "-c", &format!("echo {MARK} > /dev/udp/{SINK}/9")])?.ok()?;
        until("the capture has its end", START, || {
            let recording = Recording::parse(&fs::read(&self.file)?)?;
            Ok((recording.occurrences(MARK.as_bytes()) > 0).then_some(()))
        })?;
        self.tcpdump.signal("INT")?;
        self.tcpdump.wait(START)?;
        let said = self.tcpdump.output()?;
        ensure!(said.contains("\n0 packets dropped by kernel"), "the capture is not complete: {said}");
        let mut recording = Recording::parse(&fs::read(&self.file)?)?;
        recording.packets.retain(|packet| !packet.holds(MARK.as_bytes()));
        Ok(recording)
    }
}

/// Captured frames.
#[derive(Debug)]
pub struct Recording {
    /// In the order they passed.
    pub packets: Vec<Packet>,
}

/// One captured frame.
#[derive(Debug, Clone)]
pub struct Packet {
    /// All of it, from the Ethernet header on.
    pub bytes: Vec<u8>,
}

impl Recording {
    /// Reads a classic pcap file with Ethernet frames, as tcpdump writes it on this machine.
    pub fn parse(mut file: &[u8]) -> Result<Self> {
        let header = file.split_off(..24).context("no pcap header")?;
        ensure!(header.starts_with(&PCAP_MAGIC.to_ne_bytes()), "not a pcap file of this machine");
        let mut packets = Vec::new();
        while !file.is_empty() {
            let header = file.split_off(..16).context("a cut packet header")?;
            let length = header.get(8..12).and_then(|field| field.try_into().ok()).map(u32::from_ne_bytes);
            let length = usize::try_from(length.context("no length")?)?;
            let bytes = file.split_off(..length).context("a cut packet")?.to_vec();
            packets.push(Packet { bytes });
        }
        Ok(Self { packets })
    }

    /// How many captured frames hold `plaintext`.
    #[must_use]
    pub fn occurrences(&self, plaintext: &[u8]) -> usize {
        self.packets.iter().filter(|packet| packet.holds(plaintext)).count()
    }

    /// Bytes in the payloads of Raddle's port.
    #[must_use]
    pub fn sealed_bytes(&self) -> u64 {
        self.packets.iter().filter_map(|packet| packet.sealed()).map(|payload| payload.len() as u64).sum()
    }

    /// Pieces of packets that did not fit: there are none when the MTU inside is right.
    #[must_use]
    pub fn fragments(&self) -> usize {
        let is_piece =
            |packet: &&Packet| match SlicedPacket::from_ethernet(&packet.bytes).ok().and_then(|sliced| sliced.net) {
                Some(NetSlice::Ipv4(ip)) => ip.is_payload_fragmented(),
                Some(NetSlice::Ipv6(ip)) => ip.is_payload_fragmented(),
                Some(NetSlice::Arp(_)) | None => false,
            };
        self.packets.iter().filter(is_piece).count()
    }

    /// Everything that is neither sealed nor a neighbour looking for a neighbour: what must not be there.
    pub fn clear(&self) -> Result<Vec<&Packet>> {
        let mut clear = Vec::new();
        for packet in &self.packets {
            if packet.sealed().is_none() && !packet.is_housekeeping()? {
                clear.push(packet);
            }
        }
        Ok(clear)
    }
}

impl Packet {
    /// The payload, if it is UDP or TCP on Raddle's port between addresses of the underlay.
    #[must_use]
    pub fn sealed(&self) -> Option<&[u8]> {
        let sliced = SlicedPacket::from_ethernet(&self.bytes).ok()?;
        let (from, to) = addresses(sliced.net.as_ref()?)?;
        if !(is_underlay(from) && is_underlay(to)) {
            return None;
        }
        match sliced.transport.as_ref()? {
            TransportSlice::Udp(udp) => {
                [udp.source_port(), udp.destination_port()].contains(&PORT).then(|| udp.payload())
            }
            TransportSlice::Tcp(tcp) => {
                [tcp.source_port(), tcp.destination_port()].contains(&PORT).then(|| tcp.payload())
            }
            TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => None,
        }
    }

    fn holds(&self, text: &[u8]) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text)
    }

    /// ARP, IPv6 neighbour discovery and group membership of the hosts themselves.
    fn is_housekeeping(&self) -> Result<bool> {
        let sliced = match SlicedPacket::from_ethernet(&self.bytes) {
            Ok(sliced) => sliced,
            Err(error) => bail!("a frame that cannot be read: {error}"),
        };
        Ok(match (&sliced.net, &sliced.transport) {
            (Some(NetSlice::Arp(_)), _) => {
                self.bytes.get(28..32).is_some_and(|sender| sender.starts_with(&[10, 99, 0]))
            }
            (Some(NetSlice::Ipv6(_)), Some(TransportSlice::Icmpv6(message))) => {
                matches!(message.type_u8(), 130..=137 | 143)
            }
            (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Igmp(_))) => is_underlay(ip.header().source_addr().into()),
            _ => false,
        })
    }
}

fn addresses(net: &NetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    match net {
        NetSlice::Ipv4(ip) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
        NetSlice::Ipv6(ip) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
        NetSlice::Arp(_) => None,
    }
}

fn is_underlay(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets().starts_with(&[10, 99, 0]),
        IpAddr::V6(address) => address.segments().first() == Some(&0xfd99) || address.is_unicast_link_local(),
    }
}

/// Microseconds, in the byte order of the machine that wrote it.
const PCAP_MAGIC: u32 = 0xa1b2_c3d4;
/// What ends a capture, in clear and from nobody's address.
const MARK: &str = "end-of-the-capture";
/// Where the mark is sent: an address of the underlay that no host has, and that is not asked for.
const SINK: &str = "10.99.0.253";
/// tcpdump opens its socket in milliseconds.
const START: Duration = Duration::from_secs(10);
