"""JSON is checked in Rust where an event comes in, and read in Python where its handler gets it. They take and refuse the same.

What is accepted lies at most a hundred deep, which both read; deeper texts are refused though Python would read them. What is
read is what the standard library reads, which Lambda uses: orjson alone made floats of whole numbers beyond 64 bits.

`FOREBAY_COUNT` says how many texts and values are drawn for each test: `make deep ARGS=json` draws 20,000.
"""

import asyncio
import base64
import json
import math
import operator
import os
import re
import sys
from decimal import Decimal
from enum import Enum
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forebay import App, InvalidParameterValue
from forebay._wire import payload
from forebay.testing import VirtualClock

COUNT = os.environ.get("FOREBAY_COUNT")
CASES = json.loads((Path(__file__).parents[1] / "cases" / "json.json").read_text())


def written(case):
    if "nested" in case:
        opening, times, middle, closing = case["nested"]
        return (opening * times + middle + closing * times).encode()
    return case["text"].encode() if "text" in case else base64.b64decode(case["bytes"])


def python_reads(data):
    try:
        payload.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def exactly(value):
    """Tell 1 from 1.0 and from True, and -0.0 from 0.0."""
    if isinstance(value, dict):
        return {name: exactly(one) for name, one in value.items()}
    return [exactly(one) for one in value] if isinstance(value, list) else repr(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_python_reads_and_refuses_what_the_table_says(case):
    assert python_reads(written(case)) == case["python"]
    assert case["python"] or not case["forebay"], "what is accepted can be read"
    if case["forebay"]:
        assert exactly(payload.loads(written(case))) == exactly(json.loads(written(case)))


class Door:
    """An app whose door takes raw bytes, as a client's socket and a process of another language bring them."""

    def __init__(self):
        self.loop, self.app = asyncio.new_event_loop(), App("json", store=":memory:", clock=VirtualClock())

        @self.app.function(name="f", reserved_concurrency=0)
        async def never(event, context): ...

        self.loop.run_until_complete(self.app.start())

    def takes(self, data):
        async def ask():
            await self.app._caller.invoke_async("f", data)

        try:
            self.loop.run_until_complete(ask())
        except InvalidParameterValue:
            return False
        return True

    def close(self):
        self.loop.run_until_complete(self.app.stop())
        self.loop.close()


@pytest.fixture
def door():
    door = Door()
    yield door
    door.close()


def test_an_event_is_accepted_when_its_handler_can_read_it(door):
    assert [case["name"] for case in CASES if door.takes(written(case)) != case["forebay"]] == []


BOUNDS = st.sampled_from([2**63, 2**64, -(2**63), 10**18, 10**19, 10**308, 10**309])
WHOLE = st.integers() | st.builds(operator.add, BOUNDS, st.integers(-2, 2)) | st.integers(-(10**60), 10**60)
TEXTS = st.recursive(
    st.one_of(
        st.sampled_from(
            ["null", "true", "-0", "1e400", "1E-999", "0.1e+2", "NaN", "-Infinity", '"\\ud800"', '""', "9" * 400]
        ),
        WHOLE.map(str),
        WHOLE.map(lambda number: json.dumps(f"{number}, {number}")),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False)),
        st.text(max_size=5).map(json.dumps),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(inner, max_size=3).map(lambda items: "{" + ",".join(f'"k": {item}' for item in items) + "}"),
    ),
    max_leaves=6,
).map(lambda text: text.encode("utf-8", "surrogatepass"))
ODD = st.sampled_from([bytes([byte]) for byte in b'{}[]",:\\eEu+-.09tfn \x00\x1f\x80\xc0\xed\xff'])


@st.composite
def nearly_json(draw):
    data = draw(TEXTS)
    for _ in range(draw(st.integers(0, 3))):
        at, odd = draw(st.integers(0, len(data))), draw(ODD)
        data = data[:at] + odd + data[at + draw(st.integers(0, 2)) :]
    return data


def test_whatever_is_written_both_parsers_agree_on_it(door):
    @settings(max_examples=int(COUNT or 400), deadline=None)
    @example(b'"\xed\xa0\x80"')
    @given(nearly_json())
    def agree(data):
        assert door.takes(data) == python_reads(data), data

    agree()
    sys.stdout.write(f'\nfigures {{"examples_of_each_most": {int(COUNT or 400)}}}\n')


@settings(max_examples=int(COUNT or 600), deadline=None)
@given(nearly_json())
def test_whatever_is_read_the_standard_library_reads_the_same(data):
    if python_reads(data):
        assert exactly(payload.loads(data)) == exactly(json.loads(data))
        assert exactly(payload.loads(data.decode())) == exactly(json.loads(data))


VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False) | WHOLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=int(COUNT or 400), deadline=None)
@given(VALUES)
def test_whatever_is_written_is_read_again(value):
    text = payload.dumps(value)
    assert exactly(payload.loads(text)) == exactly(value)
    assert exactly(json.loads(payload.indented(value))) == exactly(value)


@settings(max_examples=int(COUNT or 200), deadline=None)
@given(VALUES, st.sampled_from([math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("1e400")]), st.randoms())
def test_a_number_that_json_has_not_is_refused_wherever_it_lies(value, number, chance):
    place = "$"
    for _ in range(chance.randint(0, 4)):
        if chance.random() < 0.5:
            at, number = "[1]", [value, number, *chance.choice([[], [None], [2**70, "a"]])]
        else:
            at, number = ".name", {"other": value, "name": number}
        place = place.replace("$", f"${at}", 1)
    with pytest.raises(ValueError, match=re.escape(f" at {place}: JSON has neither NaN nor Infinity")):
        payload.dumps(number)


def test_the_place_of_a_number_that_json_has_not_is_told():
    class Colour(Enum):
        RED = math.nan

    def refusal(value):
        with pytest.raises(ValueError, match="JSON has neither") as caught:
            payload.dumps(value)
        return str(caught.value).partition(":")[0]

    assert refusal(math.nan) == "NaN at $"
    assert refusal({"a": [1, 2, None, -math.inf]}) == "-Infinity at $.a[3]"
    assert refusal({"the sum": {"": (0.5, math.inf)}}) == 'Infinity at $["the sum"][""][1]'
    assert refusal({7: math.nan}) == "NaN at $.7"
    assert refusal({math.nan: 7}) == "NaN at $.nan"
    assert refusal({"line\n\x1b": math.nan}) == r'NaN at $["line\n\u{1b}"]'
    assert refusal([Colour.RED]) == "NaN at $[0]"
    assert refusal([2**64, {"a": math.nan}]) == "NaN at $[1].a"
    assert refusal([type("Float64", (float,), {})("nan")]) == "NaN at $[0]", "as numpy's are"
    assert len(refusal({"x" * 500: math.nan})) < 200


def test_what_is_no_json_for_another_reason_keeps_the_words_of_the_standard_library():
    endless = [None]
    endless += [endless, endless]
    with pytest.raises(ValueError, match="Circular reference detected"):
        payload.dumps(endless)
    with pytest.raises(TypeError, match="Object of type set is not JSON serializable"):
        payload.dumps([2**70, {1}])
    with pytest.raises(ValueError, match="4300 digits"):
        payload.dumps([10**4_300])
