"""The protocol of WebSockets (RFC 6455), by the groups of Autobahn's test suite, which `make compat` runs itself.

Frames, pings, reserved bits, opcodes, fragments, UTF-8, closes and limits: what a client may not send ends its connection
with the code of the RFC. Binary messages and large ones are closed as API Gateway closes them. The last test speaks with a
library's client.
"""

import asyncio
import os
import struct

import pytest
from sockets import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, connect

FINAL = 128
FRAME_MAX = 32 * 1024
MESSAGE_MAX = 128 * 1024


@pytest.fixture
async def port(app, serve):
    """Serve an API that says what it hears."""
    ws = app.websocket_api("echo")

    @ws.on_default(responds=True)
    async def echo(event, context):
        return event["body"]

    return (await serve()).port


@pytest.fixture
async def socket(port):
    opened = await connect(port)
    assert opened.status == 101
    yield opened
    opened.cut()


def frame(first, data=b"", *, masked=True):
    """Write a frame with any first byte."""
    size, mark = len(data), FINAL if masked else 0
    if size < 126:
        length = bytes([mark | size])
    elif size < 65_536:
        length = struct.pack("!BH", mark | 126, size)
    else:
        length = struct.pack("!BQ", mark | 127, size)
    if not masked:
        return bytes([first]) + length + data
    mask = os.urandom(4)
    return bytes([first]) + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


async def say(socket, *frames):
    socket.writer.write(b"".join(frames))
    await socket.writer.drain()


async def assert_closed(socket, code):
    """Read until the server closes: with this code, and with nothing behind it."""
    assert await asyncio.wait_for(socket.closed(), 10) == code
    assert await socket.receive() is None


# 1: frames


@pytest.mark.parametrize("size", [1, 125, 126, 127, 128, 1_000, FRAME_MAX])
async def test_a_text_of_any_size_is_heard(socket, size):
    await say(socket, frame(FINAL | TEXT, b"*" * size))
    assert await socket.receive() == (TEXT, b"*" * size)


@pytest.mark.parametrize("pieces", [1, 7, 997])
async def test_a_frame_may_come_in_pieces(socket, pieces):
    whole = frame(FINAL | TEXT, b"*" * 2_000)
    for at in range(0, len(whole), pieces):
        socket.writer.write(whole[at : at + pieces])
        if pieces > 1:
            await asyncio.sleep(0)
    assert await socket.receive() == (TEXT, b"*" * 2_000)


async def test_a_frame_without_a_mask_is_refused(socket):
    await say(socket, frame(FINAL | TEXT, b"a", masked=False))
    await assert_closed(socket, 1002)


@pytest.mark.parametrize("size", [0, 1, 126])
async def test_bytes_are_no_message_here(socket, size):
    await say(socket, frame(FINAL | BINARY, b"\xff" * size))
    await assert_closed(socket, 1003)


# 2: pings and pongs


@pytest.mark.parametrize("data", [b"", b"hello", b"\x00\xff\xfe\xfd", b"\xfe" * 125])
async def test_a_ping_is_answered_with_its_data(socket, data):
    await say(socket, frame(FINAL | PING, data))
    assert await socket.receive() == (PONG, data)


async def test_a_ping_of_more_than_125_bytes_is_refused(socket):
    await say(socket, frame(FINAL | PING, b"\xfe" * 126))
    await assert_closed(socket, 1002)


async def test_pongs_that_nobody_asked_for_are_passed_over(socket):
    await say(socket, frame(FINAL | PONG), frame(FINAL | PONG, b"unasked"), frame(FINAL | PING, b"asked"))
    assert await socket.receive() == (PONG, b"asked")


async def test_ten_pings_have_ten_pongs_in_their_order(socket):
    await say(socket, *(frame(FINAL | PING, str(number).encode()) for number in range(10)))
    assert [await socket.receive() for _ in range(10)] == [(PONG, str(number).encode()) for number in range(10)]


# 3 and 4: reserved bits and opcodes


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("kind", [TEXT, PING, CLOSE], ids=["text", "ping", "close"])
async def test_reserved_bits_are_refused(socket, bits, kind):
    await say(socket, frame(FINAL | bits << 4 | kind, b"" if kind == CLOSE else b"hello"))
    await assert_closed(socket, 1002)


@pytest.mark.parametrize("data", [b"", b"hello"], ids=["empty", "full"])
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
async def test_reserved_opcodes_are_refused(socket, opcode, data):
    await say(socket, frame(FINAL | opcode, data))
    await assert_closed(socket, 1002)


# 5: fragments


@pytest.mark.parametrize("count", [2, 3, 50])
async def test_fragments_are_one_message(socket, count):
    parts = [str(number).encode() for number in range(count)]
    kinds = [TEXT] + [CONTINUATION] * (count - 2) + [FINAL | CONTINUATION]
    await say(socket, *(frame(kind, part) for kind, part in zip(kinds, parts, strict=True)))
    assert await socket.receive() == (TEXT, b"".join(parts))


async def test_fragments_may_be_empty_and_pings_may_stand_between(socket):
    await say(socket, frame(TEXT), frame(FINAL | PING, b"between"), frame(CONTINUATION, b"a"))
    assert await socket.receive() == (PONG, b"between")
    await say(socket, frame(FINAL | CONTINUATION))
    assert await socket.receive() == (TEXT, b"a")


@pytest.mark.parametrize(
    "frames",
    [
        [frame(FINAL | CONTINUATION, b"a")],
        [frame(CONTINUATION, b"a"), frame(FINAL | TEXT, b"b")],
        [frame(TEXT, b"a"), frame(FINAL | TEXT, b"b")],
        [frame(TEXT, b"a"), frame(FINAL | BINARY, b"b")],
        [frame(FINAL | TEXT, b""), frame(FINAL | CONTINUATION, b"b")],
        [frame(PING, b"a")],
        [frame(PONG, b"a")],
        [frame(CLOSE, struct.pack("!H", 1000))],
    ],
    ids=[
        "nothing to go on",
        "nor this",
        "a new one",
        "bytes",
        "it has ended",
        "half a ping",
        "half a pong",
        "half a close",
    ],
)
async def test_fragments_that_do_not_fit_are_refused(socket, frames):
    await say(socket, *frames)
    await assert_closed(socket, 1002)


# 6: UTF-8

VALID = {
    "two, three and four bytes": "\u00b5\u2665\U0001f600",
    "the first of each length": "\u0001\u0080\u0800\U00010000",
    "the last of each length": "\u007f\u07ff\uffff\U0010ffff",
    "around the surrogates": "\ud7ff\ue000\ufffd",
    "no characters": "\ufffe\uffff\U0001fffe\U0010fffe",
}
INVALID = {
    "a continuation": b"\x80",
    "two": b"\x80\xbf",
    "a first byte alone": b"\xc3 ",
    "no second byte": b"\xc3",
    "no third": b"\xe2\x99",
    "no fourth": b"\xf0\x9f\x98",
    "fe": b"\xfe",
    "ff": b"\xff",
    "a long slash": b"\xc0\xaf",
    "a longer one": b"\xe0\x80\xaf",
    "the longest one": b"\xf0\x80\x80\xaf",
    "a long NUL": b"\xc0\x80",
    "the last long ones": b"\xc1\xbf",
    "a high surrogate": b"\xed\xa0\x80",
    "a low one": b"\xed\xbf\xbf",
    "a pair": b"\xed\xa0\x80\xed\xb0\x80",
    "beyond": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
}


@pytest.mark.parametrize("text", VALID.values(), ids=VALID)
async def test_any_text_is_heard_however_it_is_cut(socket, text):
    data = text.encode()
    await say(socket, frame(FINAL | TEXT, data))
    assert await socket.receive() == (TEXT, data)
    pieces = [frame(TEXT)] + [frame(CONTINUATION, data[at : at + 1]) for at in range(len(data))]
    await say(socket, *pieces, frame(FINAL | CONTINUATION))
    assert await socket.receive() == (TEXT, data)


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
async def test_what_is_no_text_is_refused(socket, data, is_cut):
    whole = b"before " + data
    if is_cut:
        await say(socket, frame(TEXT, whole[:-1]), frame(FINAL | CONTINUATION, whole[-1:]))
    else:
        await say(socket, frame(FINAL | TEXT, whole))
    await assert_closed(socket, 1007)


# 7: closes


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999], ids=str
)
async def test_a_close_is_answered_with_its_code(socket, code):
    await say(socket, frame(FINAL | CLOSE, struct.pack("!H", code) + b"bye"))
    await assert_closed(socket, code)


async def test_a_close_without_a_code_is_answered(socket):
    await say(socket, frame(FINAL | CLOSE))
    assert await socket.closed() in {1000, 1005}
    assert await socket.receive() is None


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535], ids=str)
async def test_a_code_that_nobody_may_send_is_refused(socket, code):
    await say(socket, frame(FINAL | CLOSE, struct.pack("!H", code)))
    await assert_closed(socket, 1002)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x03", 1002),
        (struct.pack("!H", 1000) + b"*" * 124, 1002),
        (struct.pack("!H", 1000) + b"\xed\xa0\x80", 1007),
    ],
    ids=["half a code", "too long", "no text"],
)
async def test_a_close_that_cannot_be_read_is_refused(socket, data, code):
    await say(socket, frame(FINAL | CLOSE, data))
    await assert_closed(socket, code)


async def test_nothing_behind_a_close_is_heard(socket):
    close = frame(FINAL | CLOSE, struct.pack("!H", 1000))
    await say(socket, close, frame(FINAL | TEXT, b"late"), frame(FINAL | PING, b"late"))
    assert await socket.receive() == (CLOSE, struct.pack("!H", 1000))
    assert await socket.receive() is None


# 9: limits


async def test_a_message_has_at_most_128_kib(socket):
    part = b"*" * FRAME_MAX
    await say(socket, frame(TEXT, part), *[frame(CONTINUATION, part)] * 2, frame(FINAL | CONTINUATION, part))
    assert await socket.receive() == (TEXT, b"*" * MESSAGE_MAX)
    await say(socket, frame(TEXT, part), *[frame(CONTINUATION, part)] * 3, frame(FINAL | CONTINUATION, b"*"))
    await assert_closed(socket, 1009)


@pytest.mark.parametrize("size", [FRAME_MAX + 1, 65_535, 65_536])
async def test_a_frame_has_at_most_32_kib(socket, size):
    await say(socket, frame(FINAL | TEXT, b"*" * size))
    await assert_closed(socket, 1009)


async def test_a_size_that_nobody_could_hold_is_refused_before_it_comes(socket):
    await say(socket, struct.pack("!BBQ", FINAL | TEXT, FINAL | 127, 2**63 - 1) + b"mask")
    await assert_closed(socket, 1009)


# a client that nobody here wrote


async def test_the_client_of_a_library_has_its_messages_pings_and_close(port):
    websockets = pytest.importorskip("websockets.asyncio.client")
    async with websockets.connect(f"ws://127.0.0.1:{port}/") as client:
        for text in ["a", "\u2665" * 1_000, "*" * FRAME_MAX]:
            await client.send(text)
            assert await client.recv() == text
        await client.send(["in ", "three ", "parts"])
        assert await client.recv() == "in three parts"
        assert await (await client.ping(b"there?")) >= 0
    assert client.close_code == 1000
