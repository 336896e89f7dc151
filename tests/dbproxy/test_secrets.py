"""Credentials come from a secret, follow its rotation, and never show."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import types

import pytest
from db_servers import ADMIN_PASSWORD, DATABASE, PASSWORD, USER, until

from forebay.dbproxy import Credentials, DBProxy, EnvSecret, FileSecret, SecretsManagerSecret
from forebay.errors import AuthenticationFailed, DatabaseError, DBProxyError, ForebayError, InvalidParameterValue

ROTATED = "rotated-Pa55word"
VALUE = "value-77aa"


def address(server):
    return f"{server.engine}://{server.address}/{DATABASE}"


def set_password(server, password, user=USER):
    if server.engine == "mysql":
        server.sql(f"SET PASSWORD FOR {user}@'%' = PASSWORD('{password}')")
    else:
        server.sql(f"ALTER ROLE {user} PASSWORD '{password}'")


@pytest.fixture
def restored(server):
    yield
    set_password(server, PASSWORD)


def write(path, password, username=USER):
    path.write_text(json.dumps({"username": username, "password": password, "host": "ignored", "port": 1}))


async def test_a_file_secret_is_read_again_after_a_rotation(server, proxies, tmp_path, restored):
    path = tmp_path / "secret.json"
    write(path, PASSWORD)
    proxy = proxies(address(server), secret=FileSecret(path), maximum_connections=2, connection_borrow_timeout=5)
    nap = "SELECT SLEEP(0.2)" if server.engine == "mysql" else "SELECT pg_sleep(0.2)"
    async with proxy.connect() as one, proxy.connect() as two:
        assert await one.fetch_value("SELECT 1") == 1
        set_password(server, ROTATED)
        assert await one.fetch_value("SELECT 2") == 2, "live sessions go on"
        write(path, ROTATED)
        await asyncio.gather(one.fetch_value(nap), two.fetch_value(nap))
        assert proxy.statistics()["DatabaseConnections"] == 2


async def test_a_secret_that_caches_is_asked_anew_after_a_refusal(server, proxies, restored):
    class Cached:
        forgotten = 0
        answer = {"username": USER, "password": PASSWORD}

        async def get(self):
            return self.answer

        def forget(self):
            self.forgotten += 1
            self.answer = {"username": USER, "password": ROTATED}

    secret = Cached()
    set_password(server, ROTATED)
    async with proxies(address(server), secret=secret).connect() as client:
        assert await client.fetch_value("SELECT 1") == 1
    assert secret.forgotten == 1


async def test_a_refused_secret_fails_those_who_wait_but_not_those_who_are_served(server, proxies, tmp_path, restored):
    path = tmp_path / "secret.json"
    write(path, PASSWORD)
    proxy = proxies(address(server), secret=FileSecret(path), maximum_connections=2)
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute("BEGIN")
        set_password(server, ROTATED)
        waiting = asyncio.create_task(two.fetch_value("SELECT 2"))
        await until(lambda: proxy.statistics()["DatabaseConnectionsSetupFailed"] > 0)
        assert not waiting.done()
        await one.execute("ROLLBACK")
        assert await waiting == 2
    fresh = proxies(address(server), secret=FileSecret(path))
    with pytest.raises(AuthenticationFailed):
        async with fresh.connect():
            pass


async def test_the_environment_may_hold_the_secret(server, proxies, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)
    monkeypatch.setenv("DB_USER", USER)
    monkeypatch.setenv("DB_SECRET", json.dumps({"username": USER, "password": PASSWORD}))
    named = f"{server.engine}://{USER}@{server.address}/{DATABASE}"
    for target, secret in (
        (address(server), EnvSecret("DB_PASSWORD", username="DB_USER")),
        (named, EnvSecret("DB_PASSWORD")),
        (address(server), EnvSecret("DB_SECRET")),
    ):
        async with proxies(target, secret=secret).connect() as client:
            assert await client.fetch_value("SELECT 1") == 1
    with pytest.raises(DBProxyError, match="NOT_SET"):
        async with proxies(named, secret=EnvSecret("NOT_SET")).connect():
            pass


@pytest.mark.parametrize(
    "content", ["", "not json", "[]", "{}", '{"username": "a"}', '{"username": "a", "password": 5}', "x" * 70_000]
)
async def test_a_file_that_is_no_secret_is_refused_without_showing_it(content, tmp_path):
    path = tmp_path / "secret.json"
    path.write_text(content)
    with pytest.raises(DBProxyError, match="secret.json") as caught:
        await FileSecret(path).get()
    assert "not json" not in str(caught.value).replace("is not JSON", "")


async def test_a_missing_file_is_told_by_name(tmp_path):
    with pytest.raises(DBProxyError, match="absent.json.*No such file"):
        await FileSecret(tmp_path / "absent.json").get()


async def test_a_provider_that_fails_is_told_by_its_kind_only(proxies):
    class Broken:
        async def get(self):
            raise RuntimeError("password is hush-hush")

    with pytest.raises(DBProxyError, match="Broken could not be read: RuntimeError") as caught:
        async with proxies("mysql://a@127.0.0.1:1/x", secret=Broken()).connect():
            pass
    assert "hush" not in str(caught.value)


async def test_secrets_manager_is_asked_once_per_age_and_after_a_refusal():
    calls = []

    def get_secret_value(SecretId):  # noqa: N803 - the service's own name
        calls.append(SecretId)
        return {"SecretString": json.dumps({"username": "u", "password": f"p{len(calls)}", "engine": "mysql"})}

    secret = SecretsManagerSecret("prod/db", types.SimpleNamespace(get_secret_value=get_secret_value), max_age=60)
    assert await secret.get() == await secret.get() == {"username": "u", "password": "p1"}
    secret.forget()
    assert await secret.get() == {"username": "u", "password": "p2"}
    assert calls == ["prod/db", "prod/db"]
    with pytest.raises(InvalidParameterValue, match="max_age"):
        SecretsManagerSecret("x", max_age=-1)


async def test_secrets_manager_through_boto3s_own_client():
    boto3 = pytest.importorskip("boto3")
    from botocore.stub import Stubber

    client = boto3.client("secretsmanager", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        stub.add_response(
            "get_secret_value", {"SecretString": '{"username": "u", "password": "p"}'}, {"SecretId": "prod/db"}
        )
        stub.add_client_error("get_secret_value", "ResourceNotFoundException", "hush-hush")
        secret = SecretsManagerSecret("prod/db", client, max_age=0)
        assert (await secret.get())["password"] == "p"
        with pytest.raises(DBProxyError, match="refused secret prod/db") as caught:
            await secret.get()
        assert "hush" not in str(caught.value)
    client.close()


def test_no_secret_shows_its_content():
    for shown in (Credentials("u", "hush-hush"), EnvSecret("X"), FileSecret("/x"), SecretsManagerSecret("y")):
        assert "hush-hush" not in repr(shown)


async def test_no_password_and_no_value_is_in_a_log_metric_or_error_but_the_servers_own(server, proxies, caplog):
    """Walk many ways of failing with everything logged, then look for the password, and for values in statements."""
    caplog.set_level(logging.DEBUG)
    out = io.StringIO()
    proxy = proxies(server, maximum_connections=1, connection_borrow_timeout=0.05)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("BEGIN")
        for work in (
            other.fetch_value("SELECT 1"),
            client.execute("SELECT nonsense FROM nowhere"),
            client.execute("%s", (1, 2)),
        ):
            try:
                await work
            except ForebayError as error:
                out.write(f"{error!r} {error.__cause__!r}")
        await client.execute("ROLLBACK")
        await client.execute("DROP TABLE IF EXISTS known")
        await client.execute("CREATE TABLE known (name VARCHAR(20) PRIMARY KEY)")
        known = f"INSERT INTO known VALUES ('{VALUE}')"
        await client.execute(known)
        with pytest.raises(DatabaseError, match=VALUE):  # the server quotes it, to whoever gave it
            await client.execute(known)
        mark = "%s" if server.engine == "mysql" else "$1"
        await client.fetch_value(f"SELECT {mark}", (VALUE,))
        pins = f"SET @secret = '{VALUE}'" if server.engine == "mysql" else f"PREPARE secret AS SELECT '{VALUE}'"
        await client.execute(pins)
        assert proxy.pinned(), "it is pinned, and its statement is told of"
        nap = "SELECT SLEEP(9)" if server.engine == "mysql" else "SELECT pg_sleep(9)"
        with pytest.raises(ForebayError):
            await client.fetch_value(nap, timeout=0.02)
    out.write(
        repr(list(proxy.measurements())) + repr(proxy.statistics()) + repr(proxy.pinned()) + repr(proxy) + caplog.text
    )
    assert VALUE not in out.getvalue()
    assert PASSWORD not in out.getvalue()
    assert ADMIN_PASSWORD not in out.getvalue()
    assert isinstance(proxy, DBProxy)
