//! The secrets of connections: a file in the store's directory that only the store's user may read. No row has them, and no backup.
//!
//! The file is replaced as a whole before the commit that speaks of the change. A secret whose commit never came belongs to no connection,
//! and goes with the next change. A store in memory has no file: its secrets end with the process.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::api::connection::{AuthorizationKind, ConnectionState, Secret};
use crate::base::error::EngineError;
use crate::buses::connections::Connections;
use crate::ctx::Ctx;
use crate::observe::operator_events::OperatorEvent;
use crate::store::port::StoreError;

/// Its name in the store's directory.
const FILE: &str = "connection-secrets.json";

/// Where secrets are kept.
pub(super) struct SecretFile(PathBuf);

/// What one connection authorizes with.
#[derive(Serialize, Deserialize)]
struct Kept<V> {
    kind: AuthorizationKind,
    parameters: V,
}

/// By the ids of their connections.
#[derive(Serialize, Deserialize)]
struct Contents<V> {
    connections: BTreeMap<String, Kept<V>>,
}

impl SecretFile {
    fn read(&self) -> io::Result<BTreeMap<String, Kept<Value>>> {
        let bytes = match fs::read(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            read => read?,
        };
        Ok(serde_json::from_slice::<Contents<Value>>(&bytes)?.connections)
    }

    fn write(&self, contents: &Contents<&Value>) -> io::Result<()> {
        let new = self.0.with_extension("new");
        // Whatever stands there may be readable to others.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(contents)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.0)?;
        File::open(self.0.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Connections {
    /// Keep secrets in this directory from now on, and give connections those that it has.
    pub(crate) fn open_secrets(&mut self, directory: &Path, ctx: &mut Ctx) {
        let file = SecretFile(directory.join(FILE));
        let mut kept = file.read().unwrap_or_else(|error| {
            let text = format!("it cannot be read, so connections wait for their secrets: {error}");
            ctx.notice(OperatorEvent::Damaged, FILE, json!({"text": text}));
            BTreeMap::new()
        });
        for known in self.by_name.values_mut() {
            let Some(kept) = kept.remove(&known.row.id).filter(|kept| kept.kind == known.row.kind) else { continue };
            let has_authorized = known.row.authorized_ms.is_some_and(|at_ms| at_ms >= known.row.modified_ms);
            let is_ready = has_authorized || known.row.kind != AuthorizationKind::OauthClientCredentials;
            known.parameters = Some(Secret(kept.parameters));
            known.reason = None;
            known.state = if is_ready { ConnectionState::Authorized } else { ConnectionState::Authorizing };
        }
        self.secrets = Some(file);
    }

    /// Write the secrets as they will be when this connection has these, or none any more.
    pub(super) fn keep_secrets(
        &self,
        id: &str,
        given: Option<(AuthorizationKind, &Secret)>,
    ) -> Result<(), EngineError> {
        let Some(file) = &self.secrets else { return Ok(()) };
        let others = self.by_name.values().filter(|one| one.row.id != id);
        let mut connections: BTreeMap<String, Kept<&Value>> = others
            .filter_map(|one| {
                let Secret(parameters) = one.parameters.as_ref()?;
                Some((one.row.id.clone(), Kept { kind: one.row.kind, parameters }))
            })
            .collect();
        if let Some((kind, Secret(parameters))) = given {
            connections.insert(id.to_owned(), Kept { kind, parameters });
        }
        file.write(&Contents { connections }).map_err(|error| {
            let text = format!("secrets of connections cannot be written to {}: {error}", file.0.display());
            match error.kind() {
                io::ErrorKind::StorageFull => StoreError::Full(text).into(),
                _ => StoreError::Refused(text).into(),
            }
        })
    }
}
