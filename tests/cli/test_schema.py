"""`forebay schema`, as a user types it: on files of events and schemas, and on registries of a store that no app runs on."""

import asyncio
import json

import pytest
from cli_commands import asked, forebay, refused

from forebay import App


def event(detail):
    return json.dumps(
        {
            "version": "0",
            "id": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "detail-type": "OrderPlaced",
            "source": "shop.orders",
            "account": "000000000000",
            "time": "2020-01-01T00:00:00Z",
            "region": "local",
            "resources": [],
            "detail": detail,
        }
    )


@pytest.fixture
def place(tmp_path):
    events = [event({"id": 1, "note": "x"}), event({"id": 2})]
    (tmp_path / "events.jsonl").write_text("\n".join(events))
    (tmp_path / "schema.json").write_text(forebay(tmp_path, "schema", "infer", "events.jsonl").stdout)
    return tmp_path


def test_a_schema_is_inferred_and_events_are_held_against_it(place):
    schema = json.loads((place / "schema.json").read_text())
    detail = schema["components"]["schemas"]["OrderPlaced"]
    assert (detail["required"], sorted(detail["properties"])) == (["id"], ["id", "note"])
    assert forebay(place, "schema", "validate", "schema.json", "events.jsonl").stdout == "2 of 2 events fit\n"
    wrong = forebay(place, "schema", "validate", "schema.json", stdin=event({"id": "one"}), status=1)
    assert wrong.stdout.startswith("line 1: $.detail.id: ")
    assert wrong.stdout.endswith("0 of 1 events fit\n")
    draft = json.loads(forebay(place, "schema", "infer", "events.jsonl", "--format", "JSONSchemaDraft4").stdout)
    assert draft["$schema"].startswith("http://json-schema.org/draft-04")


def test_two_schemas_are_compared(place):
    (place / "new.jsonl").write_text(event({"id": "one", "note": "x"}))
    (place / "new.json").write_text(forebay(place, "schema", "infer", "new.jsonl").stdout)
    assert forebay(place, "schema", "diff", "schema.json", "schema.json").stdout == "no change\n"
    changes = forebay(place, "schema", "diff", "schema.json", "new.json", status=1).stdout
    assert "$.detail.id: integer (int64) became string (breaks old readers)" in changes
    assert "$.detail.note: made required" in changes


def test_code_is_written_for_a_schema(place):
    asked(place, "schema", "bind", "schema.json", "--style", "dataclass", "--to", "code")
    [written] = [path for path in (place / "code").rglob("*.py") if "class OrderPlaced" in path.read_text()]
    text = written.read_text()
    assert "Schema shop.orders@OrderPlaced version 1" in text
    compile(text, str(written), "exec")
    assert "interface" in forebay(place, "schema", "bind", "schema.json", "--language", "typescript").stdout
    assert "There are no bindings in java dataclass" in refused(
        place, "schema", "bind", "schema.json", "--language", "java", "--style", "dataclass"
    )


def test_what_is_no_schema_is_refused_with_its_place(place):
    (place / "wrong.json").write_text('{"openapi": "2"}')
    assert "$.openapi" in refused(place, "schema", "validate", "wrong.json", "events.jsonl")
    (place / "text.json").write_text("no json")
    assert "a schema is JSON text" in refused(place, "schema", "bind", "text.json")
    text = refused(place, "schema", "bind", "typo.json")
    assert text == "Error: typo.json: No such file or directory; --registry reads a schema of a store\n"


@pytest.fixture
def store(place):
    async def make():
        async with App("shop", store=place / "data"):
            pass

    asyncio.run(make())
    return place


def test_schemas_are_kept_in_versions_searched_exported_and_bound_by_name(store):
    place = store
    put = ("schema", "put", "shop.orders@OrderPlaced", "schema.json", "--registry", "shop")
    assert forebay(place, *put).stdout == "schema shop.orders@OrderPlaced of registry shop has version 1\n"
    (place / "new.jsonl").write_text(event({"id": "one"}))
    (place / "new.json").write_text(forebay(place, "schema", "infer", "new.jsonl").stdout)
    asked(place, "schema", "put", "shop.orders@OrderPlaced", "new.json", "--registry", "shop")
    [listed] = asked(place, "schema", "list", "--registry", "shop")
    assert (listed["name"], listed["versions"]) == ("shop.orders@OrderPlaced", [1, 2])
    assert [one["registry"] for one in asked(place, "schema", "search", "ORDERPLACED", "detail")] == ["shop"]
    assert asked(place, "schema", "search", "nowhere") == []
    of_shop = ("shop.orders@OrderPlaced:1", "shop.orders@OrderPlaced", "--registry", "shop")
    assert "$.detail.id" in forebay(place, "schema", "diff", *of_shop, status=1).stdout
    bound = forebay(place, "schema", "bind", "shop.orders@OrderPlaced", "--registry", "shop").stdout
    assert "Schema shop.orders@OrderPlaced version 2" in bound
    wrong = forebay(place, "schema", "validate", of_shop[0], *of_shop[2:], stdin=event({"id": "one"}), status=1)
    assert wrong.stdout.startswith("line 1: $.detail.id: ")
    exported = forebay(place, "schema", "export", *of_shop[1:], "--version", "1", "--format", "JSONSchemaDraft4").stdout
    assert json.loads(exported)["definitions"]["OrderPlaced"]["required"] == ["id"]
    described = forebay(place, "schema", "describe", *of_shop[1:]).stdout
    assert "arn:aws:schemas:local:000000000000:schema/shop/shop.orders@OrderPlaced" in described
    asked(place, "schema", "delete", *of_shop[1:], "--version", "1", "--yes")
    assert "has a schema" in refused(place, "schema", "registry", "delete", "shop")
    asked(place, "schema", "delete", *of_shop[1:], "--yes")
    asked(place, "schema", "registry", "delete", "shop")
    names = [one["name"] for one in asked(place, "schema", "registry", "list")]
    assert names == ["aws.events", "discovered-schemas"]
    assert "--registry reads a schema of a store" in refused(place, "schema", "bind", "shop.orders@OrderPlaced")


def test_discovery_is_switched_and_what_a_command_puts_is_learned(store):
    place = store
    assert forebay(place, "schema", "discovery", "default").stdout == "discovery of bus default is off\n"
    asked(place, "schema", "discovery", "default", "--on")
    asked(place, "bus", "put", "default", '{"id": 1}', "--source", "shop", "--detail-type", "OrderPlaced")
    assert [one["name"] for one in asked(place, "schema", "list")] == ["shop@OrderPlaced"]
    assert asked(place, "schema", "discovery", "default", "--off")["discovery"] is False
