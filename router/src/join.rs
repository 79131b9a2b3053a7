//! Becoming a member: calls a sponsor, proves a secret, and keeps what it grants.
//!
//! Owns the connection and its patience. The conversation itself is the mesh's.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use mesh::{Candidate, JoinError, Joined, Joiner, Progress, RefuseReason, Token};
use wire::PeerName;
use zeroize::Zeroizing;

use crate::cli::{Globals, InitArgs, JoinArgs, JoinSecret, PeerAddress};
use crate::config::{Config, host_name};
use crate::datadir::DataDir;
use crate::found::{self, Keys, Membership};
use crate::streams::LONGEST_GRANT;
use crate::{random, say};

/// `raddle join`.
pub(crate) fn by_command(globals: &Globals, args: &JoinArgs) -> anyhow::Result<()> {
    let name = args.name.clone().map_or_else(host_name, Ok)?;
    let secret = args.read_secret()?;
    if let JoinSecret::Token(text) = &secret {
        text.parse::<Token>()?;
    }
    let data_dir = DataDir::create(&globals.data_dir)?;
    data_dir.refuse_a_second()?;
    let cluster = join_patiently(&data_dir, &name, &secret, &args.addresses())?;
    let text = format!(
        "{name} is a member of cluster {}\n\nnext:\n  raddle router            run it (or: systemctl start raddle)\n",
        cluster.short()
    );
    say(globals, &text, &serde_json::json!({ "cluster": cluster.to_string(), "name": name.to_string() }))
}

/// `raddle router --password-file` on a new host: joins whoever is named, or begins a cluster if nobody is.
pub(crate) fn by_password(config: &Config, data_dir: &DataDir) -> anyhow::Result<()> {
    let Some(password) = &config.password else {
        bail!(
            "{} holds no router yet; run 'raddle init' for a new cluster, 'raddle join TOKEN HOST' to become a member, or \
             give --password-file",
            data_dir.path().display(),
        );
    };
    let name = config.name.clone().map_or_else(host_name, Ok)?;
    if config.peers.is_empty() {
        tracing::info!(%name, "nobody to join was named: beginning a cluster");
        return crate::begin_cluster(data_dir, &InitArgs::for_password(name), Some(password), &config.bridge).map(drop);
    }
    let secret = JoinSecret::Password(password.clone());
    loop {
        match join(data_dir, &name, &secret, &config.peers) {
            Ok(cluster) => {
                tracing::info!(%name, cluster = %cluster.short(), "joined");
                return Ok(());
            }
            // Hosts that start together find each other in any order; a refusal stays one.
            Err(error) if error.is::<Unreachable>() || error.is::<Interrupted>() => {
                tracing::warn!("{error:#}; trying again");
                std::thread::sleep(pause(&error));
            }
            Err(error) => return Err(error),
        }
    }
}

/// A sponsor that was reached and did not come to an answer has many others to answer, or is being restarted.
fn join_patiently(
    data_dir: &DataDir,
    name: &PeerName,
    secret: &JoinSecret,
    peers: &[PeerAddress],
) -> anyhow::Result<wire::ClusterId> {
    let until = Instant::now() + ANSWER;
    loop {
        match join(data_dir, name, secret, peers) {
            Err(error) if error.is::<Interrupted>() && Instant::now() + pause(&error) < until => {
                std::thread::sleep(pause(&error));
            }
            joined => return joined,
        }
    }
}

/// Between two attempts: different on each of many hosts that were turned away together.
fn pause(error: &anyhow::Error) -> Duration {
    let [random] = random();
    after(error).mul_f64(0.5 + f64::from(random) / 256.0)
}

fn after(error: &anyhow::Error) -> Duration {
    error.downcast_ref::<Interrupted>().map_or(AGAIN, |interrupted| interrupted.after)
}

/// Asks at each address until one answers. Whoever takes the connection and comes to no answer is no reason not to ask the next.
fn join(
    data_dir: &DataDir,
    name: &PeerName,
    secret: &JoinSecret,
    peers: &[PeerAddress],
) -> anyhow::Result<wire::ClusterId> {
    // On the disk before the first byte is sent: a lost answer can be asked for again by the same identity.
    let keys = Keys::prepare(data_dir)?;
    let (mut unreachable, mut interrupted): (Vec<String>, Option<anyhow::Error>) = (Vec::new(), None);
    for peer in peers {
        match resolve(peer).and_then(|addresses| dial(&addresses)) {
            Ok(stream) => match converse(stream, &keys, name, secret) {
                Ok(membership) => {
                    let cluster = mesh::cluster_id(&membership.genesis);
                    found::settle(data_dir, membership)?;
                    return Ok(cluster);
                }
                Err(error) => {
                    let error = error.context(format!("cannot join at {peer}"));
                    if !error.is::<Interrupted>() {
                        return Err(error);
                    }
                    // Each has said when to come again: then it is time for all of them.
                    interrupted = interrupted.into_iter().chain([error]).max_by_key(after);
                }
            },
            Err(error) => unreachable.push(format!("{peer}: {error}")),
        }
    }
    Err(interrupted.unwrap_or_else(|| anyhow!(Unreachable { tried: unreachable.join("; ") })))
}

/// Somebody was there and did not come to an answer. Trying again may help: the same keys ask for the same membership.
#[derive(Debug, thiserror::Error)]
#[error("the router at {peer} has not let this one in: {reason}; see its log")]
struct Interrupted {
    peer: SocketAddr,
    reason: String,
    /// When it is worth asking again.
    after: Duration,
}

/// Nobody answered. Trying again may help.
#[derive(Debug, thiserror::Error)]
#[error("no router answers ({tried}); is 'raddle router' running there, and TCP and UDP port 6783 open?")]
struct Unreachable {
    tried: String,
}

fn resolve(peer: &PeerAddress) -> std::io::Result<Vec<SocketAddr>> {
    Ok((peer.host.as_str(), peer.port).to_socket_addrs()?.collect())
}

fn dial(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, DIAL) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn converse(mut stream: TcpStream, keys: &Keys, name: &PeerName, secret: &JoinSecret) -> anyhow::Result<Membership> {
    let peer = stream.peer_addr()?;
    let interrupted = |reason: String| anyhow!(Interrupted { peer, reason, after: AGAIN });
    let candidate = Candidate {
        signing_key: keys.signing.clone(),
        noise_key: keys.noise.clone(),
        name: name.clone(),
        // Where it listens is known to the router that starts later, and told then.
        addresses: Vec::new(),
    };
    let mut joiner = match secret {
        JoinSecret::Token(text) => Joiner::with_token(candidate, &text.parse()?, random()),
        JoinSecret::Password(_) => Joiner::with_password(candidate, random()),
    };
    let mut patience = Patience::begin(Instant::now());
    let mut psk = None;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some(bytes) = joiner.poll_transmit() {
            stream.write_all(&bytes).map_err(|error| interrupted(error.to_string()))?;
        }
        match (joiner.poll_progress(), secret) {
            (Some(Progress::Joined(joined)), _) => return adopt(keys, *joined, psk),
            (Some(Progress::Failed(error)), _) => {
                return Err(match passes_after(&error) {
                    Some(after) => anyhow!(Interrupted { peer, reason: error.to_string(), after }),
                    None => error.into(),
                });
            }
            (Some(Progress::PasswordKeyWanted { cluster }), JoinSecret::Password(password)) => {
                let key = stretch(password, cluster)?;
                // It takes a core for a while, the longer the more hosts do so at once on one machine: nobody waits for it.
                stream = TcpStream::connect_timeout(&peer, DIAL).map_err(|error| interrupted(error.to_string()))?;
                patience = Patience::begin(Instant::now());
                joiner.handle_password_key(&key);
                psk = Some(key);
                continue;
            }
            (Some(Progress::PasswordKeyWanted { .. }) | None, _) => {}
        }
        let left = patience.left(Instant::now()).map_err(|spent| interrupted(spent.to_string()))?;
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => joiner.handle_closed(),
            Ok(length) => {
                patience.handle_bytes(Instant::now());
                joiner.handle_bytes(buffer.get(..length).unwrap_or_default());
            }
            Err(error) if is_passing(error.kind()) => {}
            Err(error) => return Err(interrupted(error.to_string())),
        }
    }
}

/// The time is up, or nothing has happened.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// For how long a sponsor is listened to: all that a cluster knows comes slowly over a slow link.
struct Patience {
    /// When it has been silent for too long.
    silent: Instant,
    /// When all of it should have come.
    whole: Instant,
}

/// Why it is listened to no longer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Spent {
    #[error("nothing came for {} s", ANSWER.as_secs())]
    Silent,
    #[error("its answer was not whole after {} s", LONGEST_GRANT.as_secs())]
    Endless,
}

impl Patience {
    fn begin(now: Instant) -> Self {
        Self { silent: now + ANSWER, whole: now + LONGEST_GRANT }
    }

    fn handle_bytes(&mut self, now: Instant) {
        self.silent = now + ANSWER;
    }

    /// How long the next bytes are waited for.
    fn left(&self, now: Instant) -> Result<Duration, Spent> {
        if now >= self.whole {
            return Err(Spent::Endless);
        }
        if now >= self.silent {
            return Err(Spent::Silent);
        }
        Ok(self.silent.min(self.whole).saturating_duration_since(now))
    }
}

/// After what time the same question may be answered otherwise; none if it never is.
fn passes_after(error: &JoinError) -> Option<Duration> {
    if let JoinError::Refused { reason: RefuseReason::TooMany { wait_s } } = error {
        return Some(Duration::from_secs(u64::from(*wait_s)).clamp(AGAIN, ANSWER));
    }
    matches!(error, JoinError::Closed | JoinError::Refused { reason: RefuseReason::Busy }).then_some(AGAIN)
}

fn stretch(password: &Zeroizing<String>, cluster: wire::ClusterId) -> anyhow::Result<mesh::Secret> {
    Ok(found::stretch(password, cluster).map_err(std::io::Error::other)?)
}

fn adopt(keys: &Keys, joined: Joined, psk: Option<mesh::Secret>) -> anyhow::Result<Membership> {
    let Joined { genesis, certificate, members, ledger } = joined;
    let ledger = found::adopt(keys, &genesis, &ledger)?;
    Ok(Membership { genesis, certificate, members, ledger, psk })
}

/// A host that is there answers within a few round trips.
const DIAL: Duration = Duration::from_secs(3);
/// The sponsor asks its ledger and may have to find a block first; what it then says does not pause for longer.
const ANSWER: Duration = Duration::from_secs(30);
/// Between two rounds over all peers.
const AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
