"""Where APIs are served: over TLS, behind a proxy, and with an access log."""

import asyncio
import json
import ssl

import certificates
import pytest
from plain_client import Client
from ports import free_port
from waiting import until

from forebay import App, InvalidParameterValue


@pytest.fixture
def api(app):
    api = app.http_api("shop")

    @api.route("GET", "/a")
    async def told(event, context):
        return {"ip": event["requestContext"]["http"]["sourceIp"], **event["headers"]}

    return api


@pytest.fixture
def files(tmp_path):
    def write(certificate, key):
        (tmp_path / "certificate").write_text(certificate)
        (tmp_path / "key").write_text(key)
        return str(tmp_path / "certificate"), str(tmp_path / "key")

    return write


async def over_tls(port, certificate, protocols=("http/1.1",)):
    trusts = ssl.create_default_context(cadata=certificate)
    trusts.set_alpn_protocols(list(protocols))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusts, server_hostname="localhost")
    try:
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        if chosen == "h2":
            return chosen, b""
        writer.write(b"GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        return chosen, await reader.read()
    finally:
        writer.close()


async def is_trusted(port, certificate):
    try:
        await over_tls(port, certificate)
    except ssl.SSLCertVerificationError:
        return False
    return True


async def test_apis_are_served_over_tls_and_the_certificate_is_read_anew(app, api, files):
    port = free_port()
    await app.start(http_port=port, http_tls=files(certificates.ONE, certificates.ONE_KEY))
    try:
        _, answer = await over_tls(port, certificates.ONE)
        assert b'"x-forwarded-proto":"https"' in answer
        assert (await over_tls(port, certificates.ONE, ("h2", "http/1.1")))[0] == "h2"
        with pytest.raises(ssl.SSLCertVerificationError):
            await over_tls(port, certificates.TWO)
        files(certificates.TWO, certificates.ONE_KEY)  # half of a change: the old one is good
        await asyncio.sleep(1.1)
        await over_tls(port, certificates.ONE)
        files(certificates.TWO, certificates.TWO_KEY)
        async with asyncio.timeout(100):  # they are looked at once a second
            while not await is_trusted(port, certificates.TWO):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        await app.stop()


async def test_a_certificate_that_cannot_be_read_anew_is_told_once_and_when_it_is_good(app, api, files, caplog):
    """Nobody was told, and the old certificate was shown until it ran out."""
    port = free_port()
    await app.start(http_port=port, http_tls=files(certificates.ONE, certificates.ONE_KEY))

    def told():
        return [line.getMessage() for line in caplog.records if "files of TLS" in line.getMessage()]

    async def looks(number):
        for _ in range(number):
            await asyncio.sleep(1.1)  # they are looked at once a second
            await over_tls(port, certificates.ONE)

    try:
        for wrong, part in [
            ((certificates.TWO, certificates.ONE_KEY), "/key: it is not the key of the certificate in "),
            (("nonsense", certificates.ONE_KEY), "/certificate: there is no certificate in it"),
        ]:
            caplog.clear()
            files(*wrong)
            await looks(1)
            assert told() == [], "half of a change may be there"
            await looks(3)
            [line] = told()
            assert "what they said before is served on: http_certificate: " in line and part in line
        caplog.clear()
        files(certificates.ONE, certificates.ONE_KEY)
        await looks(2)
        [line] = told()
        assert line == "the files of TLS are good again, and new connections have what they say"
    finally:
        await app.stop()


async def test_a_certificate_that_is_wrong_is_told_before_a_client_comes(app, api, files, caplog):
    """A renewal that went wrong at night was told when the first clients came in the morning."""
    await app.start(http_port=free_port(), http_tls=files(certificates.ONE, certificates.ONE_KEY))
    try:
        for wrong, part in [
            ((certificates.TWO, certificates.ONE_KEY), "cannot be used"),
            ((certificates.ONE, certificates.ONE_KEY), "good again"),
        ]:
            files(*wrong)
            await until(lambda part=part: any(part in line.getMessage() for line in caplog.records))
    finally:
        await app.stop()


async def test_files_that_are_no_certificate_are_named(app, files, tmp_path):
    for tls, part in [
        (lambda: files("", ""), "there is no certificate in it"),
        (lambda: files(certificates.ONE, certificates.TWO_KEY), "it is not the key of the certificate in "),
        (lambda: (str(tmp_path / "nothing"), str(tmp_path / "key")), "nothing"),
        # It was told as "failed to parse private key as RSA, ECDSA, or EdDSA".
        (
            lambda: files(certificates.ONE, certificates.SMALL_KEY),
            "http_certificate: .*/key: the RSA key is too small: it needs 2,048 to 4,096 bits",
        ),
    ]:
        with pytest.raises(InvalidParameterValue, match=part):
            await app.start(http_port=free_port(), http_tls=tls())
    with pytest.raises(InvalidParameterValue, match="http_tls"):
        await app.start(http_port=1, http_tls=True)


async def test_only_a_trusted_proxy_says_where_a_request_comes_from(app, api):
    said = {"x-forwarded-for": "9.9.9.9, 192.0.2.7", "x-forwarded-proto": "https", "x-forwarded-port": "443"}
    for trusted, expected in [((), ("127.0.0.1", "http")), (("127.0.0.0/8",), ("192.0.2.7", "https"))]:
        port = free_port()
        await app.start(http_port=port, http_trusted_proxies=trusted)
        try:
            told = (await Client(port).ask("GET", "/a", said)).json()
        finally:
            await app.stop()
        assert (told["ip"], told["x-forwarded-proto"]) == expected
        assert told["x-forwarded-for"] == "9.9.9.9, 192.0.2.7,127.0.0.1"
    with pytest.raises(InvalidParameterValue, match="is neither an address nor a network"):
        await app.start(http_port=1, http_trusted_proxies=("proxy",))


@pytest.mark.parametrize("format_", ["common", "json", "$context.routeKey $context.status $context.identity.userAgent"])
async def test_each_request_has_a_line_in_the_access_log(app, api, tmp_path, format_):
    port, log = free_port(), tmp_path / "access.log"
    await app.start(http_port=port, http_access_log=str(log), http_access_log_format=format_)
    try:
        await Client(port).ask("GET", "/a", {"user-agent": 'x" 200'})
        await Client(port).ask("GET", "/b", {"user-agent": "y"})
    finally:
        await app.stop()
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    if format_ == "common":
        assert '"GET /a HTTP/1.1" 200 ' in lines[0] and '"GET /b HTTP/1.1" 404 23' in lines[1]
    elif format_ == "json":
        assert [json.loads(line)["status"] for line in lines] == ["200", "404"]
    else:
        assert lines == ['GET /a 200 x\\" 200', "- 404 y"]


async def test_a_log_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    for options, part in [
        ({"http_access_log": str(tmp_path / "no" / "log")}, "http_access_log: "),
        ({"http_access_log": str(tmp_path / "log"), "http_access_log_format": "$context.nothing"}, "is not known"),
        ({"http_access_log_format": "json"}, "only with http_access_log"),
    ]:
        with pytest.raises(InvalidParameterValue, match=part):
            await App("t", store=":memory:").start(http_port=free_port(), **options)
