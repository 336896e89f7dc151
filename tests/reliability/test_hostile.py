"""Bytes that nobody wrote on purpose, given to a running app: through its streams, its socket and its HTTP server."""

import asyncio
import base64
import json
import random
import socket
import struct

import orjson
import pytest
from ports import free_port

from forebay import App, Batch

DEEP = "[" * 100 + "]" * 100
TEXTS = [
    "",
    " ",
    "{}",
    "[]",
    "null",
    '{"a": 1}',
    '{"a": 1} ',
    ' \r\n\t{"a": 1}',
    '{"a": 1}{"a": 1}',
    '{"a": 1,}',
    "{'a': 1}",
    '{"a" 1}',
    "{a: 1}",
    '{"a": 01}',
    '{"a": .5}',
    '{"a": 5.}',
    '{"a": +1}',
    '{"a": -0}',
    '{"a": 1e5}',
    '{"a": 1e}',
    '{"a": 1E+400}',
    '{"a": 1e999}',
    '{"a": -1e999}',
    '{"a": 1e-999}',
    '{"a": 123456789012345678901234567890}',
    '{"a": 18446744073709551616}',
    '{"a": NaN}',
    '{"a": Infinity}',
    '{"a": nul}',
    '{"a": True}',
    '{"a": "\t"}',
    '{"a": "\\x"}',
    '{"a": "\\u12"}',
    r'{"a": "\ud83d\ude00"}',
    r'{"a": "\ud800"}',
    r'{"\udc00": 1}',
    '{"a": "\x7f\u2028"}',
    '{"a": 1, "a": 2}',
    '\ufeff{"a": 1}',
    '{"a": "unclosed',
    '{"a": [1, 2, {"b": null}]}',
    '{"a": [1 2]}',
    '{"a": ' + DEEP[1:-1] + "}",
    '{"a": ' + DEEP + "}",
    '{"a": ' + "[" * 127 + "]" * 127 + "}",
    '{"a": ' + "[" * 900 + "]" * 900 + "}",
    "[" * 100_000,
    '{"a":' * 100_000,
    "/* */ {}",
    '{"a": 1} // x',
    '{"a": "\u0000"}',
    '{"a": "\\u0000"}',
]
RAW = [
    b'{"a": "\xff"}',
    b'{"a": "\xc0\x80"}',
    b'{"a": "\xed\xa0\x80"}',
    b"\x00",
    b"\xff\xfe{\x00}\x00",
    b'{"\xf4\x90\x80\x80": 1}',
]


def mutated(count, seed):
    chance, corpus = random.Random(seed), [text.encode("utf-8", "surrogatepass")[:300] for text in TEXTS] + RAW
    for _ in range(count):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 4)):
            at = chance.randint(0, len(data))
            odd = chance.choice(b'{}[]",:\\eE+-.0123456789tfn \x00\x1f\x80\xff')
            if chance.random() < 0.5:
                data[at : at + 1] = bytes([odd])
            else:
                data.insert(at, odd)
        yield bytes(data)


UNREADABLE = object()


def read(data):
    """Give what a handler reads."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return UNREADABLE


def refuse(constant):
    raise ValueError(constant)


def is_written_as_json(data):
    """Whether it follows the grammar: half a surrogate pair, and a number that no float can hold, do."""
    try:
        return isinstance(json.loads(data.decode(), parse_constant=refuse), dict | list)
    except (ValueError, RecursionError):  # the deepest ones are not closed
        return False


async def test_a_filter_drops_nothing_that_a_handler_could_read(forebay_app, forebay_clock):
    """A filter holds back what breaks the grammar of JSON and nothing else.

    What `record.json()` refuses besides (half a surrogate pair, a number beyond every float) comes to the handler, whose failure
    is written down: better than to be held back in silence.
    """
    app, seen = forebay_app, []
    stream = app.stream("texts", shards=1)

    @app.on_stream("texts", batch_size=1000, filters=[{"data": {"never there": [{"exists": False}]}}])
    async def handler(batch: Batch, context):
        seen.extend(record.data for record in batch)

    data = [text.encode() for text in TEXTS if text] + RAW + list(mutated(3000, seed=8))
    async with app:
        for start in range(0, len(data), 400):
            await stream.put_many([(each, "k") for each in data[start : start + 400]])
        await forebay_clock.advance(5)
    passed = set(seen)
    assert [each[:80] for each in data if isinstance(read(each), dict | list) and each not in passed] == []
    assert [each[:80] for each in data if (each in passed) != is_written_as_json(each)] == []


async def test_bytes_that_are_no_json_reach_the_failure_record_unchanged(forebay_app, forebay_clock):
    app = forebay_app
    stream = app.stream("texts", shards=1)

    @app.on_stream("texts", batch_size=1, maximum_retry_attempts=0, include_payload=True)
    async def handler(batch: Batch, context):
        batch[0].json()

    refused = [each for each in [*RAW, *map(str.encode, TEXTS)] if each and read(each) is UNREADABLE]
    async with app:
        await stream.put_many([(each, "k") for each in refused])
        await forebay_clock.advance(5)
        failures = await handler.failed(1000)
    kept = orjson.dumps([failure["record"] for failure in failures])
    assert len(failures) >= len(RAW) + 10
    for each in refused:
        assert base64.b64encode(each) in kept


def frames(seed, count):
    """Frames of the owner's socket, whole and broken: `length u32, id u64, kind u8, body`."""
    chance = random.Random(seed)

    def piece(data):
        return struct.pack("<I", len(data)) + data

    verb = piece(b"lag") + piece(b"{}")
    bodies = [verb, piece(b"numbers") + piece(b"k") + piece(b"data"), piece(b"f") + piece(b"{}"), b"", b"\xff" * 40]
    bodies += [piece(b"mapping.declare") + piece(b"[" * 5000), piece(b"stream.declare") + piece(b'{"name": 7}')]
    for _ in range(count):
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randint(0, 3)):
            if body:
                body[chance.randrange(len(body))] = chance.randrange(256)
        length = chance.choice([len(body) + 9] * 6 + [0, 8, 1 << 31, (64 << 20) + 1, len(body)])
        yield struct.pack("<IQB", length & 0xFFFFFFFF, chance.getrandbits(64), chance.choice([1, 2, 3, 0, 99])) + body


def speak(path, data):
    """Say something to the socket and listen until it hangs up or a moment has passed."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.02)
        client.connect(str(path))
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except OSError:
            pass


async def test_no_frame_brings_the_owner_down_or_keeps_others_waiting(tmp_path):
    app, seen = App("hostile", store=tmp_path / "data"), []
    app.stream("numbers", shards=1)

    @app.on_stream("numbers")
    async def handler(batch: Batch, context):
        seen.extend(record.data for record in batch)

    async with app:
        for data in frames(seed=3, count=400):
            await asyncio.to_thread(speak, tmp_path / "data" / "forebay.sock", data)
        client = App("hostile", store=tmp_path / "data", serve=False)
        async with client:
            await client.stream("numbers").put(b"still here", "k")
        for _ in range(1000):
            if b"still here" in seen:
                break
            await asyncio.sleep(0.01)
    assert b"still here" in seen


GET = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
REQUESTS = [
    GET + b"Content-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    GET + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
    GET + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    GET + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    GET + b"Content-Length: 99999999999999999999\r\n\r\n",
    GET + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + SMUGGLED,
    GET + b"Transfer-Encoding: xchunked\r\n\r\n" + SMUGGLED,
    GET + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET /metrics HTTP/1.1\nHost: 127.0.0.1\n\n" + SMUGGLED,
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example.com\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
    b"GET http://evil.example.com/metrics HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /metrics\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
    GET + b"".join(b"X%d: y\r\n" % number for number in range(5_000)) + b"\r\n",
    GET + b"X: a\x00b\r\n\r\n",
    GET + b" folded: value\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\r\n" * 1000,
    b"GET " + b"/" * 100_000,
    bytes(range(256)) * 10,
]


def ask(port, request):
    """Give everything that the server says to one connection."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.settimeout(0.3)  # to a request that never ends there is no answer
        try:
            client.sendall(request)
            while more := client.recv(65536):
                said += more
        except OSError:
            pass
    return said


@pytest.fixture
def port():
    return free_port()


async def test_a_request_that_can_be_read_in_two_ways_gets_one_answer_at_most(tmp_path, port):
    app = App("hostile", store=tmp_path / "data")
    await app.start(metrics_port=port)
    try:
        for request in REQUESTS:
            said = await asyncio.to_thread(ask, port, request)
            assert said.count(b"HTTP/1.1 ") <= 1, (request[:80], said[:200])
            is_plain = request.startswith(b"GET /metrics HTTP/1.1\n")
            refused = said == b"" or said.split(b" ")[1][:1] == b"4"
            assert refused or is_plain or b"X: a" in request or b"HTTP/9" in request, (request[:80], said[:200])
        answer = await asyncio.to_thread(ask, port, GET + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
    finally:
        await app.stop()
