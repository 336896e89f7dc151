"""TLS on both engines, with a certificate authority of the test's own; and no way to get an unencrypted connection when it is required."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from db_servers import PASSWORD, USER, Server, give_away

from forebay.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Authority:
    """A certificate authority, and a server's certificate for 127.0.0.1 that it has signed."""

    folder: Path

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run([shutil.which("openssl") or "openssl", *arguments], check=True, capture_output=True, cwd=folder)


@pytest.fixture(scope="session")
def authority(tmp_path_factory, need) -> Authority:
    need("openssl")
    folder = tmp_path_factory.mktemp("authority")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    extension = "basicConstraints=critical,CA:TRUE"
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-addext", extension, "-addext", "keyUsage=critical,keyCertSign", folder=folder)  # fmt: skip
    openssl("req", *key[:-2], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server", folder=folder)
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", "server.pem", folder=folder)  # fmt: skip
    return Authority(folder)


@pytest.fixture(params=["postgresql", "mysql"], scope="module")
def encrypted(request, templates, authority) -> Server:
    """A server that offers TLS."""
    server = templates(request.param).clone()
    for name in ("server.key", "server.pem", "ca.pem"):
        shutil.copy(authority.folder / name, server.folder / name)
        (server.folder / name).chmod(0o600)
    give_away(server.folder)
    key, certificate = server.folder / "server.key", server.folder / "server.pem"
    if request.param == "postgresql":
        server.start("-cssl=on", f"-cssl_key_file={key}", f"-cssl_cert_file={certificate}")
    else:
        server.start(f"--ssl-key={key}", f"--ssl-cert={certificate}", f"--ssl-ca={server.folder / 'ca.pem'}")
    yield server
    server.remove()


async def test_statements_travel_encrypted_and_the_figures_say_so(encrypted, authority, proxies):
    proxy = proxies(encrypted, require_tls=True, tls_context=authority.context(), maximum_connections=2)
    async with proxy.connect() as client, proxy.connect() as other:
        if encrypted.engine == "mysql":
            assert (await client.fetch_one("SHOW SESSION STATUS LIKE 'Ssl_version'"))[1].startswith("TLSv1.")
        else:
            assert (
                await client.fetch_value("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            ).startswith("TLSv1.")
        async with client.transaction():
            assert await client.fetch_value("SELECT 1") == 1
            assert await other.fetch_value("SELECT 2") == 2
        numbers = (
            "SELECT seq FROM seq_1_to_20000" if encrypted.engine == "mysql" else "SELECT generate_series(1, 20000)"
        )
        assert len(await client.fetch_all(numbers)) == 20_000
        figures = proxy.statistics()
        assert figures["DatabaseConnectionsWithTLS"] == figures["DatabaseConnections"] == 2
        assert figures["DatabaseConnectionRequestsWithTLS"] == 2


async def test_a_cancelled_statement_over_tls_ends_at_the_server_too(encrypted, authority, proxies):
    proxy = proxies(encrypted, tls_context=authority.context(), maximum_connections=1)
    nap = "SELECT SLEEP(30)" if proxy.engine == "mysql" else "SELECT pg_sleep(30)"
    async with proxy.connect() as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.fetch_value(nap)
        assert await client.fetch_value("SELECT 1", timeout=10) == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(encrypted, proxies):
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1.*certificate") as caught:
        async with proxies(encrypted, require_tls=True, connection_borrow_timeout=1).connect():
            pass
    assert PASSWORD not in str(caught.value)


async def test_a_certificate_for_another_name_is_refused(encrypted, authority, proxies):
    url = f"{encrypted.engine}://{USER}:{PASSWORD.replace('!', '%21')}@localhost:{encrypted.port}/app"
    with pytest.raises(DatabaseUnavailable, match="localhost"):
        async with proxies(url, tls_context=authority.context(), connection_borrow_timeout=1).connect():
            pass


async def test_a_server_without_tls_is_refused_when_it_is_required(server, authority, proxies):
    proxy = proxies(server, require_tls=True, tls_context=authority.context(), connection_borrow_timeout=1)
    with pytest.raises(DatabaseUnavailable, match=rf"127\.0\.0\.1:{server.port}"):
        async with proxy.connect() as client:
            await client.fetch_value("SELECT 1")
    assert proxy.statistics()["DatabaseConnectionsSetupSucceeded"] == 0
