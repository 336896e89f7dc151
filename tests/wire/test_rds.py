"""The database proxies of an app by boto3's `rds`."""

import asyncio

import pytest
from botocore.exceptions import ClientError
from ports import free_port
from wire_app import served

from forebay import DBProxy

NONE = "postgresql://app:secret@127.0.0.1:1/shop_db"
ARN = "arn:aws:rds:eu-central-1:123456789012"


@pytest.fixture
def wire(make_app):
    """Serve an app with two proxies of one database, and one of another engine. None of their servers is there."""
    app = make_app()
    app.proxies = [
        DBProxy(NONE, maximum_connections=3, connection_borrow_timeout=7),
        DBProxy("postgresql://app:secret@127.0.0.1:2,127.0.0.1:3/shop_db"),
        DBProxy(
            f"mysql://app:secret@127.0.0.1:{free_port()}/9lives",
            maximum_connections_percent=50,
            maximum_idle_connections_percent=20,
            session_pinning_filters=("EXCLUDE_VARIABLE_SETS",),
            init_query="SET a = 1; SET b = 2",
        ),
    ]
    for proxy in app.proxies:
        app.attach(proxy)
    with served(app) as running:
        yield running


@pytest.fixture
def rds(wire):
    return wire.client("rds")


def refused(ask, **given):
    """Give the code, the status and the text of a refusal."""
    with pytest.raises(ClientError) as raised:
        ask(**given)
    response = raised.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def test_proxies_are_read_with_their_groups_and_targets(rds):
    listed = rds.describe_db_proxies()["DBProxies"]
    assert [one["DBProxyName"] for one in listed] == ["db-9lives", "shop-db", "shop-db-2"]
    (shop,) = rds.describe_db_proxies(DBProxyName="shop-db")["DBProxies"]
    assert (shop["EngineFamily"], shop["Status"], shop["RequireTLS"]) == ("POSTGRESQL", "available", False)
    assert (shop["DBProxyArn"], shop["IdleClientTimeout"]) == (f"{ARN}:db-proxy:shop-db", 1800)
    assert shop["Auth"] == [{"UserName": "app", "AuthScheme": "SECRETS", "IAMAuth": "DISABLED"}]
    assert "Endpoint" not in shop, "a proxy is used in the app's own processes"
    (group,) = rds.describe_db_proxy_target_groups(DBProxyName="shop-db")["TargetGroups"]
    assert (group["TargetGroupName"], group["IsDefault"]) == ("default", True)
    assert group["ConnectionPoolConfig"] == {"ConnectionBorrowTimeout": 7, "SessionPinningFilters": []}
    (group,) = rds.describe_db_proxy_target_groups(DBProxyName="db-9lives", TargetGroupName="default")["TargetGroups"]
    assert group["ConnectionPoolConfig"] == {
        "MaxConnectionsPercent": 50,
        "MaxIdleConnectionsPercent": 20,
        "ConnectionBorrowTimeout": 120,
        "SessionPinningFilters": ["EXCLUDE_VARIABLE_SETS"],
        "InitQuery": "SET a = 1; SET b = 2",
    }
    targets = rds.describe_db_proxy_targets(DBProxyName="shop-db-2")["Targets"]
    assert [(one["Endpoint"], one["Port"], one["Role"]) for one in targets] == [
        ("127.0.0.1", 2, "UNKNOWN"),
        ("127.0.0.1", 3, "UNKNOWN"),
    ]
    assert {one["TargetHealth"]["State"] for one in targets} <= {"REGISTERING", "UNAVAILABLE"}
    assert rds.describe_db_proxy_endpoints(DBProxyName="shop-db")["DBProxyEndpoints"] == []
    assert rds.list_tags_for_resource(ResourceName=shop["DBProxyArn"])["TagList"] == []
    pages = rds.get_paginator("describe_db_proxies").paginate(PaginationConfig={"PageSize": 20})
    assert len([one for page in pages for one in page["DBProxies"]]) == 3


def test_a_target_that_cannot_be_reached_is_unavailable(wire, rds):
    async def ask():
        async with wire.app.proxies[0].connect() as client:
            await client.fetch_value("SELECT 1")

    with pytest.raises(Exception, match=r"127\.0\.0\.1:1"):
        asyncio.run_coroutine_threadsafe(ask(), wire.loop).result(100)
    (target,) = rds.describe_db_proxy_targets(DBProxyName="shop-db")["Targets"]
    assert (target["Role"], target["TargetHealth"]["State"]) == ("READ_WRITE", "UNAVAILABLE")
    assert target["TargetHealth"]["Reason"] == "CONNECTION_FAILED"
    assert "127.0.0.1:1" in target["TargetHealth"]["Description"]


def test_limits_change_while_the_proxy_runs(wire, rds):
    changed = rds.modify_db_proxy(DBProxyName="shop-db", IdleClientTimeout=60, RequireTLS=False)["DBProxy"]
    assert changed["IdleClientTimeout"] == 60
    assert changed["UpdatedDate"] > changed["CreatedDate"]
    assert wire.app.proxies[0].settings.idle_client_timeout == 60
    asked = {"ConnectionBorrowTimeout": 3, "SessionPinningFilters": []}
    changed = rds.modify_db_proxy_target_group(
        DBProxyName="shop-db", TargetGroupName="default", ConnectionPoolConfig=asked
    )["DBProxyTargetGroup"]
    assert changed["ConnectionPoolConfig"] == asked
    assert wire.app.proxies[0].settings.connection_borrow_timeout == 3
    assert wire.app.proxies[1].settings.connection_borrow_timeout == 120
    code, status, text = refused(rds.modify_db_proxy, DBProxyName="shop-db", IdleClientTimeout=28_801)
    assert (code, status) == ("InvalidParameterValue", 400)
    assert "0.001 to 28,800 seconds" in text
    group = {"DBProxyName": "shop-db", "TargetGroupName": "default"}
    code, _, text = refused(
        rds.modify_db_proxy_target_group, **group, ConnectionPoolConfig={"ConnectionBorrowTimeout": 301}
    )
    assert (code, "0 to 300 seconds" in text) == ("InvalidParameterValue", True)


@pytest.mark.parametrize(
    "given",
    [
        {"NewDBProxyName": "other"},
        {"RequireTLS": True},
        {"DebugLogging": True},
        {"RoleArn": "arn:aws:iam::123456789012:role/any"},
        {"SecurityGroups": ["sg-1"]},
        {"Auth": [{"AuthScheme": "SECRETS", "SecretArn": "arn:aws:secretsmanager:eu-central-1:1:secret:s"}]},
        {"RequireTLS": True, "IdleClientTimeout": 60},
    ],
)
def test_what_the_code_alone_can_change_is_refused_and_nothing_changes(wire, rds, given):
    code, status, text = refused(rds.modify_db_proxy, DBProxyName="shop-db", **given)
    assert (code, status) == ("InvalidDBProxyStateFault", 400)
    assert text.startswith(f"{next(iter(given))} cannot change")
    assert wire.app.proxies[0].settings.idle_client_timeout == 1800


@pytest.mark.parametrize(
    "config",
    [
        {"MaxConnectionsPercent": 60},
        {"MaxIdleConnectionsPercent": 30},
        {"SessionPinningFilters": []},
        {"InitQuery": "SET a = 2"},
        {"MaxConnectionsPercent": 60, "ConnectionBorrowTimeout": 1},
    ],
)
def test_what_the_code_alone_can_change_of_a_pool_is_refused(wire, rds, config):
    group = {"DBProxyName": "db-9lives", "TargetGroupName": "default"}
    same = {"MaxConnectionsPercent": 50, "InitQuery": "SET a = 1; SET b = 2"}
    assert rds.modify_db_proxy_target_group(**group, ConnectionPoolConfig=same)
    code, status, text = refused(rds.modify_db_proxy_target_group, **group, ConnectionPoolConfig=config)
    assert (code, status) == ("InvalidDBProxyStateFault", 400)
    assert text.startswith(f"{next(iter(config))} cannot change")
    assert wire.app.proxies[2].settings.connection_borrow_timeout == 120


def test_no_client_makes_or_deletes_a_proxy(rds):
    made = {
        "EngineFamily": "MYSQL",
        "RoleArn": "arn:aws:iam::123456789012:role/any",
        "VpcSubnetIds": ["subnet-1"],
    }
    code, status, text = refused(rds.create_db_proxy, DBProxyName="another", **made)
    assert (code, status, "attach a forebay.DBProxy" in text) == ("NotImplemented", 501, True)
    assert refused(rds.create_db_proxy, DBProxyName="shop-db", **made)[:2] == ("DBProxyAlreadyExistsFault", 400)
    assert refused(rds.delete_db_proxy, DBProxyName="shop-db")[:2] == ("InvalidDBProxyStateFault", 400)
    for ask in (rds.register_db_proxy_targets, rds.deregister_db_proxy_targets):
        asked = {"DBProxyName": "shop-db", "DBInstanceIdentifiers": ["one"]}
        assert refused(ask, **asked)[:2] == ("InvalidDBProxyStateFault", 400)
        code, status, _ = refused(ask, **asked, TargetGroupName="other")
        assert (code, status) == ("DBProxyTargetGroupNotFoundFault", 404)
    endpoint = {"DBProxyEndpointName": "reader"}
    code, status, _ = refused(
        rds.create_db_proxy_endpoint, DBProxyName="shop-db", VpcSubnetIds=["subnet-1"], **endpoint
    )
    assert (code, status) == ("NotImplemented", 501)
    for ask in (rds.modify_db_proxy_endpoint, rds.delete_db_proxy_endpoint, rds.describe_db_proxy_endpoints):
        assert refused(ask, **endpoint)[:2] == ("DBProxyEndpointNotFoundFault", 404)


def test_a_name_that_no_proxy_has_is_not_found(rds):
    for ask, given in (
        (rds.describe_db_proxies, {}),
        (rds.modify_db_proxy, {"IdleClientTimeout": 60}),
        (rds.delete_db_proxy, {}),
        (rds.describe_db_proxy_targets, {}),
        (rds.describe_db_proxy_target_groups, {}),
        (rds.describe_db_proxy_endpoints, {}),
        (rds.register_db_proxy_targets, {}),
    ):
        code, status, text = refused(ask, DBProxyName="none", **given)
        assert (code, status, text) == ("DBProxyNotFoundFault", 404, "DBProxy none not found.")
    foreign = "arn:aws:rds:eu-central-1:999999999999:db-proxy:shop-db"
    assert refused(rds.list_tags_for_resource, ResourceName=foreign)[0] == "DBProxyNotFoundFault"
    assert refused(rds.describe_db_proxies, Marker="of-nobody")[0] == "InvalidParameterValue"


def test_an_app_without_proxies_has_none(make_app):
    with served(make_app()) as running:
        rds = running.client("rds")
        assert rds.describe_db_proxies()["DBProxies"] == []
        assert refused(rds.describe_db_proxies, DBProxyName="none")[0] == "DBProxyNotFoundFault"
