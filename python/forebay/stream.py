"""A declared stream: what is put into it comes to its handlers in order, key by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay._model import checks, limits
from forebay._model.settings import StreamSettings
from forebay._runtime.store_resource import StoreResource
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import payload as wire
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable


Entry = tuple[bytes | str, str]
_PLAIN = (bytes, str)


class Stream(StoreResource[StreamSettings]):
    """A stream of records. `App.stream` makes it."""

    async def put(self, data: Any, partition_key: str) -> str:
        """Put a record. It is durable when the call returns.

        Args:
            data: bytes, text, or any JSON value; at most 1 MiB. NaN and Infinity are not JSON.
            partition_key: 1 to 256 characters; records of one key stay in order.

        Returns:
            The record's sequence number.

        Raises:
            InvalidParameterValue: an argument outside its range (`RequestTooLarge` for the data).
            ResourceNotFound: the stream was deleted.
            TooManyRequests: too much waits for the disk.
            StoreFull: the disk is full; nothing was accepted.
            StoreFailed: a write failed; whether the record is kept is unknown.
            AppClosed: the app is not running.

        """
        if type(data) not in _PLAIN:
            data = wire.record(data)
        if type(partition_key) is not str:
            _refuse_key(partition_key)
        if self._declaring is not None:
            await self._declared()
        return await self._caller.put(self.name, partition_key, data)

    put_sync = sync_twin(put)

    async def put_many(self, records: Iterable[tuple[Any, str]]) -> list[str]:
        """Put many records in one step. When the call returns all are durable; when it raises, none was accepted.

        Args:
            records: pairs of data and partition key, as for `put`; at most 10,000.

        Returns:
            Their sequence numbers, in the order of the records.

        Raises:
            InvalidParameterValue: as for `put`; the text names the record.

        """
        entries = _entries(records)
        if self._declaring is not None:
            await self._declared()
        return await self._caller.put_many(self.name, entries) if entries else []

    put_many_sync = sync_twin(put_many)

    async def reshard(self, shards: int) -> None:
        """Split or merge the stream into this number of open shards.

        The present shards take no more records. Mappings read them to their end before they read the new shards.

        Args:
            shards: 1 to 10,000.

        """
        checks.integer("shards", shards, low=1, high=limits.SHARDS_MAX)
        await self._declared()
        await self._caller.ask("stream.reshard", name=self.name, shards=shards)

    reshard_sync = sync_twin(reshard)


def _entries(records: Iterable[tuple[Any, str]]) -> list[Entry]:
    entries = [
        # Nothing is made anew for a record that is already what the engine takes.
        pair
        if type(pair) is tuple and len(pair) == 2 and type(pair[0]) in _PLAIN and type(pair[1]) is str  # noqa: PLR2004
        else _entry(at, pair)
        for at, pair in enumerate(records)
    ]
    if len(entries) > limits.PUT_MANY_RECORDS_MAX:
        most = limits.PUT_MANY_RECORDS_MAX
        raise InvalidParameterValue(f"records: allowed are at most {most:,} records in one call, got {len(entries):,}")
    return entries


def _entry(at: int, pair: Any) -> Entry:
    try:
        data, key = pair
    except (TypeError, ValueError):
        checks.refuse_content(f"records[{at}]", pair, "a pair of data and partition key")
    if not isinstance(key, str):
        _refuse_key(key, f"records[{at}]: partition_key")
    return wire.record(data), str(key)


def _refuse_key(key: object, option: str = "partition_key") -> None:
    if not isinstance(key, str):
        checks.refuse_content(option, key, "allowed is text of 1 to 256 characters")
