//! `CloudFormation`, with S3 for code and with parameters and secrets. What runs the stacks answers, on `stacks.sock` in the store.
//!
//! A call is one line of JSON there, and so is its answer; times are milliseconds since 1970. The body of an object is a file beside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Take, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{json, Map, Value as Json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::SERVICES;
use crate::aside::Aside;
use crate::aws::call::{Call, Outcome, Output};
use crate::aws::checksums;
use crate::aws::fault::Fault;
use crate::aws::model::{Kind, Model, Shape};
use crate::aws::protocol::text_of_bytes;
use crate::aws::value::{Key, Value};
use crate::http::listener::Body;
use crate::http::pieces::pieces;

/// Where what runs the stacks listens, in the store's directory.
const SOCKET: &str = "stacks.sock";
const FOLDER: &str = "stacks";
/// Calls that are under way at once; the others wait.
static CALLS: Semaphore = Semaphore::const_new(32);
/// A template is expanded and previewed within this time.
const ANSWER: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Levels of an answer's values.
const DEPTH_MAX: usize = 32;
static BODIES: AtomicU64 = AtomicU64::new(0);
/// What compares checksums and writes bodies of objects. Nobody is refused there: what waits is here already, as all requests under way are.
static ASIDE: LazyLock<Aside> = LazyLock::new(|| Aside::new(0));
/// KiB of what is asked and not answered yet: bodies of objects, and what each call has beside. All of it is in memory, so nothing waits for
/// room.
const ASKED_KIB: usize = 256 << 10;
static ASKED: Semaphore = Semaphore::const_new(ASKED_KIB);
/// What a call takes beside the body of an object.
const CALL_KIB: usize = 4;
/// Objects that are sent at once and piece by piece, each with an open file: by keys, and by presigned URLs, which anybody may have.
static READINGS: Semaphore = Semaphore::const_new(512);
static READINGS_BY_URL: Semaphore = Semaphore::const_new(128);
const PIECE: usize = 64 << 10;
/// An object of so many bytes goes out at once: what its client does not take is small.
const WHOLE_MAX: u64 = 4 << 10;
/// How long an object waits for its turn.
const READING_WAIT: Duration = Duration::from_secs(10);
/// How often an object is asked for that is written anew before it is read.
const READS_MAX: usize = 8;

/// A service whose calls are all carried out there.
macro_rules! forwarded {
    ($call:ident, $operations:ident, $service:literal, $version:literal, [$($name:ident),* $(,)?]) => {
        /// The operations that are carried out.
        pub(super) const $operations: &[&str] = &[$(stringify!($name)),*];

        /// Carry out an operation.
        pub(super) fn $call<'c>(call: &'c Call<'c>, operation: &'c str) -> Outcome<'c> {
            Box::pin(forward(($service, $version), call, operation))
        }
    };
}

forwarded!(
    cloudformation,
    CLOUDFORMATION,
    "cloudformation",
    "2010-05-15",
    [
        CreateChangeSet,
        CreateStack,
        DeleteChangeSet,
        DeleteStack,
        DescribeChangeSet,
        DescribeStackEvents,
        DescribeStackResource,
        DescribeStackResources,
        DescribeStacks,
        ExecuteChangeSet,
        GetTemplate,
        GetTemplateSummary,
        ListExports,
        ListStackResources,
        ListStacks,
        UpdateStack,
        ValidateTemplate,
    ]
);
forwarded!(
    s3,
    S3,
    "s3",
    "2006-03-01",
    [
        AbortMultipartUpload,
        CompleteMultipartUpload,
        CreateBucket,
        CreateMultipartUpload,
        DeleteBucket,
        DeleteObject,
        DeleteObjects,
        GetBucketLocation,
        GetObject,
        HeadBucket,
        HeadObject,
        ListObjectsV2,
        PutObject,
        UploadPart,
    ]
);
forwarded!(ssm, SSM, "ssm", "2014-11-06", [GetParameter, GetParameters, GetParametersByPath]);

// What `sam list endpoints` asks of the URLs of functions.
forwarded!(resources, RESOURCES, "cloudcontrolapi", "2021-09-30", [GetResource]);

/// `of` is the service: the name that it signs by, and its version.
async fn forward(of: (&'static str, &'static str), call: &Call<'_>, name: &str) -> Result<Output, Fault> {
    let asked = if_run(of, call, name).await?;
    asked.ok_or_else(|| not_served("it has no store of its own, or is not served by `forebay run`"))
}

/// Refuse another user of this machine: code that is deployed runs as the app's user, and secrets are for that user.
pub(super) fn refuse_strangers(call: &Call<'_>) -> Result<(), Fault> {
    call.stranger.map_or(Ok(()), |why| Err(Fault::new("AccessDenied", why).status(403)))
}

/// Ask what runs the stacks; None where nothing does.
pub(super) async fn if_run(
    of: (&'static str, &'static str),
    call: &Call<'_>,
    name: &str,
) -> Result<Option<Output>, Fault> {
    let mut models = SERVICES.iter().map(super::Service::model);
    let Some(model) = models.find(|model| (model.signing_name, model.api_version) == of) else { return Ok(None) };
    let Some(operation) = model.operation(name) else { return Err(not_served(name)) };
    let Some(store) = call.store else { return Ok(None) };
    refuse_strangers(call)?;
    let body = model.payload(operation.input).map(|member| member.name);
    let bytes = body.and_then(|member| call.input.blob(member)).map_or(0, <[u8]>::len);
    let _room = room(&ASKED, bytes)?;
    let mut input = json_of(&call.input, body);
    let _sent = match body.and_then(|member| Some((member, call.input.blob(member)?))) {
        Some((member, bytes)) => {
            let sent = Sent::write(store.to_owned(), bytes, &call.sums).await?;
            input[member] = json!(sent.0);
            Some(sent)
        }
        None if call.sums.is_empty() => None,
        None => {
            let work = || {
                let sums = call.sums.clone();
                move || sums.check(&sums.list)
            };
            aside(work).await??;
            None
        }
    };
    let line = json!({"operation": "wire", "service": of.0, "action": name, "input": input, "origin": call.origin});
    let line = line.to_string();
    let Some(output) = operation.output.map(|shape| model.shape(shape)) else {
        return Ok(answered(store, line).await?.map(|_| Value::structure().into()));
    };
    let payload = model.payload(operation.output).filter(|member| matches!(model.shape(member.shape).kind, Kind::Blob));
    for _ in 0..READS_MAX {
        let Some(answer) = answered(store, line.clone()).await? else { return Ok(None) };
        let file = payload.and_then(|member| Some((member.name, Kept::of(&answer, member.name)?)));
        let mut value = value_of(model, output, answer, 0);
        let (Some((member, kept)), Value::Map(fields)) = (file, &mut value) else { return Ok(Some(value.into())) };
        if kept.length > WHOLE_MAX {
            let readings = if call.is_presigned { &READINGS_BY_URL } else { &READINGS };
            let place = timeout(READING_WAIT, readings.acquire()).await.ok().and_then(Result::ok);
            let place = place.ok_or_else(slow_down)?;
            let Some(file) = beside(move || kept.open()).await? else { continue };
            return Ok(Some(Output::Object(value, in_pieces(file, place))));
        }
        if let Some(bytes) = beside(move || kept.read()).await? {
            fields.retain(|(key, _)| key != member);
            fields.push((Key::Borrowed(member), Value::Blob(bytes)));
            return Ok(Some(value.into()));
        }
    }
    Err(slow_down())
}

/// What is answered; None where nothing runs the stacks.
async fn answered(store: &Path, line: String) -> Result<Option<Json>, Fault> {
    let Some(mut told) = ask(store, line).await? else { return Ok(None) };
    if let Some(code) = told["error"].as_str() {
        let status = told["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(400);
        let message = told["reasons"].as_array().into_iter().flatten().filter_map(Json::as_str).collect::<Vec<_>>();
        return Err(Fault::new(code, message.join("\n")).status(status));
    }
    Ok(Some(told["answer"].take()))
}

/// What is read of the file of an object, as it was when its settings were read.
struct Kept {
    path: PathBuf,
    inode: u64,
    modified_ns: i64,
    from: u64,
    length: u64,
}

impl Kept {
    fn of(answer: &Json, member: &str) -> Option<Self> {
        let file = &answer["File"];
        Some(Self {
            path: PathBuf::from(answer[member].as_str()?),
            inode: file["inode"].as_u64()?,
            modified_ns: file["modified_ns"].as_i64()?,
            from: file["from"].as_u64()?,
            length: file["length"].as_u64()?,
        })
    }

    /// What is read of it. None: another object has taken its place, whose settings are others.
    fn open(&self) -> io::Result<Option<Take<File>>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let there = file.metadata()?;
        if (there.ino(), there.mtime() * 1_000_000_000 + there.mtime_nsec()) != (self.inode, self.modified_ns) {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(self.from))?;
        Ok(Some(file.take(self.length)))
    }

    /// All of it at once.
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = self.open()? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Send a file piece by piece, as its client takes it. The place is given back at the end, or when the client leaves.
fn in_pieces(mut file: Take<File>, place: SemaphorePermit<'static>) -> Body {
    let (pieces, body) = pieces(1);
    tokio::spawn(async move {
        let _place = place;
        loop {
            let read = beside(move || {
                let mut piece = Vec::with_capacity(PIECE.min(file.limit() as usize + 1));
                file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
                Ok((file, piece))
            });
            // What cannot be read ends the body before its length: the client sees that it is cut off.
            let Ok((rest, piece)) = read.await else { return };
            if piece.is_empty() || pieces.send(piece.into()).await.is_err() {
                return;
            }
            file = rest;
        }
    });
    body
}

/// Read files beside the one thread for all connections.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|error| broken(&error))
}

/// Room for a call with so many bytes of a body.
fn room(of: &Semaphore, bytes: usize) -> Result<SemaphorePermit<'_>, Fault> {
    let wanted = u32::try_from(CALL_KIB + bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    of.try_acquire_many(wanted).map_err(|_| slow_down())
}

/// What is said of functions by what runs the stacks; null where nothing does, or where it cannot be asked.
pub(super) async fn told(call: &Call<'_>, asked: &Json) -> Json {
    let Some(store) = call.store else { return Json::Null };
    let told = ask(store, asked.to_string()).await.ok().flatten();
    told.map(|mut told| told["answer"].take()).unwrap_or_default()
}

/// Send a line to what runs the stacks, among the calls that are under way at once; None where nothing does.
pub(super) async fn ask(store: &Path, line: String) -> Result<Option<Json>, Fault> {
    let Ok(_place) = CALLS.acquire().await else { return Err(not_served("the app is stopping")) };
    timeout(ANSWER, exchange(store, line)).await.map_err(|_| broken(&io::ErrorKind::TimedOut.into()))?
}

async fn exchange(store: &Path, mut line: String) -> Result<Option<Json>, Fault> {
    // The address of a socket has 108 bytes at most: a path through the open directory is short.
    let folder = File::open(store).map_err(|error| broken(&error))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let path = if short.is_dir() { short } else { store.to_owned() }.join(SOCKET);
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        // A program that was killed leaves its socket behind.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(broken(&error)),
    };
    let (reader, mut writer) = stream.into_split();
    line.push('\n');
    writer.write_all(line.as_bytes()).await.map_err(|error| broken(&error))?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(reader.take(ANSWER_BYTES_MAX));
    reader.read_until(b'\n', &mut answer).await.map_err(|error| broken(&error))?;
    serde_json::from_slice(&answer).map(Some).map_err(|_| broken(&io::ErrorKind::UnexpectedEof.into()))
}

/// The body of a request as a file of the store, which goes unless the other side has taken it.
struct Sent(PathBuf);

impl Sent {
    /// Write bytes that have these checksums.
    async fn write(store: PathBuf, bytes: &[u8], sums: &checksums::Sent) -> Result<Self, Fault> {
        let write = move |bytes: &[u8]| -> io::Result<Self> {
            let folder = std::path::absolute(store.join(FOLDER))?;
            fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
            let number = BODIES.fetch_add(1, Ordering::Relaxed);
            let sent = Self(folder.join(format!(".body-{}-{number}", std::process::id())));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&sent.0)?;
            file.write_all(bytes)?;
            Ok(sent)
        };
        // Copied only when it has its place.
        let work = || {
            let (bytes, sums) = (bytes.to_vec(), sums.clone());
            move || sums.check(&bytes).map(|()| write(&bytes))
        };
        aside(work).await??.map_err(|error| broken(&error))
    }
}

/// Work something out that is made when there is a place for it.
async fn aside<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(make: impl FnOnce() -> W) -> Result<T, Fault> {
    let place = ASIDE.place_in_any_case().await.ok_or_else(slow_down)?;
    place.run(make()).await.map_err(|error| broken(&io::Error::other(error)))
}

impl Drop for Sent {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn not_served(why: &str) -> Fault {
    Fault::new("NotImplemented", format!("this app deploys no stacks: {why}")).status(501)
}

fn slow_down() -> Fault {
    Fault::new("SlowDown", "Please reduce your request rate.").status(503)
}

fn broken(error: &io::Error) -> Fault {
    Fault::new("ServiceUnavailable", format!("the app did not answer for its stacks: {error}")).status(503)
}

/// An input as it is asked with; the member that is a body is left out.
fn json_of(value: &Value, body: Option<&str>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) | Value::Time(number) => (*number).into(),
        Value::Double(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => text_of_bytes(bytes).into(),
        Value::List(values) => values.iter().map(|one| json_of(one, None)).collect(),
        Value::Map(fields) => {
            let fields = fields.iter().filter(|(key, value)| !(body == Some(key) && matches!(value, Value::Blob(_))));
            Json::Object(fields.map(|(key, one)| (key.clone().into_owned(), json_of(one, None))).collect())
        }
        Value::Document(json) => (**json).clone(),
    }
}

/// An answer by its shape. What the shape does not have is passed over.
pub(super) fn value_of(model: &Model, shape: &Shape, json: Json, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    match (&shape.kind, json) {
        (Kind::Structure { members, .. }, Json::Object(mut given)) => {
            let mut value = |member: &crate::aws::model::Member| {
                let json = given.remove(member.name)?;
                Some((Key::Borrowed(member.name), value_of(model, model.shape(member.shape), json, depth + 1)))
            };
            Value::Map(members.iter().filter_map(&mut value).filter(|(_, value)| *value != Value::Null).collect())
        }
        (Kind::Map(_, held), Json::Object(given)) => entries(model, model.shape(held.shape), given, depth),
        (Kind::List(item), Json::Array(items)) => {
            let inner = model.shape(item.shape);
            Value::List(items.into_iter().map(|one| value_of(model, inner, one, depth + 1)).collect())
        }
        (Kind::Time, Json::Number(millis)) => millis.as_i64().map_or(Value::Null, Value::Time),
        (Kind::Integer(_), Json::Number(number)) => number.as_i64().map_or(Value::Null, Value::Int),
        (Kind::Double(_), Json::Number(number)) => number.as_f64().map_or(Value::Null, Value::Double),
        (Kind::Boolean, Json::Bool(flag)) => Value::Bool(flag),
        (Kind::Text, Json::String(text)) => Value::Text(text),
        (Kind::Document, json) => Value::Document(Box::new(json)),
        _ => Value::Null,
    }
}

fn entries(model: &Model, held: &Shape, given: Map<String, Json>, depth: usize) -> Value {
    Value::Map(given.into_iter().map(|(key, one)| (Key::Owned(key), value_of(model, held, one, depth + 1))).collect())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// What came faster than it was kept piled up in memory, whoever sent it.
    #[test]
    fn bodies_that_wait_have_so_much_room() {
        let of = Semaphore::new(ASKED_KIB);
        let mut held = Vec::new();
        while let Ok(room) = room(&of, 16 << 20) {
            held.push(room);
        }
        assert_eq!(held.len(), 15);
        assert_eq!(room(&of, 16 << 20).unwrap_err().name, "SlowDown");
        assert!(room(&of, 1000).is_ok(), "a small one has room still");
        held.clear();
        assert_eq!(of.available_permits(), ASKED_KIB);
    }

    /// The whole of each object that somebody read slowly was held, twice.
    #[tokio::test]
    async fn a_large_object_is_read_as_its_client_takes_it() {
        static PLACES: Semaphore = Semaphore::const_new(1);
        let whole: Vec<u8> = (0..5 * PIECE + 7).map(|at| (at % 251) as u8).collect();
        let path = std::env::temp_dir().join(format!("forebay-pieces-{}", std::process::id()));
        fs::write(&path, &whole).unwrap();
        let there = fs::metadata(&path).unwrap();
        let modified_ns = there.mtime() * 1_000_000_000 + there.mtime_nsec();
        let kept = Kept { path: path.clone(), inode: there.ino(), modified_ns, from: 3, length: 3 * PIECE as u64 + 1 };
        for is_taken in [true, false] {
            let place = PLACES.acquire().await.unwrap();
            let mut body = in_pieces(kept.open().unwrap().unwrap(), place);
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first.len(), PIECE);
            if is_taken {
                let rest = body.collect().await.unwrap().to_bytes();
                assert_eq!([first, rest].concat(), whole[3..3 * PIECE + 4]);
            }
        }
        let _given_back = PLACES.acquire().await.unwrap();
        assert!(Kept { modified_ns: modified_ns + 1, ..kept }.open().unwrap().is_none());
        fs::remove_file(path).unwrap();
    }
}
