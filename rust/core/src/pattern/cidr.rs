//! A block of IP addresses, as `10.0.0.0/24` or `2001:db8::/32`.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    network: IpAddr,
    bits: u32,
    reading: Reading,
}

/// How the addresses of events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// As RFC 4291 and Rust write them.
    Strict,
    /// As `EventBridge` does: numbers of an IPv4 address may begin with zeros, and one that is written in both ways at once
    /// (`::ffff:10.0.0.1`) is text.
    Bus,
}

impl Cidr {
    /// Read a block of a mapping's filter; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let expected = "a block of IP addresses as \"10.0.0.0/24\" or \"2001:db8::/32\" is expected";
        let (address, bits) = text.split_once('/').ok_or(expected)?;
        let network = address.parse::<IpAddr>().map_err(|_| expected)?;
        let bits = bits.parse::<u32>().map_err(|_| expected)?;
        let most = width(network) - 1;
        if bits > most {
            return Err(format!("the bits after the slash are {bits}: allowed are 0 to {most}"));
        }
        if number(network) & host(network, bits) != 0 {
            return Err(format!(
                "{address} has bits set after the first {bits}: write the address that the block begins with"
            ));
        }
        Ok(Self { network, bits, reading: Reading::Strict })
    }

    /// Read a block of a bus rule: any of its addresses may stand for it. The error is AWS's.
    pub(super) fn parse_block(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.trim_end_matches('/').split('/').collect();
        let [address, bits] = parts.as_slice() else { return Err("Malformed CIDR, one '/' required".into()) };
        let bits: i32 = bits.parse().map_err(|_| "Malformed CIDR, mask bits must be an integer")?;
        let bits = u32::try_from(bits).map_err(|_| "Malformed CIDR, mask bits must not be negative")?;
        if !is_like_address(address) {
            return Err(format!("Nonstandard IP address: {address}"));
        }
        let network = read_address(address).ok_or_else(|| format!("Invalid IP address: {address}"))?;
        if bits >= width(network) {
            let version = if network.is_ipv4() { 4 } else { 6 };
            return Err(format!("IPv{version} mask bits must be < {}", width(network)));
        }
        Ok(Self { network, bits, reading: Reading::Bus })
    }

    /// The one address that a text of a bus rule is.
    pub(super) fn one(text: &str) -> Option<Self> {
        read_address(text).map(|network| Self { network, bits: width(network), reading: Reading::Bus })
    }

    /// Whether a text is an address of the block. An IPv4 address may be written as IPv6 does it (`::ffff:a00:1`).
    pub(super) fn holds(&self, text: &str) -> bool {
        let address = match self.reading {
            Reading::Strict => text.parse().ok().map(|address: IpAddr| address.to_canonical()),
            Reading::Bus => read_address(text),
        };
        address.is_some_and(|address| {
            let differing = number(address) ^ number(self.network);
            address.is_ipv4() == self.network.is_ipv4() && differing & !host(self.network, self.bits) == 0
        })
    }

    /// The first and the last address, in an order in which both versions stand.
    pub(super) fn bounds(&self) -> ((bool, u128), (bool, u128)) {
        let (family, host) = (self.network.is_ipv6(), host(self.network, self.bits));
        ((family, number(self.network) & !host), (family, number(self.network) | host))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, bits, .. } = self;
        if *bits == width(*network) {
            write!(formatter, "the address {network}")
        } else {
            write!(formatter, "an address of {network}/{bits}")
        }
    }
}

/// An address of an event in the order of `bounds`, as bus rules read it.
pub(super) fn position(text: &str) -> Option<(bool, u128)> {
    read_address(text).map(|address| (address.is_ipv6(), number(address)))
}

fn read_address(text: &str) -> Option<IpAddr> {
    if !text.contains(':') {
        let mut parts = text.split('.').map(|part| digits(part).then(|| part.parse().ok()).flatten());
        let mut octet = || parts.next().flatten();
        let octets: [u8; 4] = [octet()?, octet()?, octet()?, octet()?];
        return parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    if text.contains('.') {
        return None;
    }
    text.parse::<Ipv6Addr>().ok().map(|address| address.to_canonical())
}

/// Whether a text is made as an address is, be it one or not.
fn is_like_address(text: &str) -> bool {
    let is_v4 = || text.split('.').count() == 4 && text.split('.').all(|part| !part.is_empty() && digits(part));
    let is_v6 = || text.contains(':') && text.bytes().all(|byte| byte == b':' || byte.is_ascii_hexdigit());
    is_v4() || is_v6()
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() {
        32
    } else {
        128
    }
}

/// The bits after the first `bits`.
fn host(network: IpAddr, bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - width(network) + bits).unwrap_or(0)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filters_block_has_at_most_one_bit_less_than_an_address() {
        for (text, refused) in [
            (
                "10.0.0.0/0",
                Some("10.0.0.0 has bits set after the first 0: write the address that the block begins with"),
            ),
            ("0.0.0.0/0", None),
            ("10.0.0.0/31", None),
            ("10.0.0.0/32", Some("the bits after the slash are 32: allowed are 0 to 31")),
            ("2001:db8::/127", None),
            ("2001:db8::/128", Some("the bits after the slash are 128: allowed are 0 to 127")),
        ] {
            assert_eq!(Cidr::parse(text).err().as_deref(), refused, "{text}");
        }
    }

    /// The verdicts and the words are those of event-ruler.
    #[test]
    fn a_rules_block_is_refused_for_how_it_is_written_or_for_what_it_is() {
        for (text, refused) in [
            ("10.1.2.3/31", None),
            ("::1/127", None),
            ("010.0.00.1/24", None),
            ("10.0.0/24", Some("Nonstandard IP address: 10.0.0")),
            ("1.2.3.4.5/24", Some("Nonstandard IP address: 1.2.3.4.5")),
            ("1.2..3/24", Some("Nonstandard IP address: 1.2..3")),
            ("a.b.c.d/24", Some("Nonstandard IP address: a.b.c.d")),
            ("abcd/24", Some("Nonstandard IP address: abcd")),
            ("1:2:zz::/24", Some("Nonstandard IP address: 1:2:zz::")),
            ("1.2.3.400/24", Some("Invalid IP address: 1.2.3.400")),
            (":::::/24", Some("Invalid IP address: :::::")),
            ("10.0.0.0/32", Some("IPv4 mask bits must be < 32")),
            ("::/128", Some("IPv6 mask bits must be < 128")),
            ("10.0.0.0/-1", Some("Malformed CIDR, mask bits must not be negative")),
            ("10.0.0.0/x", Some("Malformed CIDR, mask bits must be an integer")),
            ("10.0.0.0", Some("Malformed CIDR, one '/' required")),
        ] {
            assert_eq!(Cidr::parse_block(text).err().as_deref(), refused, "{text}");
        }
    }

    /// An address of a rule is that address however it is written; what is none is a text.
    #[test]
    fn a_rule_reads_an_address_in_each_of_its_spellings() {
        let v4 = |number| Some((false, number));
        for (text, expected) in [
            ("10.0.0.1", v4(0x0a00_0001)),
            ("010.000.00.1", v4(0x0a00_0001)),
            ("::ffff:a00:1", v4(0x0a00_0001)),
            ("::1", Some((true, 1))),
            ("0:0:0:0:0:0:0:1", Some((true, 1))),
            ("FE80::A", Some((true, 0xfe80 << 112 | 0xa))),
            ("::ffff:10.0.0.1", None),
            ("+10.0.0.1", None),
            ("10.0.0.1.2", None),
            ("10.0.0", None),
            ("10.0.0.256", None),
            ("10..0.1", None),
            ("g::1", None),
            ("", None),
        ] {
            assert_eq!(position(text), expected, "{text}");
            let one = Cidr::one(text);
            assert_eq!(one.map(|one| one.bounds()), expected.map(|at| (at, at)), "{text}");
            assert!(one.is_none_or(|one| one.holds(text) && !one.holds("10.0.0.2")), "{text}");
        }
    }

    #[test]
    fn a_block_reaches_from_its_first_address_to_its_last_and_says_so() {
        for (text, first, last, words) in [
            ("10.0.0.77/24", "10.0.0.0", "10.0.0.255", "an address of 10.0.0.77/24"),
            ("0.0.0.7/29", "0.0.0.0", "0.0.0.7", "an address of 0.0.0.7/29"),
            ("2001:db8::5/126", "2001:db8::4", "2001:db8::7", "an address of 2001:db8::5/126"),
        ] {
            let block = Cidr::parse_block(text).unwrap();
            assert_eq!(Some(block.bounds()), position(first).zip(position(last)), "{text}");
            assert_eq!(block.to_string(), words);
        }
        assert_eq!(Cidr::one("010.0.0.1").unwrap().to_string(), "the address 10.0.0.1");
    }
}
