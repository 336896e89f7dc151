//! What is said before the first frame: who comes says which protocol it speaks and the owner's secret, and is told whether it may come in.

use std::io;

use forebay_core::secret::is_same;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::socket::frame::PROTOCOL;

/// Bytes of a secret.
pub(super) const SECRET_BYTES: usize = 32;
/// What every greeting begins with.
const MAGIC: [u8; 8] = *b"forebay ";
const BYTES: usize = MAGIC.len() + 4 + SECRET_BYTES;

/// What whoever comes is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// Its frames are read from here on.
    In,
    /// It does not know the secret.
    Stranger,
    /// It speaks another protocol.
    OtherProtocol,
}

impl Welcome {
    const ALL: [Self; 3] = [Self::In, Self::Stranger, Self::OtherProtocol];
}

/// Greet the owner.
pub(super) async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), secret: &[u8]) -> io::Result<Welcome> {
    let mut said = MAGIC.to_vec();
    said.extend_from_slice(&PROTOCOL.to_le_bytes());
    said.extend_from_slice(secret);
    stream.write_all(&said).await?;
    stream.flush().await?;
    let told = usize::from(stream.read_u8().await?);
    Welcome::ALL.get(told).copied().ok_or_else(|| io::Error::other(format!("it answers {told} to a greeting")))
}

/// Hear a greeting, and answer it.
pub(super) async fn welcome(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), secret: &[u8]) -> io::Result<Welcome> {
    let mut said = [0; BYTES];
    stream.read_exact(&mut said).await?;
    let (magic, rest) = said.split_at(MAGIC.len());
    let (protocol, told) = rest.split_at(4);
    let welcome = if magic != MAGIC || !is_same(told, secret) {
        Welcome::Stranger
    } else if protocol != PROTOCOL.to_le_bytes() {
        Welcome::OtherProtocol
    } else {
        Welcome::In
    };
    stream.write_u8(welcome as u8).await?;
    stream.flush().await?;
    Ok(welcome)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const SECRET: [u8; SECRET_BYTES] = [7; SECRET_BYTES];

    /// What both ends make of a greeting.
    fn greeted(said: &[u8]) -> (io::Result<Welcome>, Option<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut far, mut near) = duplex(1_024);
            far.write_all(said).await.unwrap();
            far.shutdown().await.unwrap();
            let heard = welcome(&mut near, &SECRET).await;
            drop(near);
            (heard, far.read_u8().await.ok())
        })
    }

    #[test]
    fn who_knows_the_secret_and_speaks_the_protocol_comes_in() {
        let said = |magic: &[u8], protocol: u32, secret: &[u8]| [magic, &protocol.to_le_bytes(), secret].concat();
        let mut wrong = SECRET;
        wrong[SECRET_BYTES - 1] ^= 1;
        let cases = [
            (said(&MAGIC, PROTOCOL, &SECRET), Some(Welcome::In)),
            (said(&MAGIC, PROTOCOL + 1, &SECRET), Some(Welcome::OtherProtocol)),
            (said(&MAGIC, PROTOCOL, &wrong), Some(Welcome::Stranger)),
            // What it speaks is told to nobody who does not know the secret.
            (said(&MAGIC, PROTOCOL + 1, &wrong), Some(Welcome::Stranger)),
            (said(b"another ", PROTOCOL, &SECRET), Some(Welcome::Stranger)),
            (said(&MAGIC, PROTOCOL, &SECRET[1..]), None),
        ];
        for (said, expected) in cases {
            let (heard, told) = greeted(&said);
            assert_eq!(heard.ok(), expected);
            assert_eq!(told, expected.map(|welcome| welcome as u8));
        }
    }

    #[test]
    fn both_ends_understand_each_other() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (told, heard) = runtime.block_on(async {
            let (mut far, mut near) = duplex(1_024);
            tokio::join!(greet(&mut far, &SECRET), welcome(&mut near, &SECRET))
        });
        assert_eq!((told.unwrap(), heard.unwrap()), (Welcome::In, Welcome::In));
    }
}
