//! What schemas have to do with buses: events are held against them, and some must not change under a bus that enforces them.

use forebay_core::schema::envelope_of;

use crate::api::bus::{Enforce, Entry, EntryResult};
use crate::api::schema::{PutSchema, RegistryNamed};
use crate::base::error::EngineError;
use crate::buses::envelope::Accepted;
use crate::buses::BusRoom;
use crate::commit::done::Done;
use crate::schemas::{cannot_be_enforced, unchecked, SchemaRoom};

pub(crate) fn schemas<'a>(room: &'a mut BusRoom<'_>) -> SchemaRoom<'a> {
    SchemaRoom { ctx: room.ctx, schemas: room.schemas }
}

/// Refuse what is not an event, and what does not fit its schema on a bus that enforces schemas.
pub(crate) fn check_event(room: &mut BusRoom<'_>, bus: &str, entry: &Entry) -> Result<(), EntryResult> {
    entry.check()?;
    if enforced_on(room, bus).is_none() {
        return Ok(());
    }
    let (account, region) = (room.ctx.config.account.clone(), room.ctx.config.region.clone());
    let id = "00000000-0000-0000-0000-000000000000";
    let accepted = Accepted { id, now_ms: room.ctx.now.wall_ms, account: &account, region: &region };
    let event = entry.envelope(&accepted);
    check_fits(room, bus, Some(entry.kind()), &event).map_err(|error| EntryResult::Refused {
        error_code: "InvalidArgument",
        error_message: format!("Parameter Detail is not valid. Reason: {error}"),
    })
}

/// Refuse an event that does not fit its schema. `kind`: its source and detail-type, if they are at hand.
pub(crate) fn check_fits(
    room: &mut BusRoom<'_>,
    bus: &str,
    kind: Option<(&str, &str)>,
    event: &str,
) -> Result<(), EngineError> {
    let Some(enforce) = enforced_on(room, bus) else { return Ok(()) };
    let found = if kind.is_none() { envelope_of(event) } else { None };
    let known = found.as_ref().map(|(source, detail_type)| (source.as_str(), detail_type.as_str()));
    let Some(kind) = kind.or(known) else { return Ok(()) };
    schemas(room).misfit(&enforce, kind, event)?.map_or(Ok(()), |text| Err(EngineError::Invalid(text)))
}

fn enforced_on(room: &BusRoom<'_>, bus: &str) -> Option<Enforce> {
    let enforce = &room.buses.entries.get(bus)?.row.enforce;
    (*enforce != Enforce::default()).then(|| enforce.clone())
}

/// Create a schema or add a version, unless a bus is to enforce it and cannot.
pub(crate) fn schema_put(room: &mut BusRoom<'_>, asked: PutSchema) -> Result<Done, EngineError> {
    let is_enforced = room.buses.entries.values().any(|bus| bus.row.enforce.has(&asked.registry));
    if is_enforced {
        let unchecked = unchecked(asked.schema_type, &asked.content)?;
        if !unchecked.is_empty() {
            return Err(cannot_be_enforced(&asked.name, &unchecked));
        }
    }
    schemas(room).schema_put(asked)
}

/// Delete a registry, unless a bus enforces it.
pub(crate) fn registry_delete(room: &mut BusRoom<'_>, named: RegistryNamed) -> Result<Done, EngineError> {
    let enforced = Enforce::Registry(named.name.clone());
    if let Some(bus) = room.buses.entries.values().find(|bus| bus.row.enforce == enforced) {
        return Err(EngineError::Conflict(format!(
            "bus {:?} enforces registry {:?}: let it enforce another one first",
            bus.row.name, named.name
        )));
    }
    schemas(room).registry_delete(named)
}
