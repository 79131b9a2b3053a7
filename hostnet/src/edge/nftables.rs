//! Talks to the kernel's nftables: elements of sets in and out, one transaction at a time.
//!
//! Owns the layout of the messages. Knows nothing of what the sets mean. A process for each change would cost ten times as
//! much as the rest of an attachment.

use std::collections::BTreeSet;
use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

/// A conversation with the nftables of the network namespace of the thread that opened it.
pub(super) struct Nftables {
    socket: Socket,
    sequence: u32,
}

/// A change of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) verb: Verb,
    pub(super) family: Family,
    pub(super) set: &'a str,
    pub(super) keys: Vec<Vec<u8>>,
}

/// What is done with elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// They are there afterwards.
    Add,
    /// They were there, and are not afterwards.
    Remove,
}

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    /// What its counter says; 0 without one.
    pub(super) packets: u64,
}

impl Nftables {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Carries out all changes or none.
    pub(super) fn change(&mut self, table: &str, changes: &[Change<'_>]) -> io::Result<()> {
        let mut batch = Vec::new();
        self.message(&mut batch, BATCH_BEGIN, 0, AF_UNSPEC, NFTABLES, &[]);
        let first = self.sequence;
        let parts = changes.iter().flat_map(|change| change.keys.chunks(KEYS_MOST).map(move |keys| (change, keys)));
        for (change, keys) in parts {
            let (kind, flags) = match change.verb {
                Verb::Add => (NEW_SET_ELEMENT, NLM_F_ACK | NLM_F_CREATE),
                Verb::Remove => (DELETE_SET_ELEMENT, NLM_F_ACK),
            };
            let elements: Vec<u8> = keys.iter().flat_map(|key| element(key)).collect();
            let mut body = attribute(ELEMENTS_TABLE, &text(table));
            body.extend(attribute(ELEMENTS_SET, &text(change.set)));
            body.extend(attribute(ELEMENTS_LIST | NESTED, &elements));
            self.message(&mut batch, kind, flags, change.family.number(), 0, &body);
        }
        let wanted = self.sequence.wrapping_sub(first);
        if wanted == 0 {
            return Ok(());
        }
        self.message(&mut batch, BATCH_END, 0, AF_UNSPEC, NFTABLES, &[]);
        self.socket.send(&batch, 0)?;
        let mut left = wanted;
        while left > 0 {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes).filter(|message| message.kind == NLMSG_ERROR) {
                acknowledged(&message)?;
                left = left.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// The elements of a set.
    pub(super) fn elements(&mut self, family: Family, table: &str, set: &str) -> io::Result<Vec<Element>> {
        let mut body = attribute(ELEMENTS_TABLE, &text(table));
        body.extend(attribute(ELEMENTS_SET, &text(set)));
        let mut elements = Vec::new();
        self.dump(GET_SET_ELEMENT, family, &body, |attributes| {
            let listed = find(attributes, ELEMENTS_LIST).unwrap_or_default();
            elements.extend(self::attributes(listed).filter_map(|(_, element)| parse_element(element)));
        })?;
        Ok(elements)
    }

    /// How many rules a table of the family has; none if it is not there.
    pub(super) fn count_rules(&mut self, family: Family, table: &str) -> io::Result<usize> {
        let wanted = text(table);
        let mut count = 0;
        self.dump(GET_RULE, family, &attribute(RULE_TABLE, &wanted), |attributes| {
            count += usize::from(find(attributes, RULE_TABLE) == Some(&wanted));
        })?;
        Ok(count)
    }

    /// Every chain that packets pass which are forwarded, and whose last word is to drop: its table.
    pub(super) fn tables_that_drop_forwarded(&mut self, family: Family) -> io::Result<Vec<Vec<u8>>> {
        let mut tables = Vec::new();
        self.dump(GET_CHAIN, family, &[], |attributes| {
            let hook = find(attributes, CHAIN_HOOK).and_then(|hook| find(hook, HOOK_NUMBER));
            let drops = find(attributes, CHAIN_POLICY) == Some(&DROP.to_be_bytes());
            if hook == Some(&HOOK_FORWARD.to_be_bytes()) && drops {
                tables.extend(find(attributes, CHAIN_TABLE).map(<[u8]>::to_vec));
            }
        })?;
        Ok(tables)
    }

    /// Whether a rule of a table holds any of these bytes: a name, an address.
    pub(super) fn has_rule_with(&mut self, family: Family, table: &[u8], any: &BTreeSet<Vec<u8>>) -> io::Result<bool> {
        let lengths: BTreeSet<usize> = any.iter().map(Vec::len).collect();
        let mut found = false;
        self.dump(GET_RULE, family, &attribute(RULE_TABLE, table), |attributes| {
            if found || find(attributes, RULE_TABLE) != Some(table) {
                return;
            }
            let expressions = find(attributes, RULE_EXPRESSIONS).unwrap_or_default();
            found = lengths.iter().any(|length| expressions.windows(*length).any(|window| any.contains(window)));
        })?;
        Ok(found)
    }

    /// Whether the family has such a table.
    pub(super) fn has_table(&mut self, family: Family, table: &str) -> io::Result<bool> {
        let wanted = text(table);
        let mut found = false;
        self.dump(GET_TABLE, family, &[], |attributes| found |= find(attributes, TABLE_NAME) == Some(&wanted))?;
        Ok(found)
    }

    fn dump(&mut self, kind: u16, family: Family, body: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut request = Vec::new();
        self.message(&mut request, kind, NLM_F_DUMP, family.number(), 0, body);
        self.socket.send(&request, 0)?;
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes).filter(|message| message.sequence == self.sequence) {
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => acknowledged(&message)?,
                    _ => take(message.body.get(FAMILY_HEADER..).unwrap_or_default()),
                }
            }
        }
    }

    fn message(&mut self, to: &mut Vec<u8>, kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        let length = HEADER + FAMILY_HEADER + body.len();
        to.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        to.extend(kind.to_ne_bytes());
        to.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        to.extend(self.sequence.to_ne_bytes());
        to.extend(0_u32.to_ne_bytes());
        to.extend([family, 0]);
        to.extend(resource.to_be_bytes());
        to.extend(body);
        to.resize(to.len().next_multiple_of(4), 0);
    }
}

/// The families of tables that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Bridge,
    Inet,
    Ipv4,
}

impl Family {
    /// Those with a table of ours.
    pub(super) const OURS: [Self; 2] = [Self::Bridge, Self::Inet];
    /// Those whose chains see IPv4.
    pub(super) const WITH_IPV4: [Self; 2] = [Self::Inet, Self::Ipv4];

    /// Its name in the language of `nft`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Inet => "inet",
            Self::Ipv4 => "ip",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Bridge => BRIDGE,
            Self::Inet => INET,
            Self::Ipv4 => IPV4,
        }
    }
}

struct Message<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages of one datagram, as far as they are whole.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let whole = bytes.get(..length)?;
        let message = Message {
            kind: u16::from_ne_bytes(*whole.get(4..)?.first_chunk()?),
            sequence: u32::from_ne_bytes(*whole.get(8..)?.first_chunk()?),
            body: whole.get(HEADER..)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn acknowledged(message: &Message<'_>) -> io::Result<()> {
    match message.body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() + 8);
    bytes.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !(NESTED | NETWORK_ORDER), value))
    })
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn element(key: &[u8]) -> Vec<u8> {
    attribute(LIST_ELEMENT | NESTED, &attribute(ELEMENT_KEY | NESTED, &attribute(DATA_VALUE, key)))
}

fn parse_element(element: &[u8]) -> Option<Element> {
    let key = find(find(element, ELEMENT_KEY)?, DATA_VALUE)?.to_vec();
    let counter = find(element, ELEMENT_EXPRESSION).and_then(|expression| find(expression, EXPRESSION_DATA));
    let packets = counter.and_then(|counter| find(counter, COUNTER_PACKETS)?.first_chunk().copied());
    Some(Element { key, packets: packets.map_or(0, u64::from_be_bytes) })
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// Keys in one message: the length of an attribute, which holds all of them, has 16 bits, and the longest key takes 52 bytes there.
const KEYS_MOST: usize = 1000;

// linux/netlink.h
const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const NETWORK_ORDER: u16 = 0x4000;
// linux/netfilter/nfnetlink.h
const FAMILY_HEADER: usize = 4;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFTABLES: u16 = 10;
// linux/netfilter.h
const AF_UNSPEC: u8 = 0;
const INET: u8 = 1;
const IPV4: u8 = 2;
const HOOK_FORWARD: u32 = 2;
const DROP: u32 = 0;
const BRIDGE: u8 = 7;
// linux/netfilter/nf_tables.h
const GET_TABLE: u16 = (NFTABLES << 8) | 1;
const GET_CHAIN: u16 = (NFTABLES << 8) | 4;
const GET_RULE: u16 = (NFTABLES << 8) | 7;
const NEW_SET_ELEMENT: u16 = (NFTABLES << 8) | 12;
const GET_SET_ELEMENT: u16 = (NFTABLES << 8) | 13;
const DELETE_SET_ELEMENT: u16 = (NFTABLES << 8) | 14;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const RULE_TABLE: u16 = 1;
const RULE_EXPRESSIONS: u16 = 4;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS_LIST: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_EXPRESSION: u16 = 7;
const EXPRESSION_DATA: u16 = 2;
const COUNTER_PACKETS: u16 = 2;
const DATA_VALUE: u16 = 1;
