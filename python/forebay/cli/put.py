"""`forebay stream put`: every line of a file into a stream as a record."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from forebay._model.names import shard_of
from forebay._model.plural import counted
from forebay.cli import records
from forebay.cli.arn import named
from forebay.cli.connect import StoreConnection, connect, store_option
from forebay.cli.records import BadLine
from forebay.cli.show import output_option, show
from forebay.errors import ForebayError, OwnerLeft, OwnerLost, StoreFailed, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forebay.cli.store_place import StorePlace

BATCH_RECORDS: Final = 500
BATCH_BYTES: Final = 4 * 1024 * 1024
BAD_LINES_SHOWN: Final = 20


@click.command()
@click.argument("name", callback=named("stream"))
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--key", metavar="FIELD", help="Field of each record that is its partition key.")
@click.option("--partition-key", metavar="TEXT", help="One partition key for all records.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), help="Default: by the file's name, else jsonl.")
@click.option(
    "--skip",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Leave out the first N lines of FILE, which are in the stream.",
)
@click.option("--check", is_flag=True, help="Only check every line of FILE; put nothing.")
@store_option
@output_option
def put(
    *,
    name: str,
    file: BinaryIO,
    key: str | None,
    partition_key: str | None,
    form: str | None,
    skip: int,
    check: bool,
    store: StorePlace,
    output: str,
) -> None:
    """Put every line of FILE (default: standard input), JSON Lines or CSV, into a stream as a record.

    The command stops at the first line that is not a record. The lines before it are in the stream. The message gives their
    number and the --skip that continues after you have corrected the line. --check checks all lines first.
    """
    if form is None:
        form = "csv" if str(getattr(file, "name", "")).endswith(".csv") else "jsonl"
    lines = records.read(file, form, records.key_from(key, partition_key))
    wanted = (one for one in lines if (one.line if isinstance(one, BadLine) else one[0]) > skip)
    if check:
        _check(wanted, output)
        return
    begun = time.monotonic()
    done = _Done(skip)
    with connect(store) as connection, _progress(file, output) as bar:
        try:
            for batch in _batches(wanted, done):
                _put(connection, name, batch, done)
                bar.update(sum(len(data) + 1 for _, data, _ in batch))
        except KeyboardInterrupt:
            click.echo(f"interrupted: {done.or_more()}", err=True)
            raise
        if done.count == 0:
            connection.ask(
                "stream.describe", name=name
            )  # a name that is misspelt is told, also where there is nothing to put
    took = max(time.monotonic() - begun, 1e-9)
    answer = {
        "stream": name,
        "records": done.count,
        "seconds": round(took, 3),
        "first_sequence_number": done.first,
        "last_sequence_number": done.last,
        "shards": sorted(done.shards),
    }
    show(answer, output, text=_summary(name, done, took))


def _summary(name: str, done: _Done, took: float) -> str:
    text = f"put {counted(done.count, 'record')} into {name}"
    if done.count > 1:  # the rate of one record is that of starting and reaching the store
        text += f" in {took:.1f} s ({done.count / took:,.0f} a second)"
    if done.first is not None:
        text += f"\nfrom {done.first} to {done.last}" if done.count > 1 else f"\nas {done.first}"
        text += f" in {', '.join(sorted(done.shards))}"
    return text


@dataclass(slots=True)
class _Done:
    """What of a file is in the stream."""

    line: int
    """Everything up to this line is in, or was left out by --skip."""
    count: int = 0
    first: str | None = None
    last: str | None = None
    shards: set[str] = field(default_factory=set)

    def add(self, line: int, numbers: list[str]) -> None:
        self.line = line
        self.count += len(numbers)
        self.first, self.last = self.first or numbers[0], numbers[-1]
        self.shards.update(map(shard_of, numbers))

    def so_far(self) -> str:
        """Tell how many records are in, and how to go on without putting one of them twice."""
        if self.count == 0:
            again = f" with --skip {self.line}, as before," if self.line else ""
            return f"no record was put. Run the command again{again} when the cause is gone"
        are = "1 record is" if self.count == 1 else f"{self.count:,} records are"
        return f"{are} in the stream, up to line {self.line:,}. Go on with --skip {self.line} when the cause is gone"

    def or_more(self) -> str:
        """Tell the same where the last batch may be in, too."""
        return (
            f"{counted(self.count, 'record')} up to line {self.line:,} are in the stream, and up to {BATCH_RECORDS} after "
            "them may be. `forebay stream tail --position TRIM_HORIZON --no-follow` shows the last one: --skip what is in"
        )


def _check(lines: Iterable[records.Numbered | BadLine], output: str) -> None:
    """Tell whether every line is a record; the status is 1 if one is not."""
    count, bad = 0, 0
    shown: list[BadLine] = []
    for one in lines:
        if isinstance(one, BadLine):
            bad += 1
            if len(shown) < BAD_LINES_SHOWN:
                shown.append(one)
        else:
            count += 1
    answer = {
        "records": count,
        "bad_lines": bad,
        "first_bad_lines": [{"line": one.line, "why": one.why} for one in shown],
    }
    more = [f"and {counted(bad - len(shown), 'more line')}"] if bad > len(shown) else []
    verdict = f"{counted(count, 'line')} can be put" + (f", {counted(bad, 'line')} cannot" if bad else "")
    show(answer, output, text="\n".join([*map(str, shown), *more, verdict]))
    if bad:
        sys.exit(1)


def _batches(lines: Iterable[records.Numbered | BadLine], done: _Done) -> Iterator[list[records.Numbered]]:
    """Give records in batches; at a line that is none, what stands before it and then the refusal."""
    batch: list[records.Numbered] = []
    size = 0
    for one in lines:
        if isinstance(one, BadLine):
            if batch:
                yield batch
            raise click.ClickException(f"{one}; {done.so_far()}")
        batch.append(one)
        size += len(one[1])
        if len(batch) == BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _put(connection: StoreConnection, name: str, batch: list[records.Numbered], done: _Done) -> None:
    first, last = batch[0][0], batch[-1][0]
    pairs = [(data, key) for _, data, key in batch]
    while True:
        try:
            done.add(last, connection.put_many(name, pairs))
        except TooManyRequests as refusal:
            time.sleep(refusal.retry_after)
        except ForebayError as error:
            unknown = isinstance(error, OwnerLost | StoreFailed) and not isinstance(error, OwnerLeft)
            lines = f"line {first:,}" if first == last else f"lines {first:,} to {last:,}"
            error.add_note(f"that happened at {lines}; {done.or_more() if unknown else done.so_far()}")
            raise
        else:
            return


def _progress(file: BinaryIO, output: str) -> Any:
    path = Path(str(getattr(file, "name", "")))
    size = path.stat().st_size if path.is_file() else None
    hidden = output == "json" or not size or not sys.stderr.isatty()
    return click.progressbar(None, length=size or 0, label="put", file=sys.stderr, hidden=hidden)
