//! The longer help texts: examples and exit status.
//!
//! Owns what stands below the list of options. Knows nothing of what the options do.

pub(super) const ABOUT: &str = "An encrypted network in which a container keeps its address wherever it runs";

pub(super) const ROOT: &str = "\
Start here:
  host1# raddle init                        a new cluster
  host1# raddle router &                    or: systemctl start raddle
  host1# raddle token create                prints a token
  host2# raddle join TOKEN host1            this host becomes a member
  host2# raddle router &
  host2# raddle status

Exit status: 0 done, 1 could not be done (the reason is on standard error), 2 wrong usage.";

pub(super) const INIT: &str = "\
Makes the host's identity, the cluster's authority and its address pool, and writes them to
the data directory. Nothing is sent anywhere. The pool cannot be changed later, and must not
overlap a network that the hosts use.

Examples:
  raddle init
  raddle init --name edge-1 --pool 10.200.0.0/16 --pool6
  raddle init --pool6=fd12:3456:789a::/64
  raddle init --password-file /etc/raddle/password

Then: raddle router";

pub(super) const JOIN_USAGE: &str = "\
raddle join [OPTIONS] <TOKEN|-> <ADDRESS>...
       raddle join [OPTIONS] --token-file <FILE> <ADDRESS>...
       raddle join [OPTIONS] --password-file <FILE> <ADDRESS>...";

pub(super) const JOIN: &str = "\
Asks at the addresses, one after the other, until a router answers; its answer counts.

A token given as an operand can be read by other users of this host (ps) for as long as the
command runs. That is for convenience: a token is normally good for one use only. Where it
matters, use - or --token-file.

Examples:
  raddle join TOKEN host1
  raddle join TOKEN 192.0.2.1:6783 [2001:db8::1]:6783 --name edge-2
  ssh host1 raddle token create | raddle join - host1
  raddle join --password-file /etc/raddle/password host1

Then: raddle router";

pub(super) const ROUTER: &str = "\
Needs an identity: raddle init or raddle join; or --password-file, with which the first start
joins the cluster at PEER, or begins one if no PEER is given.

Needs root, or CAP_NET_ADMIN, CAP_NET_RAW, CAP_CHOWN (where there is a group raddle) and a writable
data directory. Runs until SIGTERM or SIGINT.
Containers keep their interfaces and addresses while it is away; their connections to other
hosts go on when it is back.

Examples:
  raddle router
  raddle router host1 host2:6783
  raddle router --password-file /etc/raddle/password host1
  raddle router --listen 192.0.2.1 --advertise 198.51.100.7:6783
  raddle router --data-dir /srv/b --control-socket /run/b.sock --bridge raddle1 --tap tap1

Log level: RADDLE_LOG=debug raddle router";

pub(super) const TOKEN_CREATE: &str = "\
Prints the token alone on one line. Whoever has it can join until it is used up or expires, so
treat it like a password. It is good at the router that made it, not at others.

Examples:
  raddle token create
  raddle token create --ttl 10m --uses 5
  raddle token create --output json | jq -r .token";

pub(super) const TOKEN_LIST: &str = "\
A token is listed where it was made, until it is withdrawn. The list holds no secret.

Examples:
  raddle token list
  raddle token list --output json | jq -r '.tokens[] | select(.state == \"live\") | .id'

JSON: tokens[]{id, state, uses, expires_s}
States: live, used, expired";

pub(super) const TOKEN_WITHDRAW: &str = "\
For a token that went to the wrong place. Run it on the router that made the token. A host that
has joined by it already is a member, and stays one: see 'raddle revoke'.

Examples:
  raddle token withdraw 5f1d8c0a";

pub(super) const RENEW: &str = "\
For when the file noise.key may have been copied: with it alone somebody can pass for this
router. From when the others have heard of the new key, the old one opens nothing; connections
go on. Whoever copied the whole data directory has the signing key too: then run 'raddle revoke'
on another router, and join this host anew.

A router that is away learns of it when it returns. Renew one router after the other, so that no
two of them change keys while they cannot see each other.

Examples:
  raddle renew
  raddle renew --output json | jq -r '.away[]'

JSON: generation, away[]";

pub(super) const STATUS: &str = "\
Examples:
  raddle status
  raddle status --output json | jq -r '.warnings[]'

JSON: version, cluster, name, identity, uptime_s, listen[], pool, pool6,
      slots{owned, allocated, held, free}, peers{connected, known}, store, health, warnings[],
      drops{}";

pub(super) const PEERS: &str = "\
Examples:
  raddle peers
  raddle peers --output json | jq -r '.peers[] | select(.state != \"connected\") | .name'

JSON: peers[]{name, identity, address, state, path, via, rtt_ms, cipher, mtu_bytes,
      tx_bytes, rx_bytes, since_s, why}
States: connected, connecting, suspect (silent, or UDP does not get there), down, revoked
Paths:  direct, relay (through `via`)";

pub(super) const PS: &str = "\
Examples:
  raddle ps
  raddle ps --output json | jq -r '.containers[] | [.workload, .address] | @tsv'

JSON: containers[]{network, container_id, ifname, address, address6, mac, workload, netns,
      host_interface, drops{}}";

pub(super) const LEASES: &str = "\
Examples:
  raddle leases
  raddle leases --output json | jq '.leases[] | select(.state == \"held\")'

JSON: leases[]{network, workload, address, address6, mac, owner, epoch, state, container_id,
      ifname, since_s, held_for_s, moving_to}
States: active, held (kept for its workload to come back), fenced (blocked: moving, or another
        host's), frozen (moved too often)";

pub(super) const MOVES: &str = "\
From the oldest to the newest, the last thousand. A move stands under the moment at which this router
heard of it, by its host's clock: one that was away hears later, of a workload's last move to each host.

Examples:
  raddle moves
  raddle moves web
  raddle moves --output json | jq '.moves[] | select(.why == \"taken-over\")'

JSON: moves[]{at_unix_s, network, workload, ifname, address, address6, from, to, epoch, why}
Why:  followed (its workload was started there), asked (raddle move), taken-over, revoked";

pub(super) const CONNECT: &str = "\
Any one member is enough: the others are learned from it. The addresses are remembered over a restart.

Examples:
  raddle connect host3
  raddle connect 192.0.2.3:6783 [2001:db8::3]:6783";

pub(super) const FORGET: &str = "\
Routers that are connected stay connected, and members keep telling each other where they are:
to put a router out of the cluster, see raddle revoke.

Examples:
  raddle forget host3";

pub(super) const RESERVE: &str = "\
The address is kept until the workload starts, and after that whenever it is away, on whichever host,
until raddle release. Without ADDRESS any free one is taken. A workload whose address is held by
another host has it taken here.

Examples:
  raddle reserve db
  raddle reserve shop/db-0 10.32.0.9

JSON: the lease: network, workload, address, address6, gateway, gateway6, mac, mtu_bytes, bridge,
      host_interface, epoch";

pub(super) const MOVE: &str = "\
Stops and starts nothing. If the workload runs, its address goes to HOST as soon as it stops, for the
next ten minutes, and a start on HOST waits for that; if it does not run, its address goes at once. The
next start on HOST then needs nobody else. raddle leases shows on every host what is to move where.

With --take-over the address goes at once in either case: a container that still has it is cut off from
the network, and runs on. For hosts that answer; for one that does not, see raddle revoke.

The workload is as raddle leases shows it: a podman container's name, a pod's NAMESPACE/NAME.

Examples:
  raddle move web --to host2
  podman rm -f web        on the old host
  podman run --name web   on host2
  raddle move default/db-0 --to host2 --take-over
  raddle move web --cancel

JSON: workload, to, state (ready, waiting), holder, container_id";

pub(super) const RELEASE: &str = "\
A workload's address is held for a while after its container is deleted, so that it comes back
with the same one. This ends the hold now, on the host that holds it. A workload that still runs is
not touched.

Examples:
  raddle release web
  raddle release --network raddle shop/db-0";

pub(super) const REVOKE: &str = "\
For hosts that are lost or stolen, never for ones that are only down. Every member refuses the
router from here on, its addresses pass to others, and it can come back only by joining anew.
This cannot be undone. The addresses pass on when every other member has promised to refuse it;
the answer names those that have not yet. Whoever sees it alive promises only when a second
router asks too: to revoke one that still answers, run this on two hosts.

A router in wrong hands can let others in until it is revoked. --with-admitted revokes these too,
and whom they let in, unless they are connected to this router: look at 'raddle peers' first.

Examples:
  raddle revoke host3
  raddle revoke --with-admitted host3";

pub(super) const INSTALL_CNI: &str = "\
Copies raddle-cni, which lies beside this program, by renaming: containers can be attached
while it runs. Then asks the router whether it is ready, and only then writes
10-raddle.conflist, from which a runtime concludes that the network works. A configuration
that is there already is left as it is. Repeat it after an upgrade.

Examples:
  raddle install-cni
  raddle install-cni --bin-dir /usr/lib/cni --conf-dir /etc/cni/net.d";
