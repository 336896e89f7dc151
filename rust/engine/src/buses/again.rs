//! Events that a target did not take are given to it again: streams, other buses and workflows. Queues, topics and functions are told by
//! the room of destinations, which knows no streams and no buses.

use std::cell::Cell;

use crate::api::bus::Recipient;
use crate::base::error::EngineError;
use crate::base::ids::parse_uuid;
use crate::base::trace::Carried;
use crate::buses::deliver::{self, Delivery};
use crate::buses::put::{OnBus, DELIVERIES_MAX};
use crate::buses::BusRoom;
use crate::commit::target::Target;
use crate::failures::delivery::{self, InStoreDelivery};

/// Give a target what it did not take before. The failure's row leaves in the commit that has it.
pub(crate) fn give_again(room: &mut BusRoom<'_>, delivery: &InStoreDelivery) {
    let to = match delivery.row.destination.as_deref().map(Target::of) {
        Some(Target::Stream(name)) => Recipient::Stream(name.into()),
        Some(Target::Bus(name)) => Recipient::Bus(name.into()),
        Some(Target::Workflow(name)) => Recipient::Workflow(name.into()),
        _ => return,
    };
    let given = give_row(room, &to, delivery);
    if given.is_ok() {
        room.buses.given_again.push(delivery.key);
        room.ctx.commit.pending.urgent = true;
    }
    delivery::delivered_here(&mut room.events().failures(), delivery, given.map(|()| true));
}

fn give_row(room: &mut BusRoom<'_>, to: &Recipient, delivery: &InStoreDelivery) -> Result<(), EngineError> {
    room.ctx.check_room()?;
    let InStoreDelivery { key, row, payload } = delivery;
    let Some(routed) = &row.routed else { return Ok(()) };
    let request = row.record["requestContext"]["requestId"].as_str().and_then(parse_uuid);
    let (left, id) = (Cell::new(DELIVERIES_MAX), key.text());
    let event = OnBus {
        id: request.unwrap_or_default(),
        time_ms: row.failed_ms,
        text: &routed.event,
        size: routed.event.len(),
        carried: Carried { hops: routed.hops, trace: row.trace.as_deref() },
        left: &left,
        replay: None,
        entry: None,
    };
    let delivery = Delivery {
        owner: (key.mapping, key.shard),
        owner_arn: &routed.rule_arn,
        to,
        group_id: None,
        partition_key: routed.partition_key.as_deref().unwrap_or(&id),
        dead_letter_queue: None,
        retry: routed.retry,
        event,
        http: None,
        input: &String::from_utf8_lossy(payload),
    };
    deliver::give(room, delivery).map(|_| ())
}
