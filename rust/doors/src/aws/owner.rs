//! Whose connection it is: on Linux, the kernel says which user of this machine opened it.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;

const UID: usize = 7;

/// Whether a connection of this machine is this user's or root's. Where the kernel does not say, it is taken to be.
pub fn is_ours(peer: SocketAddr, here: SocketAddr) -> bool {
    let table = if peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let (Ok(table), Ok(own)) = (fs::read_to_string(table), fs::metadata("/proc/self")) else { return true };
    uid_of(&table, peer, here).is_some_and(|uid| uid == 0 || uid == own.uid())
}

/// The user who opened the connection from `peer` to `here`. An address may have several connections, to different places.
fn uid_of(table: &str, peer: SocketAddr, here: SocketAddr) -> Option<u32> {
    let (from, to) = (written(peer), written(here));
    let is_it = |row: &&str| row.split_whitespace().skip(1).take(2).eq([from.as_str(), to.as_str()]);
    let row = table.lines().find(is_it)?;
    row.split_whitespace().nth(UID)?.parse().ok()
}

/// An address as the kernel writes it: words of four bytes in this machine's order, in hexadecimal.
fn written(address: SocketAddr) -> String {
    let mut text = String::new();
    let mut words = |bytes: &[u8]| {
        for word in bytes.chunks_exact(4) {
            let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            // Writing to a text does not fail.
            let _ = write!(text, "{word:08X}");
        }
    };
    match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    }
    format!("{text}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:11D6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   1: 0100007F:B4A2 0100007F:11D6 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0 20 4 30 10 -1
";

    #[test]
    fn the_kernels_table_names_the_user_of_a_connection() {
        if cfg!(target_endian = "little") {
            let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
            assert_eq!(uid_of(TABLE, at(46_242), at(4566)), Some(1000));
            assert_eq!(uid_of(TABLE, at(46_242), at(4567)), None);
            assert_eq!(uid_of(TABLE, at(46_243), at(4566)), None);
            assert_eq!(written("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
        }
    }

    #[test]
    fn a_connection_of_this_process_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, here) = (client.local_addr().unwrap(), listener.local_addr().unwrap());
        assert!(is_ours(peer, here));
        assert!(!cfg!(target_os = "linux") || !is_ours("127.0.0.1:1".parse().unwrap(), here));
    }
}
