//! A TCP proxy between a store and its server that loses answers, or holds up what is sent; and hosts that are far, or give no
//! connection.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Accepts connections until it is dropped.
pub struct Proxy {
    port: u16,
    ways: Arc<Ways>,
}

#[derive(Default)]
struct Ways {
    loses_answers: AtomicBool,
    holds: AtomicBool,
    is_over: AtomicBool,
    /// What is held, and the connection that it goes on by.
    held: Mutex<Vec<(Vec<u8>, TcpStream)>>,
    /// Answers to what was held.
    late_answers: AtomicUsize,
}

impl Proxy {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, ways) = (listener.local_addr().unwrap().port(), Arc::new(Ways::default()));
        let of_thread = ways.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                let (there, back) = (of_thread.clone(), of_thread.clone());
                let (client_2, server_2) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let is_held = Arc::new(AtomicBool::new(false));
                let of_answers = is_held.clone();
                thread::spawn(move || there.send(&client, server, &is_held));
                thread::spawn(move || back.answer(&server_2, &client_2, &of_answers));
            }
        });
        Self { port, ways }
    }

    pub fn url(&self) -> String {
        super::server::url(self.port, "")
    }

    /// From now on the server gets what is sent, and the connection ends instead of its answer.
    pub fn lose_answers(&self, on: bool) {
        self.ways.loses_answers.store(on, Ordering::SeqCst);
    }

    /// From now on what is sent is kept, and the client's connection ends. The server's stays.
    pub fn hold(&self, on: bool) {
        self.ways.holds.store(on, Ordering::SeqCst);
    }

    /// Give the server what was held, and wait until it has answered; gives how many connections were held.
    pub fn let_go(&self) -> usize {
        let held = std::mem::take(&mut *self.ways.held.lock().unwrap());
        for (bytes, server) in &held {
            let mut server: &TcpStream = server;
            server.write_all(bytes).unwrap();
        }
        let until = Instant::now() + Duration::from_secs(10);
        while self.ways.late_answers.load(Ordering::SeqCst) < held.len() {
            assert!(Instant::now() < until, "the server answers");
            thread::sleep(Duration::from_millis(5));
        }
        held.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ways.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// A port behind which the server is so far: what is sent arrives that much later, each way.
pub fn far(server: u16, one_way: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                to.set_nodelay(true).unwrap();
                let (late, due) = mpsc::channel::<(Instant, Vec<u8>)>();
                thread::spawn(move || {
                    for (at, bytes) in due {
                        thread::sleep(at.saturating_duration_since(Instant::now()));
                        if to.write_all(&bytes).is_err() {
                            break;
                        }
                    }
                    drop(to.shutdown(Shutdown::Both));
                });
                thread::spawn(move || {
                    let mut bytes = vec![0; 1 << 16];
                    while let Ok(many @ 1..) = from.read(&mut bytes) {
                        if late.send((Instant::now() + one_way, bytes[..many].to_vec())).is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    port
}

/// A host that is lost: what is sent to begin a connection to it vanishes, until this is dropped.
pub struct Lost(TcpListener, Vec<TcpStream>);

/// A host whose server stands still: it accepts connections and says nothing, until this is dropped.
pub struct Silent(TcpListener);

impl Lost {
    /// The queue of connections that nobody accepts is full.
    pub fn host() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, mut waiting) = (listener.local_addr().unwrap(), Vec::new());
        while let Ok(one) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(one);
        }
        Self(listener, waiting)
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

impl Silent {
    pub fn host() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

impl Ways {
    fn send(&self, mut client: &TcpStream, server: TcpStream, is_held: &AtomicBool) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(many @ 1..) = client.read(&mut bytes) {
            if self.holds.load(Ordering::SeqCst) {
                is_held.store(true, Ordering::SeqCst);
                self.held.lock().unwrap().push((bytes[..many].to_vec(), server));
                drop(client.shutdown(Shutdown::Both));
                return;
            }
            if (&server).write_all(&bytes[..many]).is_err() {
                break;
            }
        }
        drop(server.shutdown(Shutdown::Both));
    }

    fn answer(&self, mut server: &TcpStream, mut client: &TcpStream, is_held: &AtomicBool) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(many @ 1..) = server.read(&mut bytes) {
            if is_held.load(Ordering::SeqCst) {
                self.late_answers.fetch_add(1, Ordering::SeqCst);
            } else if self.loses_answers.load(Ordering::SeqCst) || client.write_all(&bytes[..many]).is_err() {
                break;
            }
        }
        drop(client.shutdown(Shutdown::Both));
        drop(server.shutdown(Shutdown::Both));
    }
}
