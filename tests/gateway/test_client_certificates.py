"""Certificates of clients: those that clients show to an API, and those that an API shows to servers behind it."""

import asyncio
import contextlib
import json
import ssl

import certificates
import pytest
from plain_client import parsed
from ports import free_port

from forebay import App, InvalidParameterValue

TILL = {
    "subjectDN": "CN=till,O=Shop",
    "issuerDN": "CN=authority",
    "serialNumber": "0a:1b:2c",
    "clientCertPem": certificates.CLIENT,
}


@pytest.fixture
def files(tmp_path):
    """Write the certificates to files; give a file of a name."""
    for name in ("ONE", "ONE_KEY", "TWO", "AUTHORITY", "CLIENT", "CLIENT_KEY", "RSA", "RSA_KEY", "OLD", "OLD_KEY"):
        (tmp_path / name).write_text(getattr(certificates, name))
    (tmp_path / "RSA_AUTHORITY").write_text(certificates.RSA_AUTHORITY + certificates.AUTHORITY)
    return lambda name: str(tmp_path / name)


@pytest.fixture
async def start(app, files):
    """Start the app over TLS, and stop it at the end."""
    begun = []

    async def started(**options):
        await app.start(http_tls=(files("ONE"), files("ONE_KEY")), **options)
        begun.append(app)

    yield started
    for one in begun:
        await one.stop()


@pytest.fixture
def ask(files):
    """Send a request over TLS, with the client's certificate or without one."""

    async def sent(port, path, *, shown=None):
        trusts = ssl.create_default_context(cadata=certificates.ONE)
        if shown is not None:
            trusts.load_cert_chain(files(shown), files(f"{shown}_KEY"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusts, server_hostname="localhost")
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            return parsed(await asyncio.wait_for(reader.read(), 100))
        finally:
            writer.close()

    return sent


async def is_turned_away(ask, port, path, **options):
    try:
        await ask(port, path, **options)
    except (ssl.SSLError, ConnectionError):
        return True
    return False


async def turned_away(ask, port, path, **options):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await ask(port, path, **options)
    return True


async def who(event, context):
    known = event["requestContext"]
    known = known.get("authentication") or known.get("identity") or {}
    return {"statusCode": 200, "body": json.dumps(known.get("clientCert"))}


async def test_an_api_knows_its_clients_by_their_certificates(app, start, files, ask):
    function = app.function(name="who", url=True)(who)
    api = app.http_api("shop")
    api.route("GET", "/two")(function)
    api.route("GET", "/one", payload_format="1.0")(function)
    rest = app.rest_api("legacy", stage="prod")
    rest.method("GET", "/who")(function)
    port = free_port()
    await start(http_port=port, http_truststore=files("AUTHORITY"))
    for path in ("/_apis/shop/two", "/_apis/shop/one", "/_apis/legacy/prod/who", "/_apis/who/"):
        told = (await ask(port, path, shown="CLIENT")).json()
        assert {name: told[name] for name in TILL} == TILL, path
        assert told["validity"]["notBefore"].endswith(" 2026 GMT")
    # Neither nobody, nor somebody whom the authority does not know.
    assert await turned_away(ask, port, "/_apis/shop/two")
    assert await turned_away(ask, port, "/_apis/shop/two", shown="ONE")


async def test_an_authority_may_have_a_key_of_rsa(app, start, files, ask):
    app.http_api("shop").route("GET", "/")(who)
    port = free_port()
    await start(http_port=port, http_truststore=files("RSA_AUTHORITY"))
    assert (await ask(port, "/", shown="RSA")).json()["subjectDN"] == "CN=rsa-till,O=Shop"
    assert (await ask(port, "/", shown="CLIENT")).json()["issuerDN"] == "CN=authority", "the other one in the file"
    assert await turned_away(ask, port, "/", shown="OLD")
    assert await turned_away(ask, port, "/", shown="ONE")


async def test_who_is_trusted_changes_with_the_file(app, start, files, ask, tmp_path):
    app.http_api("shop").route("GET", "/")(who)
    port = free_port()
    await start(http_port=port, http_truststore=files("AUTHORITY"))
    assert (await ask(port, "/", shown="CLIENT")).status == 200
    (tmp_path / "AUTHORITY").write_text("half of a change")
    await asyncio.sleep(1.1)
    assert (await ask(port, "/", shown="CLIENT")).status == 200
    (tmp_path / "AUTHORITY").write_text(certificates.ONE)
    async with asyncio.timeout(100):  # it is looked at once a second
        while not await is_turned_away(ask, port, "/", shown="CLIENT"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (await ask(port, "/", shown="ONE")).json()["subjectDN"] == "CN=one"


async def test_an_api_with_clients_of_its_own_is_at_its_own_port_alone(app, start, files, ask):
    """Through the port for all, anybody could have gone around its door."""
    guarded, own, all_ = free_port(), free_port(), free_port()
    function = app.function(name="who")(who)
    app.http_api("shop", port=guarded, truststore=files("AUTHORITY")).route("GET", "/who")(function)
    app.rest_api("legacy", stage="prod", port=own, truststore=files("AUTHORITY")).method("GET", "/who")(function)
    app.http_api("open").route("GET", "/who")(function)
    await start(http_port=all_)
    assert (await ask(guarded, "/who", shown="CLIENT")).json()["subjectDN"] == "CN=till,O=Shop"
    assert (await ask(own, "/prod/who", shown="CLIENT")).json()["subjectDN"] == "CN=till,O=Shop"
    assert await turned_away(ask, guarded, "/who")
    assert await turned_away(ask, own, "/prod/who")
    assert (await ask(all_, "/_apis/open/who")).json() is None
    for path in ("/_apis/shop/who", "/_apis/legacy/prod/who"):
        assert (await ask(all_, path)).json() == {"message": "Not Found"}, path


async def test_the_access_log_names_them(app, start, files, ask, tmp_path):
    app.http_api("shop").route("GET", "/")(who)
    port, log = free_port(), tmp_path / "access.log"
    wanted = "$context.status $context.identity.clientCert.subjectDN $context.identity.clientCert.serialNumber"
    await start(
        http_port=port,
        http_truststore=files("AUTHORITY"),
        http_access_log=str(log),
        http_access_log_format=wanted,
    )
    await ask(port, "/", shown="CLIENT")
    await app.stop()
    assert log.read_text() == "200 CN=till,O=Shop 0a:1b:2c\n"


async def test_a_truststore_that_could_not_be_used_is_refused(app, files, tmp_path):
    (tmp_path / "EMPTY").write_text("")
    tls = (files("ONE"), files("ONE_KEY"))
    for options, part in [
        ({"http_truststore": files("EMPTY"), "http_tls": tls}, "there is no certificate in it"),
        ({"http_truststore": str(tmp_path / "nowhere"), "http_tls": tls}, "nowhere"),
        ({"http_truststore": files("AUTHORITY")}, "only with http_tls"),
        ({"http_truststore": files("AUTHORITY"), "http_tls": False}, "only with http_tls"),
    ]:
        with pytest.raises(InvalidParameterValue, match=part):
            await app.start(http_port=free_port(), **options)
    with pytest.raises(InvalidParameterValue, match="give port="):
        app.http_api("shop", truststore=files("AUTHORITY"))
    app.http_api("shop", port=free_port(), truststore=files("AUTHORITY"))
    with pytest.raises(
        InvalidParameterValue, match='truststore of API "shop": clients show certificates over TLS alone'
    ):
        await app.start()


class Backend:
    """A server that answers only those who show a certificate that it knows; it says whose that was."""

    def __init__(self, files, certificate):
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=certificate)
        self._context.load_cert_chain(files("ONE"), files("ONE_KEY"))
        self._context.verify_mode = ssl.CERT_REQUIRED

    async def _answer(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            subject = writer.get_extra_info("peercert")["subject"]
            body = json.dumps([pair for part in subject for pair in part]).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._context)
        return self._server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()


async def proxied(rest, url, skip):
    """Make a method whose requests go to a server."""
    api = await rest.call("GetRestApi")
    place = {"resourceId": api["rootResourceId"], "httpMethod": "GET"}
    await rest.call("PutMethod", authorizationType="NONE", **place)
    tls = {"insecureSkipVerification": skip}
    await rest.call("PutIntegration", type="HTTP_PROXY", integrationHttpMethod="GET", uri=url, tlsConfig=tls, **place)
    await rest.deploy("prod")
    return place


async def test_a_stage_shows_its_certificate_to_the_server_behind_it(tmp_path, files, clients):
    app = App("shop", store=tmp_path / "store")
    rest = app.rest_api("legacy")
    client = await clients(app)
    made = await rest.call("GenerateClientCertificate", description="for the bank")
    other = await rest.call("GenerateClientCertificate")

    async def show(certificate):
        change = [{"op": "replace", "path": "/clientCertificateId", "value": certificate["clientCertificateId"]}]
        await rest.call("UpdateStage", stageName="prod", patchOperations=change)

    async with Backend(files, made["pemEncodedCertificate"]) as port:
        place = await proxied(rest, f"https://localhost:{port}/", skip=True)
        for certificate, status in ((None, 504), (made, 200), (other, 504), (made, 200)):
            if certificate is not None:
                await show(certificate)
            assert (await client.ask("GET", "/_apis/legacy/prod")).status == status
        shown = [["organizationName", "forebay"], ["commonName", "ApiGateway"]]
        assert sorted((await client.ask("GET", "/_apis/legacy/prod")).json()) == sorted(shown)
        # A test of the method shows the certificate that it names.
        asked = {"restApiId": (await rest.call("GetRestApi"))["id"], **place}
        for more, status in (({}, 504), ({"clientCertificateId": made["clientCertificateId"]}, 200)):
            told = await client.own(app, "POST", "/_test/invoke-method", body=json.dumps(asked | more).encode())
            assert told.json()["status"] == status
        # Its key has been kept with it, and no answer tells it.
        await app.stop()
        app = App("shop", store=tmp_path / "store")
        rest = app.rest_api("legacy")
        client = await clients(app)
        assert (await client.ask("GET", "/_apis/legacy/prod")).status == 200
    listed = (await rest.call("GetClientCertificates"))["items"]
    assert {one["clientCertificateId"] for one in listed} == {one["clientCertificateId"] for one in (made, other)}
    assert "PRIVATE" not in json.dumps(listed)


async def test_a_server_with_a_certificate_of_nobody_is_met_only_where_that_is_said(tmp_path, files, clients):
    """`insecureSkipVerification` was kept and had no effect."""
    app = App("shop", store=":memory:")
    rest = app.rest_api("legacy")
    client = await clients(app)
    made = await rest.call("GenerateClientCertificate")
    change = [{"op": "replace", "path": "/clientCertificateId", "value": made["clientCertificateId"]}]
    async with Backend(files, made["pemEncodedCertificate"]) as port:
        for skip, host, status in ((False, "localhost", 504), (True, "localhost", 200), (True, "127.0.0.2", 504)):
            await proxied(rest, f"https://{host}:{port}/", skip=skip)
            await rest.call("UpdateStage", stageName="prod", patchOperations=change)
            assert (await client.ask("GET", "/_apis/legacy/prod")).status == status, (skip, host)
            await rest.call(
                "DeleteMethod", httpMethod="GET", resourceId=(await rest.call("GetRestApi"))["rootResourceId"]
            )
