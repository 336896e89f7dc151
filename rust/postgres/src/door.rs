//! How the process that owns a store is reached from other machines: it says so in a row, which whoever may read the store reads.

use std::sync::PoisonError;
use std::time::Duration;

use forebay_store::port::StoreError;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};

use crate::look::{blocking, column};
use crate::schema::{DOOR_KEPT, DOOR_OF, DOOR_TOLD, HAS_DOORS};
use crate::session::{silent, Session};
use crate::settings::Settings;

/// How long the server may take to be told of a door, once it has let us in. How long that may take is bounded for each connection.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether it is to be told at all.
const LOOK: Duration = Duration::from_millis(50);

/// Where a process listens, and what lets others in.
#[derive(Clone, PartialEq, Eq)]
pub struct Door {
    /// What it speaks.
    pub protocol: u32,
    /// Host and port; `None`: it does not listen for other machines.
    pub address: Option<String>,
    /// The key that it proves to have, as DER.
    pub key: Vec<u8>,
    /// What whoever comes must say.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Door {
    /// Without the secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Door")
            .field("protocol", &self.protocol)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Say how the process of these settings is reached. It must have joined. Waits for the server as long as that `is_wanted`: an owner that
    /// is just opening the store can be told to stop meanwhile.
    pub fn tell_door(&self, door: &Door, is_wanted: impl Fn() -> bool) -> Result<(), StoreError> {
        let told = async {
            let session = Session::open(self).await?;
            let unheard = |_| StoreError::Unavailable(format!("{}: it does not answer", self.place()));
            timeout(TOLD_WITHIN, self.write_door(&session, DOOR_TOLD, door)).await.map_err(unheard)?
        };
        let ends = async {
            while is_wanted() {
                sleep(LOOK).await;
            }
        };
        blocking(async {
            tokio::select! {
                told = told => told,
                () = ends => Err(StoreError::Unavailable("the store is being given up".into())),
            }
        })?;
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) = Some(door.clone());
        Ok(())
    }

    /// Say it again, if it was said and is not known any more.
    pub(crate) async fn keep_door(&self, session: &Session) -> Result<(), StoreError> {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match door {
            Some(door) => self.write_door(session, DOOR_KEPT, &door).await,
            None => Ok(()),
        }
    }

    async fn write_door(&self, session: &Session, text: &str, door: &Door) -> Result<(), StoreError> {
        let protocol = door.protocol as i32;
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&self.member(), Type::TEXT),
            (&protocol, Type::INT4),
            (&door.address, Type::TEXT),
            (&door.key, Type::BYTEA),
            (&door.secret, Type::BYTEA),
        ];
        session.typed(text, &parameters).await.map(drop)
    }

    /// How the process with this name is reached; `None`: it has not said so. Waits for the server.
    pub fn door_of(&self, member: &str) -> Result<Option<Door>, StoreError> {
        blocking(async {
            let session = Session::open(self).await?;
            let known = session.typed_one(HAS_DOORS, &[]).await?.ok_or_else(silent)?;
            if !column::<bool>(&known, 0)? {
                return Ok(None);
            }
            let Some(row) = session.typed_one(DOOR_OF, &[(&member, Type::TEXT)]).await? else { return Ok(None) };
            let protocol: i32 = column(&row, 0)?;
            let (address, key, secret) = (column(&row, 1)?, column(&row, 2)?, column(&row, 3)?);
            Ok(Some(Door { protocol: protocol as u32, address, key, secret }))
        })
    }
}
