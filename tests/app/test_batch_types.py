"""What a type checker, and so an editor, knows of the items of a batch."""

import subprocess
import sys
from pathlib import Path

import pytest

import forebay

ROOT = Path(__file__).parents[2]

HANDLERS = """
import forebay
from forebay import Batch, Message, Record

app = forebay.App("types", store=":memory:")

@app.on_stream("orders")
async def ship(batch: Batch[Record], context: forebay.Context) -> None:
    reveal_type(batch[0])
    for record in batch:
        reveal_type(record.sequence_number)
        batch.fail(record)

@app.on_queue("mail")
def read(batch: Batch[Message], context: forebay.Context) -> None:
    for message in batch:
        reveal_type(message)
        reveal_type(message.receive_count)

@app.on_stream("orders")
async def either(batch: forebay.Batch, context: forebay.Context) -> None:
    for item in batch:
        reveal_type(item)
"""


def checked(program, directory):
    path = directory / "program.py"
    path.write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)


def test_a_type_checker_knows_what_a_batch_holds(tmp_path):
    """Everything out of a batch was `Any`: no editor completed anything in the first handler that anybody writes."""
    told = checked(HANDLERS, tmp_path)
    revealed = [
        line.partition("Revealed type is ")[2].strip('"') for line in told.stdout.splitlines() if "Revealed" in line
    ]
    assert revealed == [
        "forebay._core.Record",
        "str",
        "forebay._core.Message",
        "int",
        "Any",
    ], told.stdout
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    ("line", "verdict"),
    [("record.receive_count", "[attr-defined]"), ("other: forebay.Batch[int]", "[type-var]")],
)
def test_a_type_checker_refuses_what_a_record_is_not(line, verdict, tmp_path):
    program = (
        f"import forebay\ndef ship(batch: forebay.Batch[forebay.Record]) -> None:\n    record = batch[0]\n    {line}\n"
    )
    assert verdict in checked(program, tmp_path).stdout


async def test_a_handler_of_batches_of_records_is_given_batches(forebay_app, forebay_clock):
    stream, seen = forebay_app.stream("orders", shards=1), []

    @forebay_app.on_stream("orders")
    async def ship(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
        seen.extend((type(batch), record.json()) for record in batch)

    async with forebay_app:
        await stream.put(7, partition_key="k")
        await forebay_clock.advance(1)
    assert seen == [(forebay.Batch, 7)]
