//! Whose connection it is: on Linux, the kernel says which user of this machine opened it.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state of a connection that is open at both ends. One that its client has closed is nobody's: the kernel says 0 of it, as of root's.
const ESTABLISHED: u8 = 1;
const STATE: usize = 3;
const UID: usize = 7;

/// What the kernel says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    state: u8,
    uid: u32,
}

/// What the kernel says of a connection it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Row(Row),
    /// There is none from that address to this one.
    None,
}

/// The kernel has told of a connection for which it was asked.
static HAS_TOLD: AtomicBool = AtomicBool::new(false);

/// Whether a connection of this machine is this user's or root's. One that the kernel does not know is a stranger's: a packet filter has led it
/// here, or its client has gone. Where the kernel says nothing of connections at all, each is taken to be this user's.
///
/// It is looked at as soon as the connection has been accepted: later its client may be gone, and be taken for root.
pub fn is_ours(peer: SocketAddr, here: SocketAddr) -> bool {
    let Ok(own) = fs::metadata("/proc/self") else { return true };
    let is_ours = |row: Row| row.state == ESTABLISHED && (row.uid == 0 || row.uid == own.uid());
    // The table has every connection of the machine: it is read only where the kernel does not answer for a single one.
    match diag::ask(peer, here) {
        Some(Told::Row(row)) => {
            HAS_TOLD.store(true, Ordering::Relaxed);
            return is_ours(row);
        }
        // Nor has the table it then: whoever connects and hangs up would have all of it read. A kernel that was built without the answers
        // says the same of every connection, so it is believed once it has told of one.
        Some(Told::None) if HAS_TOLD.load(Ordering::Relaxed) => return false,
        _ => {}
    }
    let table = if peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let Ok(table) = fs::read_to_string(table) else { return true };
    row_of(&table, peer, here).is_some_and(is_ours)
}

/// The row of the connection from `peer` to `here`. An address may have several connections, to different places.
fn row_of(table: &str, peer: SocketAddr, here: SocketAddr) -> Option<Row> {
    let (from, to) = (written(peer), written(here));
    let is_it = |row: &&str| row.split_whitespace().skip(1).take(2).eq([from.as_str(), to.as_str()]);
    let row: Vec<&str> = table.lines().find(is_it)?.split_whitespace().collect();
    Some(Row { state: u8::from_str_radix(row.get(STATE)?, 16).ok()?, uid: row.get(UID)?.parse().ok()? })
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

/// The kernel is asked for one connection (`sock_diag(7)`).
#[cfg(target_os = "linux")]
mod diag {
    use std::net::{IpAddr, SocketAddr};

    use rustix::net::{netlink, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

    use super::{Row, Told};

    const HEADER: usize = 16;
    const QUESTION: u32 = 72;
    const ANSWER_MAX: usize = 512;
    const BY_FAMILY: u16 = 20;
    const REQUEST: u16 = 1;
    /// An answer that is an error's number.
    const ERROR: u16 = 2;
    const NO_SUCH: i32 = -2;
    const IPV4: u8 = 2;
    const IPV6: u8 = 10;
    const TCP: u8 = 6;
    /// Where these stand behind the header of an answer.
    const STATE: usize = 1;
    const UID: usize = 64;

    /// What the kernel says, if it has an answer.
    pub(super) fn ask(peer: SocketAddr, here: SocketAddr) -> Option<Told> {
        let kind = (AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC);
        let socket = socket_with(kind.0, kind.1, kind.2, Some(netlink::SOCK_DIAG)).ok()?;
        send(&socket, &question(peer, here), SendFlags::empty()).ok()?;
        let mut answer = [0_u8; ANSWER_MAX];
        // It is there when `send` has returned.
        let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT).ok()?;
        read(answer.get(..length)?)
    }

    fn question(peer: SocketAddr, here: SocketAddr) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(QUESTION as usize);
        bytes.extend(QUESTION.to_ne_bytes());
        bytes.extend(BY_FAMILY.to_ne_bytes());
        bytes.extend(REQUEST.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([if peer.is_ipv4() { IPV4 } else { IPV6 }, TCP, 0, 0]);
        // In whatever state.
        bytes.extend(u32::MAX.to_ne_bytes());
        bytes.extend(peer.port().to_be_bytes());
        bytes.extend(here.port().to_be_bytes());
        for address in [peer, here] {
            let mut place = [0; 16];
            match address.ip() {
                IpAddr::V4(ip) => place[..4].copy_from_slice(&ip.octets()),
                IpAddr::V6(ip) => place = ip.octets(),
            }
            bytes.extend(place);
        }
        // At whatever interface, with whatever cookie.
        bytes.extend([0; 4]);
        bytes.extend([0xFF; 8]);
        bytes
    }

    pub(super) fn read(answer: &[u8]) -> Option<Told> {
        let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
        let told = answer.get(HEADER..)?;
        let word = |at: usize| <[u8; 4]>::try_from(told.get(at..at + 4)?).ok();
        match kind {
            BY_FAMILY => Some(Told::Row(Row { state: *told.get(STATE)?, uid: u32::from_ne_bytes(word(UID)?) })),
            ERROR if i32::from_ne_bytes(word(0)?) == NO_SUCH => Some(Told::None),
            _ => None,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod diag {
    pub(super) fn ask(_: std::net::SocketAddr, _: std::net::SocketAddr) -> Option<super::Told> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:11D6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   1: 0100007F:B4A2 0100007F:11D6 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0 20 4 30 10 -1
   2: 0100007F:B4A4 0100007F:11D6 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1
";

    #[test]
    fn the_kernels_table_names_the_user_of_a_connection() {
        if cfg!(target_endian = "little") {
            let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
            assert_eq!(row_of(TABLE, at(46_242), at(4566)), Some(Row { state: ESTABLISHED, uid: 1000 }));
            assert_eq!(row_of(TABLE, at(46_244), at(4566)), Some(Row { state: 5, uid: 0 }));
            assert_eq!(row_of(TABLE, at(46_242), at(4567)), None);
            assert_eq!(row_of(TABLE, at(46_243), at(4566)), None);
            assert_eq!(written("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
        }
    }

    /// No answer was told from the answer that there is no such connection: a client that hung up had the whole table read.
    #[cfg(target_os = "linux")]
    #[test]
    fn that_there_is_no_such_connection_is_an_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        if let Some(told) = diag::ask(SocketAddr::new(here.ip(), 1), here) {
            assert_eq!(told, Told::None);
        }
        let refused = |number: i32| [&[0; 4][..], &2_u16.to_ne_bytes(), &[0; 10], &number.to_ne_bytes()].concat();
        assert_eq!(diag::read(&refused(-2)), Some(Told::None));
        // EPERM, where the kernel may not be asked.
        assert_eq!(diag::read(&refused(-1)), None);
    }

    /// A client that had closed its connection was taken for root: the kernel tells the user 0 of what is nobody's.
    #[test]
    fn a_connection_of_this_process_is_ours_until_its_client_closes_it() {
        for place in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(place) else { continue };
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, here) = (client.local_addr().unwrap(), listener.local_addr().unwrap());
            assert!(is_ours(peer, here));
            let is_linux = cfg!(target_os = "linux");
            assert!(!is_linux || !is_ours(SocketAddr::new(peer.ip(), 1), here));
            drop(client);
            assert!(!is_linux || !is_ours(peer, here));
        }
    }
}
