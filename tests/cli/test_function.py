"""`forebay function` and `forebay invoke`, with versions and aliases."""

import json

import pytest
from cli_commands import asked, forebay
from test_cli import Service

APP = """
import forebay

app = forebay.App("shop", store="data")


@app.function()
async def price(event, context):
    return [context.function_version, context.invoked_function_arn]


async def old_price(event, context):
    if event == "fail":
        raise ValueError("the old one")
    return [context.function_version, context.invoked_function_arn]


old = price.publish_version(old_price)
new = price.publish_version()
live = app.alias("live", price, old)
"""

ARN = "arn:aws:lambda:local:000000000000:function:price"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


@pytest.fixture
def service(place):
    with Service(place) as running:
        yield running


def test_versions_and_aliases_are_described_invoked_and_pointed_elsewhere_while_the_app_runs(place, service):
    shown = asked(place, "function", "describe", "price")
    assert [version["version"] for version in shown["versions"]] == ["1", "2"]
    assert [alias["version"] for alias in shown["aliases"]] == ["1"]
    assert asked(place, "function", "describe", "price", "--qualifier", "2")["name"] == "price:2"
    text = forebay(place, "function", "describe", "price").stdout
    assert "price:1" in text and "price:live" in text

    answered = forebay(place, "invoke", "price", "--qualifier", "live", "--output", "json")
    assert (json.loads(answered.stdout), answered.stderr) == (["1", f"{ARN}:live"], "version 1\n")
    failed = forebay(place, "invoke", "price", '"fail"', "--qualifier", "1", status=1)
    assert "the old one" in failed.stdout and failed.stderr == "version 1\n"
    assert forebay(place, "invoke", "price").stderr == ""

    moved = asked(place, "function", "alias", "price", "live", "--version", "2", "--weight", "1=0")
    assert (moved["version"], moved["weights"]) == ("2", {"1": 0.0})
    assert asked(place, "invoke", "price", "--qualifier", "live") == ["2", f"{ARN}:live"]
    assert "2" in forebay(place, "function", "alias", "price", "live", "--whole").stdout
    changed = asked(place, "function", "update", "price", "provisioned_concurrency=3", "--qualifier", "1")
    assert (changed["name"], changed["provisioned_ready"]) == ("price:1", 3)
    assert (
        "price:1"
        in forebay(place, "function", "update", "price", "provisioned_concurrency=0", "--qualifier", "1").stdout
    )


REFUSED = [
    (["invoke", "price", "--qualifier", "9"], f"Function not found: {ARN}:9"),
    (["invoke", "price", "--qualifier", "a b"], "qualifier='a b'"),
    (["function", "describe", "price", "--qualifier", "nobody"], f"Cannot find alias arn: {ARN}:nobody"),
    (["function", "describe", "nobody"], 'no function "nobody"'),
    (["function", "alias", "price", "nobody", "--version", "1"], f"Cannot find alias arn: {ARN}:nobody"),
    (["function", "alias", "price", "live", "--version", "9"], f"Function not found: {ARN}:9"),
    (["function", "alias", "price", "live", "--weight", "1=0.5"], "is already included in routing configuration"),
    (["function", "alias", "price", "live", "--weight", "two"], "give VERSION=SHARE"),
    (["function", "alias", "price", "live", "--weight", "2=1", "--whole"], "not both"),
    (["function", "update", "price", "rate_limit=1", "--qualifier", "1"], "rate_limit: it is the function's"),
]


def test_what_cannot_be_is_refused(place, service):
    for arguments, text in REFUSED:
        assert text in forebay(place, *arguments, status=1).stderr
