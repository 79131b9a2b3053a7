//! Who is a member: certificates, each the identity's own word, vouched for by somebody already admitted, and where members
//! listen.
//!
//! Owns the roster and the rules by which it grows. Knows nothing of sessions, and never forgets a member: only revoking
//! takes one out.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, VecDeque};

use wire::{Certificate, Identity, PeerName, Title, Verify};

use crate::identity::{is_consented, is_vouched_for};
use crate::member::{Member, MemberChange};
use crate::sums::{Lines, Salt, Sum, Sums};

/// All members ever admitted.
#[derive(Debug)]
pub(crate) struct Roster {
    authority: Identity,
    verify: Verify,
    members: BTreeMap<Identity, Member>,
    /// How many of them have been taken out.
    revoked: usize,
    /// The order of admission: an issuer always stands before those it vouched for.
    order: Vec<Identity>,
    by_name: BTreeMap<PeerName, Identity>,
    /// Those whom a list that is being recalled calls revoked: what they vouched for still counts, their names are free.
    leaving: BTreeSet<Identity>,
    /// Those who vouch for nobody any more, whether revoked already or not.
    distrusted: BTreeSet<Identity>,
    /// Who is to be let in whoever vouched for it, and by whose word: for as long as that one is trusted.
    expected: BTreeSet<(Identity, Identity)>,
    sums: Sums,
}

impl Roster {
    pub(crate) fn new(authority: Identity, verify: Verify) -> Self {
        Self {
            authority,
            verify,
            members: BTreeMap::new(),
            revoked: 0,
            order: Vec::new(),
            by_name: BTreeMap::new(),
            leaving: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            expected: BTreeSet::new(),
            sums: Sums::new(),
        }
    }

    /// Admits a member, or takes over what is newer about it: certificate and addresses each for itself. Returns `None` if there
    /// is nothing new.
    pub(crate) fn admit(&mut self, member: Member) -> Result<Option<MemberChange>, AdmitError> {
        let identity = member.identity();
        let Some(known) = self.members.get(&identity) else {
            if self.is_full() && !self.leaving.contains(&identity) {
                return Err(AdmitError::Full);
            }
            self.check_certificate(&member.certificate)?;
            if !member.addresses.is_signed_by(self.verify, identity) {
                return Err(AdmitError::BadAddresses { member: identity });
            }
            self.expected.retain(|(expected, _)| *expected != identity);
            self.insert(member);
            return Ok(Some(MemberChange::New));
        };
        let (mut renewed, mut outcome) = (known.clone(), Ok(None));
        if rank(&member.certificate.title) > rank(&known.certificate.title) {
            match self.check_renewal(&known.certificate, member.certificate) {
                Ok(certificate) => {
                    renewed.certificate = certificate;
                    outcome = Ok(Some(MemberChange::Renewed));
                }
                Err(error) => outcome = Err(error),
            }
        }
        if member.addresses.rank() > known.addresses.rank() {
            if member.addresses.is_signed_by(self.verify, identity) {
                renewed.addresses = member.addresses;
                outcome = Ok(Some(MemberChange::Renewed));
            } else if outcome == Ok(None) {
                outcome = Err(AdmitError::BadAddresses { member: identity });
            }
        }
        if let Ok(Some(_)) = outcome {
            self.insert(renewed);
        }
        outcome
    }

    /// Admits as many of a list as possible, whatever its order. What is new, each member once however often the list has it,
    /// and what could not be.
    pub(crate) fn admit_all(&mut self, members: Vec<Member>) -> (Vec<(Member, MemberChange)>, Vec<AdmitError>) {
        let (mut waiting, mut order, mut refused) = (VecDeque::from(members), Vec::new(), Vec::new());
        let mut changes: BTreeMap<Identity, MemberChange> = BTreeMap::new();
        let mut stranded: BTreeMap<Identity, Vec<Member>> = BTreeMap::new();
        while let Some(member) = waiting.pop_front() {
            let identity = member.identity();
            match self.admit(member.clone()) {
                Ok(change) => {
                    if let (Some(change), Entry::Vacant(first)) = (change, changes.entry(identity)) {
                        first.insert(change);
                        order.push(identity);
                    }
                    waiting.extend(stranded.remove(&identity).unwrap_or_default());
                }
                Err(AdmitError::UnknownIssuer { issuer }) => stranded.entry(issuer).or_default().push(member),
                Err(error) => refused.push(error),
            }
        }
        for (issuer, members) in stranded {
            refused.extend(members.iter().map(|_| AdmitError::UnknownIssuer { issuer }));
        }
        let newest = |identity: Identity| Some((self.members.get(&identity)?.clone(), *changes.get(&identity)?));
        (order.into_iter().filter_map(newest).collect(), refused)
    }

    /// Takes over a list from somebody who is believed about who is revoked: our store, or the sponsor. What could not be.
    pub(crate) fn recall(&mut self, members: Vec<Member>) -> Vec<AdmitError> {
        self.leaving = members.iter().filter(|member| member.revoked).map(Member::identity).collect();
        let standing = |member: Member| Member { revoked: false, ..member };
        let (_, errors) = self.admit_all(members.into_iter().map(standing).collect());
        for identity in std::mem::take(&mut self.leaving) {
            if let Some(member) = self.members.get_mut(&identity) {
                member.revoked = true;
            }
        }
        errors
    }

    /// Marks a member as taken out. Returns whether that was new.
    pub(crate) fn revoke(&mut self, identity: Identity) -> bool {
        let is_new = |member: &mut Member| !std::mem::replace(&mut member.revoked, true);
        let is_new = self.members.get_mut(&identity).is_some_and(is_new);
        self.revoked += usize::from(is_new);
        let name = self.members.get(&identity).map(|member| member.name().clone());
        if let Some(name) = name.filter(|name| is_new && self.by_name.get(name) == Some(&identity)) {
            self.pass_on(&name);
        }
        is_new
    }

    /// Gives a name to the first who has it, but to one that is revoked only if all are.
    fn pass_on(&mut self, name: &PeerName) {
        let namesakes = self.members().filter(|member| member.name() == name);
        let heir = namesakes.min_by_key(|member| member.revoked).map(Member::identity);
        self.by_name.extend(heir.map(|heir| (name.clone(), heir)));
    }

    /// Whoever one of these vouches for from now on is nobody; those they have vouched for stay.
    pub(crate) fn distrust_only(&mut self, identities: BTreeSet<Identity>) {
        self.distrusted = identities;
    }

    /// Admits these when their lines come, also if who vouched for them is distrusted or revoked by then, as long as the one by
    /// whose word that is done is neither.
    pub(crate) fn expect(&mut self, by: Identity, identities: impl IntoIterator<Item = Identity>) {
        let strangers = identities.into_iter().filter(|identity| !self.members.contains_key(identity));
        let strangers: BTreeSet<_> = strangers.take(MEMBERS_MOST / 2).map(|identity| (identity, by)).collect();
        while self.expected.len() + strangers.len() > MEMBERS_MOST {
            // Whoever has made up the most is not to push out what others say.
            let Some(loudest) = self.loudest() else { break };
            self.expected.retain(|(_, by)| *by != loudest);
        }
        self.expected.extend(strangers);
    }

    /// By whose word the most are expected.
    fn loudest(&self) -> Option<Identity> {
        let mut words: BTreeMap<Identity, usize> = BTreeMap::new();
        for (_, by) in &self.expected {
            *words.entry(*by).or_default() += 1;
        }
        words.into_iter().max_by_key(|(_, words)| *words).map(|(by, _)| by)
    }

    /// Whom these vouched for, whom those vouched for, and so on; revoked ones left out.
    pub(crate) fn followers(&self, of: &[Identity]) -> BTreeSet<Identity> {
        let mut found = self.resting_on(of);
        let is_in = |identity: &Identity| self.members.get(identity).is_some_and(|member| !member.revoked);
        found.retain(|identity| !of.contains(identity) && is_in(identity));
        found
    }

    /// Whether nobody more can be admitted until somebody is revoked.
    pub(crate) fn is_full(&self) -> bool {
        self.members.len() - self.revoked >= MEMBERS_MOST
    }

    pub(crate) fn member(&self, identity: Identity) -> Option<&Member> {
        self.members.get(&identity)
    }

    /// Who has a name, or had it, if it was revoked and nobody has taken its place.
    pub(crate) fn of_name(&self, name: &PeerName) -> Option<Identity> {
        self.by_name.get(name).copied()
    }

    /// All members, issuers before those they vouched for.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.order.iter().filter_map(|identity| self.members.get(identity))
    }

    /// Equal under one salt on two routers that know the same.
    pub(crate) fn digest(&mut self, salt: &Salt) -> Sum {
        self.sums.whole(salt)
    }

    /// The same for each bucket, to find where two rosters differ.
    pub(crate) fn buckets(&mut self, salt: &Salt) -> Vec<Sum> {
        self.sums.buckets(salt)
    }

    /// The same for each line in these buckets (a bit each).
    pub(crate) fn lines(&self, buckets: u64, salt: &Salt) -> Lines {
        self.sums.lines(buckets, salt)
    }

    fn check_certificate(&self, certificate: &Certificate) -> Result<(), AdmitError> {
        let title = &certificate.title;
        if title.issuer != self.authority {
            if !self.members.contains_key(&title.issuer) {
                return Err(AdmitError::UnknownIssuer { issuer: title.issuer });
            }
            if !self.is_trusted(title.issuer) && !self.is_expected(title.identity) {
                return Err(AdmitError::RevokedIssuer { issuer: title.issuer });
            }
        }
        if !(is_vouched_for(self.verify, certificate) && is_consented(self.verify, title, &certificate.consent)) {
            return Err(AdmitError::BadCertificate { member: title.identity });
        }
        Ok(())
    }

    /// Whether its word about who is a member counts.
    fn is_trusted(&self, identity: Identity) -> bool {
        self.members.get(&identity).is_some_and(|member| !member.revoked) && !self.distrusted.contains(&identity)
    }

    fn is_expected(&self, identity: Identity) -> bool {
        let words = self.expected.range((identity, Identity([0; 32]))..=(identity, Identity([255; 32])));
        words.into_iter().any(|(_, by)| self.is_trusted(*by))
    }

    /// Only the member renews its certificate, and only key and generation. Whoever vouched for it has no part in that, and may
    /// have been revoked since. Where another vouches, two have admitted it without knowing of each other: both must count,
    /// for it renews one of the two, and nobody may come to rest on itself.
    fn check_renewal(&self, known: &Certificate, renewed: Certificate) -> Result<Certificate, AdmitError> {
        let (was, title) = (&known.title, &renewed.title);
        let bad = AdmitError::BadCertificate { member: title.identity };
        if title.generation.saturating_sub(was.generation) > GENERATIONS_MOST {
            return Err(bad);
        }
        if (&was.name, was.issuer) == (&title.name, title.issuer) {
            let is_consented = is_consented(self.verify, title, &renewed.consent);
            // Nobody needs to vouch again, so nobody is asked whether this voucher is as good as the first.
            return if is_consented { Ok(Certificate { voucher: known.voucher, ..renewed }) } else { Err(bad) };
        }
        self.check_certificate(&renewed)?;
        if self.resting_on(&[title.identity]).contains(&title.issuer) { Err(bad) } else { Ok(renewed) }
    }

    /// These, whom they vouched for, whom those vouched for, and so on.
    fn resting_on(&self, of: &[Identity]) -> BTreeSet<Identity> {
        let mut found: BTreeSet<Identity> = of.iter().copied().collect();
        // Issuers stand before those they vouched for.
        for member in self.members() {
            if found.contains(&member.certificate.title.issuer) {
                found.insert(member.identity());
            }
        }
        found
    }

    /// Whether somebody is revoked, so that its name may go to the one that takes its place.
    fn is_out(&self, identity: Identity) -> bool {
        self.leaving.contains(&identity) || self.members.get(&identity).is_some_and(|member| member.revoked)
    }

    /// Puts a checked member in place of what was known of it.
    fn insert(&mut self, member: Member) {
        let identity = member.identity();
        let title = member.certificate.title.clone();
        self.sums.put(identity, member.line());
        match self.members.insert(identity, member) {
            None => {
                self.order.push(identity);
                // Who leaves takes nobody's place meanwhile.
                self.revoked += usize::from(self.leaving.contains(&identity));
            }
            Some(old) => {
                if *old.name() != title.name && self.by_name.get(old.name()) == Some(&identity) {
                    self.by_name.remove(old.name());
                    self.pass_on(old.name());
                }
                if old.certificate.title.issuer != title.issuer {
                    let (after, before) = (self.resting_on(&[identity]), std::mem::take(&mut self.order));
                    let (after, before): (Vec<_>, Vec<_>) =
                        before.into_iter().partition(|member| after.contains(member));
                    self.order = [before, after].concat();
                }
            }
        }
        let holder = self.by_name.get(&title.name).copied().filter(|holder| *holder != identity);
        if holder.is_none_or(|holder| self.is_out(holder) && !self.is_out(identity)) {
            self.by_name.insert(title.name, identity);
        }
    }
}

/// Of two certificates of one identity the higher holds. A member that signs two of one generation must not have some believe
/// the one and some the other.
fn rank(title: &Title) -> impl Ord {
    (title.generation, title.noise_key, &title.name, title.issuer)
}

/// Why somebody is not a member, or not what the message says. The roster is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// There are [`MEMBERS_MOST`] already that have not been revoked.
    #[error("there are {MEMBERS_MOST} members already")]
    Full,
    /// Nobody we know vouches for it. May change.
    #[error("issuer {issuer} is no member here")]
    UnknownIssuer {
        /// Who signed.
        issuer: Identity,
    },
    /// The one who vouches for it has been taken out.
    #[error("issuer {issuer} has been revoked")]
    RevokedIssuer {
        /// Who signed.
        issuer: Identity,
    },
    /// The member did not sign this, or its issuer did not, or it is no renewal of the one before.
    #[error("the certificate of {member} does not hold")]
    BadCertificate {
        /// Whose certificate.
        member: Identity,
    },
    /// The member did not sign this, or lists too many.
    #[error("the addresses of {member} are not signed by it")]
    BadAddresses {
        /// Whose addresses.
        member: Identity,
    },
}

/// More renewals than anybody makes while a router is away; fewer than would use up all there are.
pub(crate) const GENERATIONS_MOST: u32 = 1 << 16;

/// Beyond the largest cluster this is built for: somebody who may vouch for others has lost its key or its mind.
pub const MEMBERS_MOST: usize = 16_384;

#[cfg(test)]
mod tests;
