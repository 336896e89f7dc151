"""Two parsers read JSON: serde_json where an event comes in, orjson where its handler reads it. They take and refuse the same.

What is accepted lies at most a hundred deep, which both read; deeper texts are refused though orjson would read them.
"""

import asyncio
import base64
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forebay import App, InvalidParameterValue
from forebay.testing import VirtualClock

CASES = json.loads((Path(__file__).parents[1] / "cases" / "json.json").read_text())


def written(case):
    if "nested" in case:
        opening, times, middle, closing = case["nested"]
        return (opening * times + middle + closing * times).encode()
    return case["text"].encode() if "text" in case else base64.b64decode(case["bytes"])


def orjson_reads(data):
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_orjson_reads_and_refuses_what_the_table_says(case):
    assert orjson_reads(written(case)) == case["orjson"]
    assert case["orjson"] or not case["forebay"], "what is accepted can be read"


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


TEXTS = st.recursive(
    st.one_of(
        st.sampled_from(["null", "true", "-0", "1e400", "1E-999", "0.1e+2", "18446744073709551616", '"\\ud800"', '""']),
        st.integers().map(str),
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
    @settings(max_examples=1_000, deadline=None)
    @example(b'"\xed\xa0\x80"')
    @given(nearly_json())
    def agree(data):
        assert door.takes(data) == orjson_reads(data), data

    agree()
