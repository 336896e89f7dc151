"""Requests that two readers could read differently: each is refused and closes its connection, or is read in one way.

Behind each stands another request. Whoever would be smuggled in would run there.
"""

import pytest

GET = b"GET /a HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n"
NEXT = b"GET /next HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


def line(*lines, start=POST, body=b""):
    """Write a request with these header lines."""
    return start + b"".join(one + b"\r\n" for one in lines) + b"\r\n" + body


# Refused with 400, and nothing of it and behind it runs.
REFUSED = {
    # hosts
    "two hosts": line(b"host: other", start=GET),
    "the same host twice": line(b"host: localhost", start=GET),
    "no host": b"GET /a HTTP/1.1\r\nx: y\r\n\r\n",
    "another absolute host": b"GET http://other.example.com/a HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a user in the host": b"GET http://a@localhost/a HTTP/1.1\r\nhost: a@localhost\r\n\r\n",
    "a host that is not text": b"GET /a HTTP/1.1\r\nhost: \xff\xfe\r\n\r\n",
    # lengths
    "two lengths": line(b"content-length: 1", b"content-length: 2", body=b"ab"),
    "two lengths in one line": line(b"content-length: 1, 2", body=b"ab"),
    "a signed length": line(b"content-length: +1", body=b"a"),
    "a negative length": line(b"content-length: -1"),
    "a length in hexadecimal": line(b"content-length: 0x1", body=b"a"),
    "a length with a point": line(b"content-length: 1.0", body=b"a"),
    "a length with a blank inside": line(b"content-length: 1 1", body=b"a" * 11),
    "a length with letters": line(b"content-length: 1a", body=b"a"),
    "a length in quotes": line(b'content-length: "1"', body=b"a"),
    "a length beyond 64 bits": line(b"content-length: 18446744073709551617", body=b"a"),
    "a length that is empty": line(b"content-length:"),
    "a length in other digits": line("content-length: \u0661".encode(), body=b"a"),
    "a length of e": line(b"content-length: 1e1", body=b"a" * 10),
    # length and chunks
    "length, then chunked": line(b"content-length: 5", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "chunked, then length": line(b"transfer-encoding: chunked", b"content-length: 5", body=b"0\r\n\r\n"),
    "chunked and a length of 0": line(b"transfer-encoding: chunked", b"content-length: 0", body=b"0\r\n\r\n"),
    "length and chunks with a fragment": b"POST /a#b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "length and chunks in lines with a line feed alone": b"POST /a HTTP/1.1\nhost: localhost\ncontent-length: 5\n"
    b"transfer-encoding: chunked\n\n0\r\n\r\n",
    # encodings
    "another encoding": line(b"transfer-encoding: gzip"),
    "identity": line(b"transfer-encoding: identity", body=b"a"),
    "an encoding in front": line(b"transfer-encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "an encoding behind": line(b"transfer-encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "chunked twice in a line": line(b"transfer-encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "chunked in two lines": line(b"transfer-encoding: chunked", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "identity, then chunked": line(b"transfer-encoding: identity", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "almost chunked": line(b"transfer-encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked in quotes": line(b'transfer-encoding: "chunked"', body=b"0\r\n\r\n"),
    "chunked with a parameter": line(b"transfer-encoding: chunked;q=1", body=b"0\r\n\r\n"),
    "chunked with a comma": line(b"transfer-encoding: ,chunked", body=b"0\r\n\r\n"),
    "chunked with a vertical tab": line(b"transfer-encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "an empty encoding": line(b"transfer-encoding:"),
    "chunks in HTTP/1.0": b"POST /a HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    # lines
    "a blank before the colon": line(b"x : y", start=GET),
    "a blank before the colon of the length": line(b"content-length : 1", body=b"a"),
    "a tab before the colon of the encoding": line(b"transfer-encoding\t: chunked", body=b"0\r\n\r\n"),
    "a line that begins with a blank": line(b" content-length: 1", body=b"a"),
    "a folded line": line(b"x: y", b" z", start=GET),
    "a folded encoding": line(b"transfer-encoding:", b" chunked", body=b"0\r\n\r\n"),
    "a line without a colon": line(b"content-length 1", body=b"a"),
    "a line without a name": line(b": y", start=GET),
    "a control character": line(b"x: \x01", start=GET),
    "nul": line(b"x: a\x00b", start=GET),
    "nul in a name": line(b"x\x00: a", start=GET),
    "a line feed alone behind the first line": b"GET /a HTTP/1.1\nhost: localhost\r\n\r\n",
    "a line feed alone behind a line": b"GET /a HTTP/1.1\r\nhost: localhost\nx: y\r\n\r\n",
    "line feeds alone": b"GET /a HTTP/1.1\nhost: localhost\n\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "carriage return in a value": line(b"x: a\rcontent-length: 1", body=b"a"),
    "carriage return in a name": line(b"x\r: a", start=GET),
    "a name with brackets": line(b"content-length(): 1", body=b"a"),
    "a name that is not ASCII": line("content-l\u00e9ngth: 1".encode(), body=b"a"),
    # the first line
    "no HTTP": b"hello\r\n\r\n",
    "no path": b"GET HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "another version": b"GET /a HTTP/1.2\r\nhost: localhost\r\n\r\n",
    "version 3": b"GET /a HTTP/3.0\r\nhost: localhost\r\n\r\n",
    "a version in small letters": b"GET /a http/1.1\r\nhost: localhost\r\n\r\n",
    "two blanks before the version": b"GET /a  HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "words behind the version": b"GET /a HTTP/1.1 x\r\nhost: localhost\r\n\r\n",
    "a tab in the first line": b"GET\t/a HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "nul in the path": b"GET /a\x00b HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a method with brackets": b"G(T /a HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "carriage return in the first line": b"GET /a\rb HTTP/1.1\r\nhost: localhost\r\n\r\n",
    # chunks
    "a chunk's size is not a number": CHUNKED + b"x\r\na\r\n0\r\n\r\n",
    "a chunk's size is signed": CHUNKED + b"+1\r\na\r\n0\r\n\r\n",
    "a chunk's size is negative": CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
    "a chunk's size begins with 0x": CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "a chunk's size is beyond 64 bits": CHUNKED + b"10000000000000001\r\na\r\n0\r\n\r\n",
    "a chunk's size is empty": CHUNKED + b"\r\na\r\n0\r\n\r\n",
    "a chunk is longer than it says": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "a chunk ends with a line feed alone": CHUNKED + b"1\r\na\n0\r\n\r\n",
    "a chunk's size ends with a line feed alone": CHUNKED + b"1\na\r\n0\r\n\r\n",
    "a line feed in a chunk's extension": CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n",
}

# Read in one way: the body, and the request behind it.
READ = {
    "equal lengths": (line(b"content-length: 1", b"content-length: 1", body=b"a"), "a"),
    "zeros before a length": (line(b"content-length: 01", body=b"a"), "a"),
    "chunked in capitals": (line(b"Transfer-Encoding: CHUNKED", body=b"1\r\na\r\n0\r\n\r\n"), "a"),
    "blanks around chunked": (line(b"transfer-encoding:  chunked \t", body=b"1\r\na\r\n0\r\n\r\n"), "a"),
    "a chunk with an extension": (CHUNKED + b"1;x=y\r\na\r\n0\r\n\r\n", "a"),
    "zeros before a chunk's size": (CHUNKED + b"001\r\na\r\n000\r\n\r\n", "a"),
    "a trailer that says a length": (CHUNKED + b"1\r\na\r\n0\r\ncontent-length: 9\r\n\r\n", "a"),
    "a request in a body": (line(b"content-length: %d" % len(NEXT), body=NEXT), NEXT.decode()),
    "an absolute URL of its host": (b"GET http://localhost/a HTTP/1.1\r\nhost: localhost\r\n\r\n", None),
}


@pytest.fixture
async def reader(api, serve):
    seen = []

    @api.route("ANY", "/{proxy+}", payload_format="1.0")
    async def handler(event, context):
        seen.append((event["path"], event["body"]))
        return {"statusCode": 200}

    return await serve(), seen


@pytest.fixture
def api(app):
    return app.http_api("shop")


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_what_two_readers_could_read_differently_is_refused_and_nothing_behind_it_runs(reader, data):
    client, seen = reader
    got = await client.raw(data + NEXT)
    assert got.startswith(b"HTTP/1.1 400 ") or got == b"", got
    assert got.count(b"HTTP/1.1 ") <= 1 and seen == []


@pytest.mark.parametrize(("data", "body"), READ.values(), ids=READ.keys())
async def test_what_can_be_read_in_one_way_is(reader, data, body):
    client, seen = reader
    got = await client.raw(data + NEXT)
    assert seen == [("/a", body), ("/next", None)]
    assert got.count(b"HTTP/1.1 200 ") == 2


async def test_an_upgrade_that_is_not_taken_opens_no_way_round(reader):
    """What came behind it was not looked at."""
    client, seen = reader
    asked = line(b"upgrade: x", b"connection: upgrade", start=GET)
    got = await client.raw(asked + REFUSED["length, then chunked"] + NEXT)
    assert got.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 400 " in got
    assert seen == [("/a", None)]


async def test_a_head_that_ends_otherwise_is_refused_behind_a_body_that_looks_like_it(reader):
    """The one in the body was looked at, and the one behind it was let through."""
    client, seen = reader
    good, bad = NEXT, NEXT.replace(b"localhost\r\n", b"localhost\n")
    for first in (
        line(b"content-length: %d" % len(good), body=good),
        CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(good), good),
    ):
        seen.clear()
        got = await client.raw(first + bad)
        assert seen == [("/a", good.decode())]
        assert got.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 400 " in got


def test_the_table_has_sixty_requests():
    assert len(REFUSED) + len(READ) >= 60
