//! Where a request comes from, if something stands before the gateway that may say so.

use core::net::IpAddr;

/// Addresses that are believed what they say of a request: single ones, and networks as `10.0.0.0/8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Vec<(IpAddr, u8)>);

impl Trusted {
    /// Read addresses; the error names the one that is none.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let read = |text: &String| {
            let wrong = || format!("http_trusted_proxies: {text:?} is neither an address nor a network, as 10.0.0.0/8");
            let (address, bits) =
                text.split_once('/').map_or((text.as_str(), None), |(left, right)| (left, Some(right)));
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
            if bits > most {
                return Err(wrong());
            }
            Ok((address, bits))
        };
        texts.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address is believed.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|&(network, bits)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        })
    }

    /// Where a request comes from: the last address that was said by somebody who is believed and is not believed itself.
    pub fn source<'a>(&self, peer: IpAddr, said: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut source = peer;
        for text in said.rev() {
            if !self.has(source) {
                break;
            }
            match text.trim().parse() {
                Ok(address) => source = address,
                Err(_) => break,
            }
        }
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(texts: &[&str]) -> Trusted {
        Trusted::parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn only_who_is_believed_can_say_where_a_request_comes_from() {
        let trusted = trusted(&["10.0.0.0/8", "192.0.2.1", "fd00::/8"]);
        for (peer, said, expected) in [
            ("198.51.100.1", "1.2.3.4", "198.51.100.1"),
            ("10.1.2.3", "1.2.3.4", "1.2.3.4"),
            ("10.1.2.3", "9.9.9.9, 1.2.3.4", "1.2.3.4"),
            ("10.1.2.3", "1.2.3.4, 10.9.9.9", "1.2.3.4"),
            ("10.1.2.3", "nonsense", "10.1.2.3"),
            ("10.1.2.3", "", "10.1.2.3"),
            ("fd00::1", "2001:db8::1", "2001:db8::1"),
            ("192.0.2.2", "1.2.3.4", "192.0.2.2"),
        ] {
            let source = trusted.source(peer.parse().unwrap(), said.split(','));
            assert_eq!(source, expected.parse::<IpAddr>().unwrap(), "{peer} {said}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(Trusted::parse(&[text.to_owned()]).is_err(), "{text}");
        }
        assert!(trusted(&["0.0.0.0/0"]).has("1.2.3.4".parse().unwrap()));
    }
}
