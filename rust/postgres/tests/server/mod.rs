//! A real PostgreSQL server of the test's own, in a new directory and on a free port of the loopback address.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{kill_process, Pid, Signal};

/// A user without rights, since the server refuses to run as root.
const NOBODY: u32 = 65534;
const MISSING: &str = "postgresql is not installed: sudo apt-get install -y postgresql";

/// A server, which ends with the test.
pub struct Server {
    pub port: u16,
    folder: PathBuf,
    programs: PathBuf,
    /// Stops the server and removes its directory when this process is gone, however that ended.
    watchdog: Child,
}

impl Server {
    /// Start one; `None` where PostgreSQL is not installed, which is said at the end of `make test`, and an error under CI.
    pub fn start(file: &str) -> Option<Self> {
        // The user without rights must get into it.
        Self::start_in(Path::new("/tmp"), file)
    }

    /// Start one in a directory of another disk.
    pub fn start_in(place: &Path, file: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            tell_at_the_end(MISSING, file);
            return None;
        };
        let folder = tempfile::Builder::new().prefix("forebay-postgres-").tempdir_in(place).unwrap().keep();
        if is_root() {
            std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = folder.join("data");
        let mut initdb = unprivileged(&programs.join("initdb"), &folder);
        let made =
            initdb.arg("-D").arg(&data).args(["-U", "forebay", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]);
        succeed(&made.output().unwrap());
        let script = r#"read -r line; "$0" stop -m immediate -D "$1/data"; rm -rf "$1""#;
        let mut watchdog = unprivileged(Path::new("sh"), Path::new("/"));
        watchdog.args(["-c", script]).arg(programs.join("pg_ctl")).arg(&folder).stdin(Stdio::piped());
        let watchdog = watchdog.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { port: 0, folder, programs, watchdog };
        for _ in 0..3 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // Another program may have been given the same port meanwhile.
            if server.try_begin() {
                return Some(server);
            }
        }
        panic!("the server does not start: {}", std::fs::read_to_string(server.folder.join("log")).unwrap_or_default());
    }

    /// Start the server that was stopped.
    pub fn begin(&self) {
        assert!(self.try_begin(), "the server does not start again");
    }

    fn try_begin(&self) -> bool {
        let options = format!(
            "-c port={} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=64MB -c max_connections=200",
            self.port
        );
        let mut start = self.ctl();
        start.args(["-w", "-o", &options, "-l"]).arg(self.folder.join("log")).arg("start");
        start.status().unwrap().success()
    }

    /// End the server as a crash does: the next start recovers from its log.
    pub fn crash(&self) {
        succeed(&self.ctl().args(["stop", "-w", "-m", "immediate"]).output().unwrap());
    }

    fn ctl(&self) -> Command {
        let mut command = unprivileged(&self.programs.join("pg_ctl"), &self.folder);
        command.arg("-D").arg(self.folder.join("data"));
        // A server that goes on must not hold a pipe of ours open.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Give the server a file of its own.
    pub fn give(&self, file: &Path, name: &str) {
        let path = self.folder.join("data").join(name);
        std::fs::copy(file, &path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// The store's URL, with parameters.
    pub fn url(&self, query: &str) -> String {
        url(self.port, query)
    }

    /// Run SQL by the server's own client, and give what it prints.
    pub fn sql(&self, text: &str) -> String {
        succeed(&self.try_sql(text)).trim().into()
    }

    /// The same, where the server may end it.
    pub fn try_sql(&self, text: &str) -> Output {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-Atqc", text, &self.url("")]).output().unwrap()
    }

    /// Begin a transaction with this SQL; it holds its locks until what is returned is dropped.
    pub fn hold(&self, text: &str) -> Held {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-Atq", &self.url("")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        writeln!(psql.stdin.as_mut().unwrap(), "BEGIN;\n{text};\n\\echo held").unwrap();
        let told = BufReader::new(psql.stdout.as_mut().unwrap()).lines().map(Result::unwrap).any(|line| line == "held");
        assert!(told, "{text}");
        Held(psql)
    }

    /// Give the server and all of its sessions a signal.
    pub fn signal(&self, signal: Signal) {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let main: i32 = file.lines().next().unwrap().parse().unwrap();
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        for pid in std::iter::once(main).chain(children) {
            // A session may have ended meanwhile.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
        }
    }
}

/// A transaction that is open.
pub struct Held(Child);

impl Drop for Held {
    /// Without its input the client ends. Then the locks are free, or are soon.
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        drop(self.watchdog.stdin.take());
        self.watchdog.wait().unwrap();
    }
}

/// Have the end of `make test` name what was not run; under CI every test is.
pub fn tell_at_the_end(why: &str, file: &str) {
    let is_ci = std::env::var("CI").is_ok_and(|ci| !["", "false"].contains(&ci.as_str()));
    assert!(!is_ci, "{why}");
    println!("not run: {why}");
    if let Some(path) = std::env::var_os("FOREBAY_NOT_RUN") {
        let mut told = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(told, "{why}\t{file}").unwrap();
    }
}

/// The URL of a store behind a port.
pub fn url(port: u16, query: &str) -> String {
    format!("postgresql://forebay@127.0.0.1:{port}/postgres?sslmode=disable{query}")
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(number)?;
    Some(newest.join("bin")).filter(|folder| folder.join("initdb").exists())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn unprivileged(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("LC_ALL", "C");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}
