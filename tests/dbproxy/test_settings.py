"""Bad settings and unreachable targets: a clear error that names host and setting, and never the password."""

from __future__ import annotations

import datetime as dt
import os
import ssl
import subprocess
import sys

import pytest
from db_servers import DATABASE, PASSWORD, USER
from ports import free_port

from forebay.dbproxy import Address, DBProxy, EnvSecret, Target
from forebay.errors import AuthenticationFailed, DatabaseUnavailable, DBProxyError, InvalidParameterValue

URL = "mysql://app:hush-hush@db.example/app"


@pytest.mark.parametrize(
    ("target", "settings", "told"),
    [
        ("oracle://app@h/db", {}, "mysql, mariadb, postgresql, postgres"),
        ("app@h/db", {}, "scheme"),
        ("mysql://app:hush-hush@h", {}, "database"),
        ("mysql://app:hush-hush@h/", {}, "database"),
        ("mysql://app:hush-hush@h/a/b", {}, "database"),
        ("mysql://app:hush-hush@/db", {}, "host"),
        ("mysql://app:hush-hush@h:0/db", {}, "port 0"),
        ("mysql://app:hush-hush@h:99999/db", {}, "1 to 65535"),
        ("mysql://app:hush-hush@h:x/db", {}, "1 to 65535"),
        ("mysql://app:hush-hush@h/db?charset=x", {}, "options"),
        ("mysql://h/db", {}, "user"),
        (42, {}, "URL or a Target"),
        (URL, {"maximum_connections": 0}, "maximum_connections=0: must be a whole number from 1 to 16384"),
        (URL, {"maximum_connections": True}, "maximum_connections"),
        (URL, {"maximum_connections": 2.5}, "maximum_connections"),
        (URL, {"maximum_connections": 20_000}, "16384"),
        (URL, {"maximum_connections_percent": 0}, "1 to 100"),
        (URL, {"maximum_connections_percent": 101}, "1 to 100"),
        (URL, {"maximum_connections": 5, "maximum_connections_percent": 50}, "give one"),
        (URL, {"minimum_connections": 11}, "0 to 10"),
        (URL, {"maximum_idle_connections": 11}, "0 to 10"),
        (URL, {"connection_borrow_timeout": 301}, "0 to 300 seconds"),
        (URL, {"connection_borrow_timeout": -1}, "0 to 300 seconds"),
        (URL, {"connection_borrow_timeout": float("nan")}, "0 to 300 seconds"),
        (URL, {"connection_borrow_timeout": "120"}, "0 to 300 seconds"),
        (URL, {"idle_client_timeout": 28_801}, "28,800"),
        (URL, {"client_lifetime": 86_401}, "86,400"),
        (URL, {"query_timeout": 0}, "query_timeout"),
        (URL, {"connect_timeout": 0}, "connect_timeout"),
        (URL, {"init_query": " ; "}, "init_query"),
        (URL, {"init_query": "BEGIN; SET x = 1"}, "BEGIN"),
        (URL, {"session_pinning_filters": "EXCLUDE_VARIABLE_SETS"}, "sequence"),
        (URL, {"session_pinning_filters": ["EXCLUDE_ALL"]}, "EXCLUDE_VARIABLE_SETS"),
        (URL, {"hygiene": "never"}, "'auto' or 'always'"),
        (URL, {"tls_context": True}, "SSLContext"),
        (URL, {"maximum_clients": 0}, "maximum_clients"),
        (URL, {"role_check_interval": 0}, "role_check_interval"),
        (URL, {"secret": EnvSecret("X")}, "give one"),
        (URL, {"init_query": 1}, "a str of statements"),
        (URL, {"require_tls": "no"}, "True or False"),
        (URL, {"users": ["reports"]}, "must be a dict"),
        (URL, {"users": {"reports": "hush-hush"}}, "async def get"),
        (URL, {"clean_functions": ["slug()"]}, "without parentheses"),
        ("mysql://app@h/db", {"secret": "hush-hush"}, "async def get"),
    ],
)
def test_a_setting_out_of_range_is_refused_where_it_is_given(target, settings, told):
    with pytest.raises(InvalidParameterValue) as caught:
        DBProxy(target, **settings)
    assert told in str(caught.value)
    assert "hush-hush" not in str(caught.value)


def test_the_defaults_are_those_of_rds_proxy():
    settings = DBProxy(URL).settings
    assert settings.maximum_connections == 10
    assert settings.connection_borrow_timeout == 120
    assert settings.idle_client_timeout == 1800
    assert settings.client_lifetime == 86_400
    assert settings.idle_connection_timeout == 300
    assert settings.init_query == ()
    assert settings.tls is None


def test_durations_may_be_timedeltas():
    settings = DBProxy(
        URL, connection_borrow_timeout=dt.timedelta(minutes=2), query_timeout=dt.timedelta(seconds=3)
    ).settings
    assert (settings.connection_borrow_timeout, settings.query_timeout) == (120, 3)


def test_a_url_may_name_several_servers_and_escape_what_it_must():
    target = DBProxy("postgres://us%40er:pa%3Ass%2F@a,[::1]:6000,c:7000/my%20db").settings.target
    assert target.addresses == (Address("a", 5432), Address("::1", 6000), Address("c", 7000))
    assert (target.engine, target.username, target.password, target.database) == (
        "postgresql",
        "us@er",
        "pa:ss/",
        "my db",
    )
    assert str(target.addresses[1]) == "[::1]:6000"


def test_requiring_tls_checks_certificate_and_name():
    context = DBProxy(URL, require_tls=True).settings.tls
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_nothing_shows_the_password():
    proxy = DBProxy(URL)
    for shown in (
        repr(proxy),
        str(proxy),
        repr(proxy.settings),
        repr(proxy.settings.target),
        repr(proxy.settings.secret),
        repr(vars(proxy)),
    ):
        assert "hush-hush" not in shown


async def test_an_unreachable_target_is_an_error_at_connect(proxies):
    port = free_port()
    for engine in ("mysql", "postgresql"):
        proxy = proxies(f"{engine}://app:hush-hush@127.0.0.1:{port}/app")
        with pytest.raises(DatabaseUnavailable) as caught:
            async with proxy.connect():
                pass
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert "hush-hush" not in str(caught.value)
        with pytest.raises(DatabaseUnavailable):
            await proxies(f"{engine}://app:hush-hush@127.0.0.1:{port}/app", minimum_connections=1).open()


async def test_an_unknown_host_is_an_error_at_connect(proxies):
    for engine in ("mysql", "postgresql"):
        with pytest.raises(DatabaseUnavailable, match="no-such-host.invalid"):
            async with proxies(f"{engine}://app:x@no-such-host.invalid/app").connect():
                pass


async def test_wrong_credentials_are_an_error_at_connect(server, proxies, caplog):
    proxy = proxies(f"{server.engine}://{USER}:hush-hush@{server.address}/{DATABASE}")
    with pytest.raises(AuthenticationFailed) as caught:
        async with proxy.connect():
            pass
    assert server.address in str(caught.value)
    assert "hush-hush" not in str(caught.value) + caplog.text
    assert proxy.statistics()["ClientConnectionsSetupFailedAuth"] == 1


async def test_an_unknown_database_is_an_error_at_connect(server, proxies):
    url = server.url.rpartition("/")[0] + "/nowhere"
    with pytest.raises(DBProxyError, match="nowhere"):
        async with proxies(url).connect():
            pass


async def test_an_init_query_the_server_refuses_is_an_error_at_connect(server, proxies):
    with pytest.raises(DatabaseUnavailable, match="init_query"):
        async with proxies(server, init_query="SET nonsense_setting = 1").connect():
            pass


async def test_tls_is_not_silently_left_out(server, proxies):
    proxy = proxies(server, require_tls=True)
    with pytest.raises(DatabaseUnavailable):
        async with proxy.connect():
            pass


async def test_a_target_object_does_as_well(server, proxies):
    target = Target(server.engine, (Address("127.0.0.1", server.port),), DATABASE, USER, PASSWORD)
    async with proxies(target).connect() as client:
        assert await client.fetch_value("SELECT 1") == 1


async def test_a_closed_proxy_says_so(server, proxies):
    proxy = proxies(server)
    await proxy.close()
    with pytest.raises(DBProxyError, match="closed"):
        async with proxy.connect():
            pass


def test_without_a_driver_the_import_works_and_the_error_names_the_extra():
    program = """
import asyncio, sys
sys.modules["asyncmy"] = sys.modules["asyncpg"] = None
import forebay.dbproxy
from forebay.errors import DBProxyError

async def main():
    for engine, extra in (("mysql", "forebay[mysql]"), ("postgresql", "forebay[postgres]")):
        try:
            async with forebay.dbproxy.DBProxy(f"{engine}://a:b@localhost/x").connect():
                pass
        except DBProxyError as error:
            assert extra in str(error), error
            print("told", engine)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ.copy()
    )
    assert done.stdout.split() == ["told", "mysql", "told", "postgresql"], done.stderr
