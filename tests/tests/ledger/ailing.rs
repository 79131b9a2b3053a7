//! Disks that answer with errors: what is said, what is kept, and how it goes on when they are well again.
//!
//! ```text
//!   /var/lib/raddle    ext4: its own tables and a ballast low, the store high
//!   loop device        cut off above CUT, it has errors for what lies high
//!   image in a tmpfs   sparse: when the tmpfs is full, what lies high and was never written has no place
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use control_api::{ClientError, ErrorKind, Health, StoreState};
use tests::{Cluster, Host, Stage, Underlay, until};

use crate::client::Asker;
use crate::disks::{DATA, active};

/// One way to be ill.
struct Illness {
    /// Options of the mount.
    options: &'static str,
    falls_ill: &'static str,
    recovers: &'static str,
    /// In what the operator reads.
    said: &'static [&'static str],
}

/// In the order of the hosts.
const ILLNESSES: [Illness; 3] = [
    // Thinly provisioned, and the pool is full: writes are taken, and fail when they are synced.
    Illness {
        options: "loop",
        falls_ill: "cat /dev/zero > /run/ground/rubbish || true",
        recovers: "rm /run/ground/rubbish",
        said: &["No space left on device", "free space on the disk", "goes on by itself"],
    },
    Illness {
        options: "loop",
        falls_ill: "python3 -c \"$CUT\" \"$(findmnt -n -o SOURCE $DATA)\" $((12 << 20))",
        recovers: "python3 -c \"$CUT\" \"$(findmnt -n -o SOURCE $DATA)\" 0",
        said: &["Input/output error", "dmesg", "goes on by itself", "raddle revoke"],
    },
    // The file system gives up, and takes no writes until it was mounted again.
    Illness {
        options: "loop,data_err=abort",
        falls_ill: "python3 -c \"$CUT\" \"$(findmnt -n -o SOURCE $DATA)\" $((12 << 20))",
        recovers: "until umount $DATA; do sleep 0.05; done; e2fsck -fp /run/ground/image; \
                   mount -o loop /run/ground/image $DATA",
        said: &["Read-only file system", "fsck", "mount it again", "goes on by itself"],
    },
];

/// The sectors of a loop device, cut off at so many bytes; 0 is all of them (`LOOP_GET_STATUS64`, `LOOP_SET_STATUS64`).
const CUT: &str = "
import fcntl, os, sys
device, info = os.open(sys.argv[1], os.O_RDONLY), bytearray(232)
fcntl.ioctl(device, 0x4C05, info)
info[32:40] = int(sys.argv[2]).to_bytes(8, 'little')
fcntl.ioctl(device, 0x4C04, info)
";

/// The tables of the file system lie below the ballast and have their place in the tmpfs from the start: only what the store
/// writes is in danger. (A kernel that cannot read a table of ext4 asks for it for ever.)
const LAY: &str = "set -e
mkdir -p /run/ground $DATA
mount -t tmpfs -o size=96m tmpfs /run/ground
truncate -s 64m /run/ground/image
mkfs.ext4 -q -F -b 4096 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard /run/ground/image
mount -o $OPTIONS /run/ground/image $DATA
chmod 700 $DATA
mkdir -m 700 $DATA/spool
cat /dev/zero | head -c 16M > $DATA/ballast
umount $DATA
dd if=/run/ground/image of=/run/ground/image bs=1M count=24 conv=notrunc status=none
mount -o $OPTIONS /run/ground/image $DATA";

fn shell(host: &Host, illness: &Illness, script: &str) -> Result<String> {
    let environment = [("DATA", DATA), ("CUT", CUT), ("OPTIONS", illness.options)];
    host.run_env(&environment, &["sh", "-c", script], b"")?.ok()
}

/// Addresses that were given, by who asked.
type Given = BTreeMap<String, Ipv4Addr>;

fn falls_ill_and_recovers(host: &Host, illness: &Illness) -> Result<Given> {
    let asker = Asker::of(host);
    let mut given = Given::from([(String::from("before"), asker.allocate("before", None)?)]);
    shell(host, illness, illness.falls_ill)?;
    let fell_ill = Instant::now();
    let refusal = loop {
        let name = format!("during-{}", given.len());
        match asker.allocate(&name, None) {
            Ok(address) => drop(given.insert(name, address)),
            Err(ClientError::Refused(refusal)) => break refusal,
            Err(other) => bail!("{other}"),
        }
        ensure!(given.len() < 500, "a disk with errors takes everything");
    };
    ensure!(refusal.code == ErrorKind::ReadOnly && refusal.remedy.is_some(), "{refusal:?}");
    let (noticed, claims) = (fell_ill.elapsed(), given.len());
    until("the operator reads what is wrong", RECOVERED, || {
        let status = asker.status()?;
        let told = status.warnings.join(" ");
        ensure!((status.store, status.health) == (StoreState::ReadOnly, Health::Failing), "{status:?}");
        ensure!(illness.said.iter().all(|word| told.contains(word)), "{told}");
        Ok(Some(()))
    })?;
    // Asked while it is ill, everything is refused alike.
    match asker.allocate("ill", None) {
        Err(ClientError::Refused(refusal)) if refusal.code == ErrorKind::ReadOnly => {}
        other => bail!("{other:?}"),
    }
    for verb in [["token", "create"].as_slice(), &["renew"]] {
        let (_, said) = host.raddle(verb)?.refused()?;
        ensure!(illness.said.iter().all(|word| said.contains(word)), "{verb:?}: {said}");
    }
    // Of the key in use there may be no other file.
    ensure!(!host.run(&["test", "-e", &format!("{DATA}/noise.key.next")])?.is_ok(), "a key was written");
    shell(host, illness, illness.recovers)?;
    let recovered = Instant::now();
    let after = until("addresses are given again", RECOVERED, || Ok(Some(asker.allocate("after", None)?)))?;
    given.insert(String::from("after"), after);
    let status = asker.status()?;
    ensure!((status.store, status.health) == (StoreState::Ok, Health::Ok), "{status:?}");
    writeln!(
        std::io::stdout(),
        "{}: refused after {claims} addresses and {noticed:.1?}; given again {:.1?} after the disk was well",
        host.name(),
        recovered.elapsed(),
    )?;
    Ok(given)
}

#[test]
fn a_disk_with_errors_is_named_and_gone_on_with_and_nothing_acknowledged_is_lost() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let beds = || stage.hosts().iter().zip(&ILLNESSES);
    beds().try_for_each(|(host, illness)| shell(host, illness, LAY).map(drop))?;
    let mut cluster = Cluster::form(&stage)?;
    let given = thread::scope(|scope| {
        let ill: Vec<_> = beds().map(|(host, illness)| scope.spawn(|| falls_ill_and_recovers(host, illness))).collect();
        ill.into_iter().map(|one| one.join().map_err(|_| anyhow!("a host panicked"))?).collect::<Result<Vec<Given>>>()
    })?;
    let all: Vec<_> = given.iter().flat_map(Given::values).collect();
    ensure!(all.iter().collect::<BTreeSet<_>>().len() == all.len(), "an address was given twice: {given:?}");
    until("the key is renewed", RECOVERED, || Ok(cluster.router(1)?.raddle(&["renew"])?.is_ok().then_some(())))?;
    // What counts is what the disk has, not what the kernel remembers of it.
    for (number, (host, illness)) in (1..).zip(beds()) {
        cluster.router_mut(number)?.kill()?;
        shell(
            host,
            illness,
            "umount $DATA && e2fsck -fn /run/ground/image && mount -o loop,ro /run/ground/image $DATA",
        )?;
        let (code, said) = host.raddle(&["router"])?.refused()?;
        ensure!(code == 1 && said.contains("Read-only file system") && said.contains("mount it again"), "{said}");
        shell(host, illness, "umount $DATA && mount -o loop /run/ground/image $DATA")?;
        cluster.router_mut(number)?.start_again()?;
    }
    cluster.until_whole()?;
    for (host, given) in stage.hosts().iter().zip(&given) {
        let kept = active(&Asker::of(host), host.name())?;
        ensure!(given.iter().all(|(name, address)| kept.get(name) == Some(address)), "{given:?} {kept:?}");
    }
    Ok(())
}

/// A frozen file system; whatever has to be written waits until this goes.
struct Frozen<'a>(&'a Host);

impl<'a> Frozen<'a> {
    fn freeze(host: &'a Host) -> Result<Self> {
        host.run(&["fsfreeze", "--freeze", DATA])?.ok()?;
        Ok(Self(host))
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(&["fsfreeze", "--unfreeze", DATA]);
    }
}

#[test]
fn a_disk_that_does_not_answer_is_named_and_waited_for() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let (host, [bed, ..]) = (stage.host(1)?, &ILLNESSES);
    shell(host, bed, LAY)?;
    let _cluster = Cluster::form(&stage)?;
    let asker = Asker::of(host);
    let before = asker.allocate("before", None)?;
    let waiting = thread::scope(|scope| -> Result<_> {
        let frozen = Frozen::freeze(host)?;
        let waiting = scope.spawn(|| asker.allocate("waiting", None));
        until("the operator reads what is waited for", RECOVERED, || {
            let status = asker.status()?;
            let told = status.warnings.join(" ");
            ensure!(status.health == Health::Degraded && told.contains("has not answered"), "{status:?}");
            Ok(Some(()))
        })?;
        drop(frozen);
        waiting.join().map_err(|_| anyhow!("the claim panicked"))
    })??;
    let after = until("all is well", RECOVERED, || {
        let status = asker.status()?;
        ensure!((status.health, status.store) == (Health::Ok, StoreState::Ok), "{status:?}");
        Ok(Some(asker.allocate("after", None)?))
    })?;
    ensure!(before != waiting && waiting != after && after != before, "{before} {waiting} {after}");
    Ok(())
}

/// A router looks at its disk every three seconds.
const RECOVERED: Duration = Duration::from_secs(30);
