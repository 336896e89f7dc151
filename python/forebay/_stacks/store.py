"""What is kept of stacks: `stacks.db` in the store's directory, readable for its owner alone. Changes are durable."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from forebay._sam.errors import StackNotFound
from forebay._sam.parameters import Parameters
from forebay._sam.plan import Output, Resource
from forebay._sqlite import BUSY_SECONDS_MAX, write_ahead
from forebay.errors import InvalidParameterValue, StoreNewerFormat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE: Final = "stacks.db"
FORMAT: Final = 2
NOW: Final = "now"
NEXT: Final = "next"
"""Sides of secrets: those that a stack has, and those that an operation gives it."""
ROLLBACK: Final = "rollback"
"""The phase in which an operation brings back what was there."""
STACK: Final = "AWS::CloudFormation::Stack"
EVENTS_MAX: Final = 10_000
"""Events that are kept of a stack; older ones go."""
_TABLES: Final = """
CREATE TABLE stacks (
    name TEXT PRIMARY KEY, id TEXT NOT NULL, status TEXT NOT NULL, reason TEXT, description TEXT, created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL, region TEXT NOT NULL, account TEXT NOT NULL, template TEXT NOT NULL, given TEXT NOT NULL,
    outputs TEXT NOT NULL
) STRICT;
CREATE TABLE secrets (
    stack TEXT NOT NULL, side TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (stack, side, name)
) STRICT;
CREATE TABLE resources (
    stack TEXT NOT NULL, logical TEXT NOT NULL, position INTEGER NOT NULL, resource TEXT NOT NULL, status TEXT NOT NULL,
    updated_ms INTEGER NOT NULL, PRIMARY KEY (stack, logical)
) STRICT;
CREATE TABLE operations (
    stack TEXT PRIMARY KEY, kind TEXT NOT NULL, phase TEXT NOT NULL, position INTEGER NOT NULL, begun INTEGER NOT NULL,
    keeps INTEGER NOT NULL, reason TEXT, before TEXT NOT NULL, after TEXT NOT NULL
) STRICT;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stack_id TEXT NOT NULL, ms INTEGER NOT NULL, status TEXT NOT NULL, type TEXT NOT NULL,
    logical TEXT NOT NULL, physical TEXT NOT NULL, reason TEXT
) STRICT;
CREATE TABLE numbers (name TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE INDEX events_of_stack ON events (stack_id, id);
ALTER TABLE stacks ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
"""
_UPGRADES: Final = {1: "ALTER TABLE stacks ADD COLUMN tags TEXT NOT NULL DEFAULT '{}'"}
"""What brings a file of a format to the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack, without its resources."""

    name: str
    id: str
    status: str
    reason: str | None
    description: str | None
    created_ms: int
    updated_ms: int
    region: str
    account: str
    template: str
    parameters: Parameters
    outputs: tuple[Output, ...]
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What an operation begins or ends with."""

    template: str
    description: str | None
    given: dict[str, str]
    secrets: dict[str, str]
    resources: dict[str, Resource]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A deploy or a deletion that has not ended.

    Attributes:
        stack: the stack's name.
        kind: CREATE, UPDATE or DELETE.
        phase: forward, cleanup or rollback.
        position: steps that are done.
        begun: steps that have begun: what they make is this stack's.
        keeps: whether a failure leaves everything as it is.
        reason: why it is rolled back.
        before: what was there.
        after: what is to be there.

    """

    stack: str
    kind: str
    phase: str
    position: int
    begun: int
    keeps: bool
    reason: str | None
    before: State
    after: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that has happened to a stack or a resource of it."""

    id: int
    ms: int
    status: str
    type: str
    logical: str
    physical: str
    reason: str | None


class Deleted(NamedTuple):
    """A stack that is gone."""

    id: str
    name: str
    created_ms: int
    deleted_ms: int


class StackStore:
    """The stacks of a store. All calls are short, and block."""

    def __init__(self, directory: Path | None) -> None:
        """Open the file in a directory, or keep everything in memory only."""
        if directory is not None:
            path = directory / FILE
            # Before SQLite makes it readable for others.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(
            ":memory:" if directory is None else path,
            timeout=BUSY_SECONDS_MAX,
            isolation_level=None,
            check_same_thread=False,
        )
        self._db.row_factory = sqlite3.Row
        if directory is not None:
            write_ahead(self._db)
        self._db.execute("PRAGMA synchronous=FULL")
        self._make_tables()

    def _make_tables(self) -> None:
        with self._commit():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > FORMAT:
                text = f"{FILE} has format {version}, and this forebay reads {FORMAT} at most: use a newer one"
                raise StoreNewerFormat(text)
            if version == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._db.execute(statement)
            for older in range(version or FORMAT, FORMAT):
                self._db.execute(_UPGRADES[older])
            self._db.execute(f"PRAGMA user_version={FORMAT}")

    def copy(self, directory: Path) -> None:
        """Copy everything into another directory, as it is at one moment."""
        copied = StackStore(directory)
        try:
            self._db.backup(copied._db)
        finally:
            copied.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _commit(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back itself where the disk is full
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- what is there

    def stacks(self) -> list[Stack]:
        """Give all stacks, by name."""
        return [self._stack(row) for row in self._db.execute("SELECT * FROM stacks ORDER BY name")]

    def stack(self, name: str) -> Stack:
        """Give a stack, by its name or its id.

        Raises:
            StackNotFound: there is none.

        """
        row = self._db.execute("SELECT * FROM stacks WHERE name = ? OR id = ?", (name, name)).fetchone()
        if row is None:
            raise StackNotFound(name)
        return self._stack(row)

    def find(self, name: str) -> Stack | None:
        """Give a stack, or None."""
        try:
            return self.stack(name)
        except StackNotFound:
            return None

    def _stack(self, row: sqlite3.Row) -> Stack:
        fields = dict(row)
        given = json.loads(fields.pop("given"))
        outputs = tuple(Output(**one) for one in json.loads(fields.pop("outputs")))
        tags = json.loads(fields.pop("tags"))
        secrets = self._secrets(fields["name"])
        return Stack(**fields, parameters=Parameters(given=given, secrets=secrets), outputs=outputs, tags=tags)

    def _secrets(self, stack: str, side: str = NOW) -> dict[str, str]:
        rows = self._db.execute("SELECT name, value FROM secrets WHERE stack = ? AND side = ?", (stack, side))
        return {name: value for name, value in rows}  # noqa: C416  rows are not pairs

    def secrets(self, stack: str) -> dict[str, str]:
        """Give the secrets that a stack's resources have as they are now: an operation that goes forward brings its own."""
        row = self._db.execute("SELECT phase FROM operations WHERE stack = ?", (stack,)).fetchone()
        sides = (NEXT, NOW) if row is None or row["phase"] == ROLLBACK else (NOW, NEXT)
        return self._secrets(stack, sides[0]) | self._secrets(stack, sides[1])

    def resources(self, stack: str) -> dict[str, Resource]:
        """Give the resources of a stack, in the order in which they were made."""
        rows = self._db.execute("SELECT resource FROM resources WHERE stack = ? ORDER BY position", (stack,))
        found = (Resource(**json.loads(row["resource"])) for row in rows)
        return {one.logical: one for one in found}

    def statuses(self, stack: str) -> dict[str, tuple[str, int]]:
        """Give the status of each resource, and since when it has it."""
        rows = self._db.execute("SELECT logical, status, updated_ms FROM resources WHERE stack = ?", (stack,))
        return {row["logical"]: (row["status"], row["updated_ms"]) for row in rows}

    def events(self, stack_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """Give events of a stack that came after one, oldest first."""
        rows = self._db.execute(
            "SELECT id, ms, status, type, logical, physical, reason FROM events "
            "WHERE stack_id = ? AND id > ? ORDER BY id LIMIT ?",
            (stack_id, after, limit),
        )
        return [Event(**dict(row)) for row in rows]

    def latest_events(self, stack_id: str, limit: int, before: int | None = None) -> list[Event]:
        """Give events of a stack that came before one, newest first."""
        rows = self._db.execute(
            "SELECT id, ms, status, type, logical, physical, reason FROM events "
            "WHERE stack_id = ? AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
            (stack_id, before, before, limit),
        )
        return [Event(**dict(row)) for row in rows]

    def deleted(self, since_ms: int) -> list[Deleted]:
        """Give the stacks that have gone since a moment, as their events have it, the newest first."""
        rows = self._db.execute(
            "SELECT stack_id, logical, min(ms), max(ms) AS gone FROM events "
            "WHERE type = ? AND physical = stack_id AND stack_id NOT IN (SELECT id FROM stacks) "
            "GROUP BY stack_id HAVING gone >= ? ORDER BY gone DESC, stack_id",
            (STACK, since_ms),
        )
        return [Deleted(*row) for row in rows]

    def operations(self) -> list[Operation]:
        """Give the operations that have not ended."""
        return [self._operation(row) for row in self._db.execute("SELECT * FROM operations ORDER BY stack")]

    def _operation(self, row: sqlite3.Row) -> Operation:
        fields = dict(row)
        stack = fields["stack"]
        sides = {"before": self._secrets(stack), "after": self._secrets(stack, NEXT)}
        states = {side: _state(fields[side], secrets) for side, secrets in sides.items()}
        return Operation(**{**fields, "keeps": bool(fields["keeps"]), **states})

    def all_resources(self) -> str:
        """Give what is kept of all resources, and of those that operations bring or take away, as one text."""
        kept = self._db.execute("SELECT resource FROM resources")
        under_way = self._db.execute("SELECT before || after FROM operations")
        return "\n".join(text for (text,) in (*kept, *under_way))

    def last_number(self, name: str) -> int:
        """Give the last number that a function's versions had."""
        row = self._db.execute("SELECT last FROM numbers WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row["last"])

    # --- what changes

    def begin(self, stack: Stack, operation: Operation, status: str) -> None:
        """Begin an operation.

        Raises:
            InvalidParameterValue: another one has not ended.

        """
        with self._commit():
            row = self._db.execute("SELECT kind FROM operations WHERE stack = ?", (stack.name,)).fetchone()
            if row is not None:
                text = f"Stack:{stack.id} is in {row['kind']}_IN_PROGRESS state and can not be updated."
                raise InvalidParameterValue(text)
            self._put_stack(stack, status, None)
            self._put_secrets(stack.name, NEXT, operation.after.secrets)
            self._db.execute(
                "INSERT INTO operations VALUES (?, ?, ?, 0, 0, ?, NULL, ?, ?)",
                (
                    stack.name,
                    operation.kind,
                    operation.phase,
                    operation.keeps,
                    _state_text(operation.before),
                    _state_text(operation.after),
                ),
            )
            for one in operation.after.resources.values():
                name, _, number = one.physical.rpartition(":")
                if number.isdecimal():
                    name = name if one.type != "AWS::Lambda::LayerVersion" else f"layer:{name}"
                    self._db.execute(
                        "INSERT INTO numbers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET last = max(last, excluded.last)",
                        (name, int(number)),
                    )
            self._add_event(stack.id, status, _itself(stack), "User Initiated")

    def begun(self, stack: Stack, status: str, resource: Resource, begun: int) -> None:
        """Record that a step begins: what it makes is the stack's from now on."""
        with self._commit():
            self._db.execute("UPDATE operations SET begun = ? WHERE stack = ?", (begun, stack.name))
            self._add_event(stack.id, status, _named(resource), None)

    def say(self, stack: Stack, status: str, resource: Resource, reason: str | None = None) -> None:
        """Record that something happens to a resource."""
        with self._commit():
            self._add_event(stack.id, status, _named(resource), reason)

    def done(self, stack: Stack, status: str, resource: Resource, position: int, place: int) -> None:
        """Record that a step is done."""
        with self._commit():
            self._put_resource(stack.name, resource, place, status)
            self._db.execute("UPDATE operations SET position = ? WHERE stack = ?", (position, stack.name))
            self._add_event(stack.id, status, _named(resource), None)

    def back(self, stack: Stack, resource: Resource, place: int) -> None:
        """Record that a resource is as it was before the operation."""
        with self._commit():
            self._put_resource(stack.name, resource, place, "UPDATE_COMPLETE")

    def gone(self, stack: Stack, resource: Resource, status: str, reason: str | None = None) -> None:
        """Record that a resource was removed, or could not be."""
        with self._commit():
            if status in {"DELETE_COMPLETE", "DELETE_SKIPPED"}:
                self._db.execute(
                    "DELETE FROM resources WHERE stack = ? AND logical = ? AND json_extract(resource, '$.physical') = ?",
                    (stack.name, resource.logical, resource.physical),
                )
            self._add_event(stack.id, status, _named(resource), reason)

    def turn(self, stack: Stack, phase: str, status: str, reason: str | None) -> None:
        """Go on to another phase of an operation."""
        with self._commit():
            self._db.execute("UPDATE operations SET phase = ?, reason = ? WHERE stack = ?", (phase, reason, stack.name))
            self._db.execute("UPDATE stacks SET status = ?, reason = ? WHERE name = ?", (status, reason, stack.name))
            self._add_event(stack.id, status, _itself(stack), reason)

    def end(self, stack: Stack, state: State, status: str, reason: str | None) -> None:
        """End an operation: the stack is as this state says."""
        with self._commit():
            statuses = self.statuses(stack.name)
            self._db.execute("DELETE FROM operations WHERE stack = ?", (stack.name,))
            self._db.execute("DELETE FROM resources WHERE stack = ?", (stack.name,))
            if status == "DELETE_COMPLETE":
                self._db.execute("DELETE FROM secrets WHERE stack = ?", (stack.name,))
                self._db.execute("DELETE FROM stacks WHERE name = ?", (stack.name,))
            else:
                for place, one in enumerate(state.resources.values()):
                    known, _ = statuses.get(one.logical, ("CREATE_COMPLETE", 0))
                    self._put_resource(stack.name, one, place, known)
                self._db.execute("DELETE FROM secrets WHERE stack = ?", (stack.name,))
                self._put_secrets(stack.name, NOW, state.secrets)
                self._put_stack(_with(stack, state), status, reason)
            self._add_event(stack.id, status, _itself(stack), reason)
            self._db.execute(
                "DELETE FROM events WHERE stack_id = ? AND id <= (SELECT max(id) FROM events) - ?",
                (stack.id, EVENTS_MAX),
            )

    def keep(self, stack: Stack, status: str, reason: str | None) -> None:
        """End an operation and leave everything as it is: what it has made keeps its secrets."""
        with self._commit():
            self._put_secrets(stack.name, NOW, self._secrets(stack.name, NEXT))
            self._db.execute("DELETE FROM secrets WHERE stack = ? AND side = ?", (stack.name, NEXT))
            self._db.execute("DELETE FROM operations WHERE stack = ?", (stack.name,))
            self._db.execute("UPDATE stacks SET status = ?, reason = ? WHERE name = ?", (status, reason, stack.name))
            self._add_event(stack.id, status, _itself(stack), reason)

    def _put_stack(self, stack: Stack, status: str, reason: str | None) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO stacks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                stack.name,
                stack.id,
                status,
                reason,
                stack.description,
                stack.created_ms,
                now_ms(),
                stack.region,
                stack.account,
                stack.template,
                json.dumps(stack.parameters.given),
                json.dumps([asdict(one) for one in stack.outputs]),
                json.dumps(stack.tags),
            ),
        )

    def _put_secrets(self, stack: str, side: str, secrets: dict[str, str]) -> None:
        rows = [(stack, side, name, value) for name, value in secrets.items()]
        self._db.executemany("INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?)", rows)

    def _put_resource(self, stack: str, resource: Resource, place: int, status: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?, ?, ?)",
            (stack, resource.logical, place, json.dumps(asdict(resource)), status, now_ms()),
        )

    def _add_event(self, stack_id: str, status: str, what: tuple[str, str, str], reason: str | None) -> None:
        self._db.execute(
            "INSERT INTO events (stack_id, ms, status, type, logical, physical, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (stack_id, now_ms(), status, *what, reason),
        )


def _itself(stack: Stack) -> tuple[str, str, str]:
    return STACK, stack.name, stack.id


def _named(resource: Resource) -> tuple[str, str, str]:
    return resource.type, resource.logical, resource.physical


def now_ms() -> int:
    """Give the wall time, milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _with(stack: Stack, state: State) -> Stack:
    fields = {name: getattr(stack, name) for name in stack.__dataclass_fields__}
    parameters = Parameters(given=state.given, secrets=state.secrets)
    more = {
        "description": state.description,
        "template": state.template,
        "parameters": parameters,
        "outputs": state.outputs,
    }
    return Stack(**{**fields, **more})


def _state_text(state: State) -> str:
    """Write a state; its secrets are kept in their own table alone."""
    fields = asdict(state)
    del fields["secrets"]
    return json.dumps(fields)


def _state(text: str, secrets: dict[str, str]) -> State:
    fields = json.loads(text)
    fields["secrets"] = secrets
    fields["resources"] = {name: Resource(**one) for name, one in fields["resources"].items()}
    fields["outputs"] = tuple(Output(**one) for one in fields["outputs"])
    return State(**fields)
