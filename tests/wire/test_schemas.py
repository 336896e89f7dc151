"""EventBridge Schemas by boto3: registries, versions, discovery."""

import json

import pytest


@pytest.fixture
def schemas(wire):
    return wire.client("schemas")


def content(*names):
    properties = {name: {"type": "string"} for name in names}
    schema = {"type": "object", "properties": properties}
    document = {"openapi": "3.0.0", "info": {"title": "T", "version": "1"}, "paths": {}}
    return json.dumps({**document, "components": {"schemas": {"Placed": schema}}})


def test_a_schema_has_versions_in_its_registry(schemas):
    schemas.create_registry(RegistryName="shop", Description="orders")
    with pytest.raises(schemas.exceptions.ConflictException):
        schemas.create_registry(RegistryName="shop")
    assert schemas.describe_registry(RegistryName="shop")["Description"] == "orders"
    names = [one["RegistryName"] for one in schemas.list_registries(Scope="LOCAL")["Registries"]]
    assert names == ["discovered-schemas", "shop"]
    which = {"RegistryName": "shop", "SchemaName": "orders@Placed"}
    made = schemas.create_schema(**which, Type="OpenApi3", Content=content("id"))
    assert (made["SchemaVersion"], made["SchemaName"]) == ("1", "orders@Placed")
    assert schemas.update_schema(**which, Content=content("id", "note"))["SchemaVersion"] == "2"
    assert json.loads(schemas.describe_schema(**which, SchemaVersion="1")["Content"]) == json.loads(content("id"))
    versions = schemas.get_paginator("list_schema_versions").paginate(**which, PaginationConfig={"PageSize": 1})
    assert [one["SchemaVersion"] for page in versions for one in page["SchemaVersions"]] == ["1", "2"]
    found = schemas.search_schemas(RegistryName="shop", Keywords="note")["Schemas"]
    assert [one["SchemaName"] for one in found] == ["orders@Placed"]
    (listed,) = schemas.list_schemas(RegistryName="shop")["Schemas"]
    assert listed["VersionCount"] == 2
    schemas.delete_schema_version(**which, SchemaVersion="1")
    schemas.delete_schema(**which)
    schemas.delete_registry(RegistryName="shop")
    with pytest.raises(schemas.exceptions.NotFoundException):
        schemas.describe_registry(RegistryName="shop")


def test_schemas_are_learned_of_samples_and_of_a_bus(schemas, wire):
    event = {"source": "shop", "detail-type": "Placed", "detail": {"id": 1, "note": "x"}}
    learned = schemas.get_discovered_schema(Type="OpenApi3", Events=[json.dumps(event)])["Content"]
    document = json.loads(learned)
    assert document["components"]["schemas"]["Placed"]["properties"]["id"] == {"type": "integer", "format": "int64"}
    events = wire.client("events")
    arn = events.create_event_bus(Name="orders")["EventBusArn"]
    made = schemas.create_discoverer(SourceArn=arn)
    assert (made["State"], made["SourceArn"]) == ("STARTED", arn)
    with pytest.raises(schemas.exceptions.ConflictException):
        schemas.create_discoverer(SourceArn=arn)
    assert [one["DiscovererId"] for one in schemas.list_discoverers()["Discoverers"]] == [made["DiscovererId"]]
    assert schemas.stop_discoverer(DiscovererId=made["DiscovererId"])["State"] == "STOPPED"
    assert schemas.describe_discoverer(DiscovererId=made["DiscovererId"])["State"] == "STOPPED"
    assert schemas.start_discoverer(DiscovererId=made["DiscovererId"])["State"] == "STARTED"
    assert schemas.update_discoverer(DiscovererId=made["DiscovererId"], CrossAccount=False)["State"] == "STARTED"
    with pytest.raises(schemas.exceptions.BadRequestException, match="leave Description and CrossAccount out"):
        schemas.update_discoverer(DiscovererId=made["DiscovererId"], Description="d")
    schemas.delete_discoverer(DiscovererId=made["DiscovererId"])
    with pytest.raises(schemas.exceptions.NotFoundException):
        schemas.describe_discoverer(DiscovererId="events-event-bus-none")
