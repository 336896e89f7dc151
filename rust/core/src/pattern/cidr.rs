//! A block of IP addresses, as `10.0.0.0/24` or `2001:db8::/32`.

use core::net::IpAddr;

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    network: IpAddr,
    bits: u32,
}

impl Cidr {
    /// Read a block; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let expected = "a block of IP addresses as \"10.0.0.0/24\" or \"2001:db8::/32\" is expected";
        let (address, bits) = text.split_once('/').ok_or(expected)?;
        let network = address.parse::<IpAddr>().map_err(|_| expected)?;
        let bits = bits.parse::<u32>().map_err(|_| expected)?;
        let most = if network.is_ipv4() { 31 } else { 127 };
        if bits > most {
            return Err(format!("the bits after the slash are {bits}: allowed are 0 to {most}"));
        }
        let host = u128::MAX.checked_shr(128 - width(network) + bits).unwrap_or(0);
        if number(network) & host != 0 {
            return Err(format!(
                "{address} has bits set after the first {bits}: write the address that the block begins with"
            ));
        }
        Ok(Self { network, bits })
    }

    /// Whether a text is an address of the block. An IPv4 address may be written as IPv6 does it (`::ffff:10.0.0.1`).
    pub(super) fn holds(&self, text: &str) -> bool {
        let Ok(address) = text.parse::<IpAddr>() else { return false };
        let address = address.to_canonical();
        let differing = number(address) ^ number(self.network);
        address.is_ipv4() == self.network.is_ipv4()
            && differing.checked_shr(width(self.network) - self.bits).unwrap_or(0) == 0
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() {
        32
    } else {
        128
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
