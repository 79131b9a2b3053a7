//! The container's edge in real network namespaces: bridge, attach, detach, announce.
//!
//! Needs root: without it every test here fails, and says so.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is not as expected")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hostnet::announce::Announcer;
use hostnet::bridge::{self, Bridge, EnsureBridgeError};
use hostnet::forwarding::{self, Family};
use hostnet::link::{self, LinkState, Prefix};
use hostnet::netns::Netns;
use hostnet::route::overlapping_route;
use hostnet::veth::{self, Attach, AttachError, DetachError, Hairpin, Port, Route};

#[path = "edge/guard.rs"]
mod guard;
#[path = "edge/super_frames.rs"]
mod super_frames;
#[path = "edge/threads.rs"]
mod threads;

const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const MTU: u32 = 1389;
/// A packet on one machine, which may compile at the same time.
const LEARNED: Duration = Duration::from_secs(10);

/// A network namespace that goes when the test ends, however it ends.
struct Space {
    name: String,
}

impl Space {
    fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hn{}-{}-{role}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &name]).output().expect("iproute2 is installed");
        assert!(made.status.success(), "these tests need root and CAP_NET_ADMIN: {}", text(&made.stderr));
        Self { name }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/run/netns/{}", self.name))
    }

    fn open(&self) -> Netns {
        Netns::open(self.path()).unwrap()
    }

    fn run(&self, command: &[&str]) -> Output {
        Command::new("ip").args(["netns", "exec", &self.name]).args(command).output().unwrap()
    }

    fn ok(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {} {}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| prefix(text)).collect()
}

fn wanted_bridge() -> Bridge {
    Bridge {
        name: "raddle0".to_owned(),
        mac: GATEWAY_MAC,
        mtu_bytes: MTU,
        addresses: prefixes(&["10.32.0.1/12", "fd00:32::1/64"]),
    }
}

/// One container as most tests want it.
struct Container {
    space: Space,
    number: u8,
}

impl Container {
    fn new(number: u8) -> Self {
        Self { space: Space::new("container"), number }
    }

    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number]
    }

    fn host_interface(&self) -> String {
        format!("rd00000000000{}", self.number)
    }

    fn addresses(&self) -> Vec<Prefix> {
        prefixes(&[&format!("10.32.0.{}/12", self.number), &format!("fd00:32::{}/64", self.number)])
    }

    fn attach(&self, host: &Space) -> Result<veth::Attached, AttachError> {
        self.attach_with(host, &default_routes())
    }

    fn attach_with(&self, host: &Space, routes: &[Route]) -> Result<veth::Attached, AttachError> {
        let netns = self.space.open();
        let attach = Attach {
            bridge: "raddle0",
            host_interface: &self.host_interface(),
            owner: &self.owner(),
            netns: &netns,
            ifname: "eth0",
            mac: self.mac(),
            mtu_bytes: MTU,
            hairpin: Hairpin::On,
            addresses: &self.addresses(),
            routes,
        };
        host.open().run(|| veth::attach(&attach)).unwrap()
    }

    fn detach(&self, host: &Space, owner: &str) -> Result<(), DetachError> {
        host.open().run(|| veth::detach(&self.host_interface(), owner)).unwrap()
    }

    /// Gives it outdated neighbours.
    fn knows(&self, addresses: &[&str]) {
        // Else the kernel lets no entry change within a second of its last change.
        self.space.ok(&["sysctl", "-qw", "net.ipv4.neigh.eth0.locktime=0"]);
        for address in addresses {
            let stale = ["lladdr", "02:de:ad:00:00:00", "nud", "stale", "dev", "eth0"];
            self.space.ok(&[&["ip", "neigh", "add", address], stale.as_slice()].concat());
        }
    }

    /// Both neighbours have that MAC.
    fn learns(&self, mac: &str) {
        let begin = Instant::now();
        loop {
            let entries = self.space.ok(&["ip", "neigh"]);
            if entries.matches(mac).count() == 2 {
                return;
            }
            assert!(begin.elapsed() < LEARNED, "{entries}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn owner(&self) -> String {
        format!("raddle test container{} eth0", self.number)
    }
}

fn default_routes() -> Vec<Route> {
    let gateways: [IpAddr; 2] = ["10.32.0.1".parse().unwrap(), "fd00:32::1".parse().unwrap()];
    vec![
        Route { destination: Prefix::ALL_V4, gateway: Some(gateways[0]) },
        Route { destination: Prefix::ALL_V6, gateway: Some(gateways[1]) },
    ]
}

/// A host with its bridge, and a tap's stand-in that gives the bridge a carrier: one end of a veth pair.
fn host() -> Space {
    let host = Space::new("host");
    host.ok(&["ip", "link", "add", "tap-in", "type", "veth", "peer", "name", "tap-out"]);
    host.ok(&["ip", "link", "set", "tap-out", "up"]);
    host.open().run(|| bridge::ensure(&wanted_bridge())).unwrap().unwrap();
    host.open().run(|| bridge::enslave_tap("raddle0", "tap-in", MTU)).unwrap().unwrap();
    host
}

fn interfaces(space: &Space) -> Vec<String> {
    space.open().run(link::list).unwrap().unwrap().into_iter().map(|link| link.name).collect()
}

#[test]
fn a_bridge_is_made_once_and_kept_as_it_is_wanted() {
    let host = Space::new("host");
    let first = host.open().run(|| bridge::ensure(&wanted_bridge())).unwrap().unwrap();
    host.ok(&["ip", "address", "add", "192.0.2.1/24", "dev", "raddle0"]);
    host.ok(&["ip", "link", "set", "raddle0", "mtu", "1300"]);
    let second = host.open().run(|| bridge::ensure(&wanted_bridge())).unwrap().unwrap();
    assert_eq!(first, second);
    let links = host.open().run(link::list).unwrap().unwrap();
    let made = links.iter().find(|link| link.name == "raddle0").unwrap();
    assert_eq!(made.mac, Some(GATEWAY_MAC));
    assert_eq!(made.mtu_bytes, MTU);
    assert_ne!(made.state, LinkState::Down);
    let shown = host.ok(&["ip", "-d", "address", "show", "raddle0"]);
    for part in ["10.32.0.1/12", "fd00:32::1/64", "mcast_snooping 0", "forward_delay 0", "stp_state 0"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for part in ["192.0.2.1", "tentative", "dadfailed"] {
        assert!(!shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(host.ok(&["cat", "/proc/sys/net/ipv6/conf/raddle0/accept_ra"]).trim(), "0");
    host.open().run(|| bridge::remove("raddle0")).unwrap().unwrap();
    host.open().run(|| bridge::remove("raddle0")).unwrap().unwrap();
    assert!(!interfaces(&host).contains(&"raddle0".to_owned()));
}

#[test]
fn something_else_of_the_bridges_name_is_left_alone() {
    let host = Space::new("host");
    host.ok(&["ip", "link", "add", "raddle0", "type", "veth", "peer", "name", "other"]);
    let refused = host.open().run(|| bridge::ensure(&wanted_bridge())).unwrap().unwrap_err();
    assert!(matches!(refused, EnsureBridgeError::NotABridge { .. }), "{refused}");
    assert!(refused.to_string().contains("raddle0"), "{refused}");
    let refused = host.open().run(|| bridge::remove("raddle0")).unwrap().unwrap_err();
    assert!(matches!(refused, EnsureBridgeError::NotABridge { .. }), "{refused}");
    assert!(interfaces(&host).contains(&"raddle0".to_owned()));
}

#[test]
fn containers_reach_each_other_and_the_gateway_at_once_in_both_families() {
    let host = host();
    let (one, two) = (Container::new(5), Container::new(6));
    two.attach(&host).unwrap();
    one.attach(&host).unwrap();
    for target in ["10.32.0.6", "10.32.0.1", "fd00:32::6", "fd00:32::1"] {
        one.space.ok(&["ping", "-n", "-c", "1", "-W", "1", target]);
    }
    let shown = one.space.ok(&["ip", "-d", "address", "show", "eth0"]);
    for part in ["10.32.0.5/12", "fd00:32::5/64", "02:00:00:00:00:05", "mtu 1389", "state UP"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("tentative"), "{shown}");
    assert!(one.space.ok(&["ip", "route"]).contains("default via 10.32.0.1 dev eth0"));
    assert!(one.space.ok(&["ip", "-6", "route"]).contains("default via fd00:32::1 dev eth0"));
    assert!(one.space.ok(&["ip", "link", "show", "lo"]).contains("UP"));
}

#[test]
fn a_port_learns_nothing_and_has_a_static_entry_for_its_container() {
    let host = host();
    let one = Container::new(5);
    let attached = one.attach(&host).unwrap();
    assert_eq!(attached.bridge.mac, Some(GATEWAY_MAC));
    assert_eq!(attached.host.mtu_bytes, MTU);
    assert_eq!(attached.host.controller, Some(attached.bridge.index));
    assert_eq!(attached.host.alias.as_deref(), Some(one.owner().as_str()));
    let port = host.ok(&["bridge", "-d", "link", "show", "dev", &one.host_interface()]);
    for part in ["learning off", " flood off", "mcast_flood on", "bcast_flood on", "hairpin on", "state forwarding"] {
        assert!(port.contains(part), "{part}: {port}");
    }
    let tap = host.ok(&["bridge", "-d", "link", "show", "dev", "tap-in"]);
    assert!(tap.contains("learning off") && tap.contains(" flood on"), "{tap}");
    let entries = host.ok(&["bridge", "fdb", "show", "dev", &one.host_interface()]);
    assert!(entries.contains("02:00:00:00:00:05 master raddle0 static"), "{entries}");
    let addresses = host.ok(&["ip", "-6", "address", "show", "dev", &one.host_interface()]);
    assert_eq!(addresses.trim(), "", "the host has an address on the port");
}

#[test]
fn a_smaller_mtu_is_for_the_bridge_and_never_for_a_port_whose_far_end_cannot_follow() {
    let host = Space::new("host");
    host.ok(&["ip", "tuntap", "add", "tap0", "mode", "tap"]);
    host.open().run(|| bridge::ensure(&wanted_bridge())).unwrap().unwrap();
    host.open().run(|| bridge::enslave_tap("raddle0", "tap0", MTU)).unwrap().unwrap();
    let one = Container::new(5);
    one.attach(&host).unwrap();
    let mtu_of = |name: &str| {
        let links = host.open().run(link::list).unwrap().unwrap();
        links.iter().find(|link| link.name == name).unwrap().mtu_bytes
    };
    let is_wanted = |mtu_bytes| bridge::wants_mtu(&host.open().run(link::list).unwrap().unwrap(), "raddle0", mtu_bytes);
    for (wanted, tap) in [(1200, MTU), (8889, 8889), (MTU, MTU)] {
        assert!(is_wanted(wanted));
        host.open().run(|| bridge::set_mtu("raddle0", wanted)).unwrap().unwrap();
        assert_eq!([mtu_of("raddle0"), mtu_of("tap0"), mtu_of(&one.host_interface())], [wanted, tap, MTU]);
        assert!(!is_wanted(wanted));
    }
    host.ok(&["ip", "link", "set", &one.host_interface(), "mtu", "1500"]);
    assert!(is_wanted(MTU), "a port is larger than the tap");
}

#[test]
fn a_name_that_is_taken_is_an_error_that_changes_nothing() {
    let host = host();
    let one = Container::new(5);
    one.space.ok(&["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x"]);
    let before = interfaces(&host);
    let refused = one.attach(&host).unwrap_err();
    assert!(matches!(refused, AttachError::InterfaceExists { .. }), "{refused}");
    assert_eq!(interfaces(&host), before);
    assert!(host.open().run(|| veth::exists(&one.space.open(), "eth0")).unwrap().unwrap());
    one.space.ok(&["ip", "link", "del", "eth0"]);
    assert!(!host.open().run(|| veth::exists(&one.space.open(), "eth0")).unwrap().unwrap());
    one.attach(&host).unwrap();
    // The kernel calls the link-local address tentative until it has looked that it need not be.
    let shown = || one.space.ok(&["ip", "address", "show", "eth0"]).replace(" tentative", "");
    let before = shown();
    let refused = one.attach(&host).unwrap_err();
    assert!(matches!(refused, AttachError::HostInterfaceExists { .. }), "{refused}");
    assert!(refused.to_string().contains(&one.owner()), "{refused}");
    assert_eq!(shown(), before);
}

#[test]
fn what_fails_half_way_leaves_nothing_on_either_side() {
    let host = host();
    let one = Container::new(5);
    let before = interfaces(&host);
    let unreachable: IpAddr = "192.0.2.1".parse().unwrap();
    let routes = [Route { destination: prefix("198.51.100.0/24"), gateway: Some(unreachable) }];
    let refused = one.attach_with(&host, &routes).unwrap_err();
    assert!(matches!(refused, AttachError::Route { .. }), "{refused}");
    assert_eq!(interfaces(&host), before);
    assert_eq!(interfaces(&one.space), ["lo"]);
    host.ok(&["ip", "link", "set", "raddle0", "down"]);
    let refused = one.attach(&host).unwrap_err();
    assert!(matches!(refused, AttachError::Blocked { .. }), "{refused}");
    assert_eq!(interfaces(&host), before);
    host.ok(&["ip", "link", "set", "raddle0", "up"]);
    one.attach(&host).unwrap();
}

#[test]
fn without_the_bridge_nothing_is_made() {
    let host = Space::new("host");
    let one = Container::new(5);
    let refused = one.attach(&host).unwrap_err();
    assert!(matches!(refused, AttachError::NoBridge { .. }), "{refused}");
    assert_eq!(interfaces(&host), ["lo"]);
    assert_eq!(interfaces(&one.space), ["lo"]);
}

#[test]
fn only_the_owner_detaches_and_as_often_as_he_likes() {
    let host = host();
    let one = Container::new(5);
    one.attach(&host).unwrap();
    let refused = one.detach(&host, "somebody else").unwrap_err();
    assert!(matches!(refused, DetachError::Foreign { .. }), "{refused}");
    assert!(interfaces(&one.space).contains(&"eth0".to_owned()));
    one.detach(&host, &one.owner()).unwrap();
    one.detach(&host, &one.owner()).unwrap();
    assert_eq!(interfaces(&one.space), ["lo"]);
    one.attach(&host).unwrap();
}

#[test]
fn a_namespace_that_is_gone_takes_the_pair_along() {
    let host = host();
    let one = Container::new(5);
    one.attach(&host).unwrap();
    let (interface, owner) = (one.host_interface(), one.owner());
    drop(one);
    host.open().run(|| veth::detach(&interface, &owner)).unwrap().unwrap();
    assert!(!interfaces(&host).contains(&interface));
}

#[test]
fn a_fenced_port_lets_nothing_pass_until_it_is_opened() {
    let host = host();
    let one = Container::new(5);
    one.attach(&host).unwrap();
    let entry = || host.ok(&["bridge", "fdb", "show", "dev", &one.host_interface()]).contains("static");
    assert!(entry());
    host.open().run(|| veth::fence(&one.host_interface())).unwrap().unwrap();
    // Nothing leads to it, so that what has its MAC elsewhere is reached from here.
    assert!(!entry());
    assert!(!one.space.run(&["ping", "-n", "-c", "1", "-W", "1", "10.32.0.1"]).status.success());
    host.open().run(|| veth::open(&one.host_interface(), one.mac())).unwrap().unwrap();
    assert!(entry());
    one.space.ok(&["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "10.32.0.1"]);
    assert!(one.space.ok(&["ip", "route"]).contains("default via 10.32.0.1"), "the container kept its route");
}

#[test]
fn an_observer_sees_what_is_there_and_what_is_missing() {
    let host = host();
    let one = Container::new(5);
    one.attach(&host).unwrap();
    let look = || {
        let netns = one.space.open();
        host.open().run(|| veth::observe(&netns, "eth0", &one.host_interface(), "raddle0")).unwrap().unwrap()
    };
    let whole = look();
    let container = whole.container.unwrap();
    assert_eq!(container.mac, Some(one.mac()));
    assert!(one.addresses().iter().all(|address| container.addresses.contains(address)));
    assert!(default_routes().iter().all(|route| whole.routes.contains(route)), "{:?}", whole.routes);
    assert_eq!(whole.port, Port::Open);
    assert_eq!(whole.host.unwrap().controller, Some(whole.bridge.unwrap().index));
    one.space.ok(&["ip", "route", "del", "default"]);
    one.space.ok(&["ip", "address", "del", "10.32.0.5/12", "dev", "eth0"]);
    host.ok(&["ip", "link", "set", &one.host_interface(), "nomaster"]);
    let broken = look();
    assert!(!broken.routes.contains(&default_routes()[0]));
    assert!(!broken.container.unwrap().addresses.contains(&prefix("10.32.0.5/12")));
    assert_eq!(broken.port, Port::Fenced);
    assert_eq!(broken.host.unwrap().controller, None);
}

#[test]
fn an_announcement_through_the_bridge_corrects_a_neighbours_stale_entry() {
    let host = host();
    let one = Container::new(5);
    one.attach(&host).unwrap();
    one.knows(&["10.32.0.9", "fd00:32::9"]);
    let addresses = ["10.32.0.9".parse().unwrap(), "fd00:32::9".parse().unwrap()];
    let announce =
        || Announcer::open("raddle0").and_then(|announcer| announcer.announce([2, 0, 0, 0, 0, 9], &addresses));
    host.open().run(announce).unwrap().unwrap();
    one.learns("02:00:00:00:00:09");
}

#[test]
fn an_attachment_corrects_its_neighbours_stale_entries() {
    let host = host();
    let (one, two) = (Container::new(5), Container::new(6));
    one.attach(&host).unwrap();
    one.knows(&["10.32.0.6", "fd00:32::6"]);
    two.attach(&host).unwrap();
    one.learns("02:00:00:00:00:06");
}

#[test]
fn a_host_that_begins_to_forward_listens_to_its_routers_where_it_did_and_nowhere_else() {
    let host = Space::new("host");
    let setting = |interface: &str| format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra");
    let listens = |interface: &str| host.ok(&["cat", &setting(interface)]).trim().to_owned();
    for (interface, value) in [("listens", "1"), ("deaf", "0")] {
        host.ok(&["ip", "link", "add", interface, "type", "bridge"]);
        host.ok(&["sh", "-c", "echo $1 > $0", &setting(interface), value]);
    }
    host.ok(&["sh", "-c", "echo 1 > $0", &setting("default")]);
    host.open().run(|| forwarding::switch_on(Family::V6)).unwrap().unwrap();
    host.ok(&["ip", "link", "add", "later", "type", "bridge"]);
    assert_eq!(["listens", "deaf", "default", "later"].map(listens), ["2", "0", "1", "1"]);
    assert_eq!(host.ok(&["cat", "/proc/sys/net/ipv6/conf/later/forwarding"]).trim(), "1");
}

#[test]
fn a_pool_that_crosses_a_route_is_seen() {
    let host = Space::new("host");
    host.ok(&["ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far"]);
    host.ok(&["ip", "address", "add", "10.40.0.2/24", "dev", "uplink"]);
    host.ok(&["ip", "link", "set", "uplink", "up"]);
    host.ok(&["ip", "route", "add", "default", "via", "10.40.0.1"]);
    let overlap = |pool: &str, except| host.open().run(|| overlapping_route(prefix(pool), except)).unwrap().unwrap();
    let found = overlap("10.32.0.0/12", None).unwrap();
    assert_eq!((found.route, found.interface.as_str()), (prefix("10.40.0.0/24"), "uplink"));
    assert_eq!(overlap("10.32.0.0/12", Some("uplink")), None);
    assert_eq!(overlap("10.64.0.0/12", None), None, "a default route does not count");
    assert_eq!(overlap("fd00:32::/64", None), None);
}
