"""Templates that were damaged at random are refused in words, or planned: nothing else comes of them."""

import copy
import random

import pytest
from test_rest_apis import WRITTEN_OUT
from test_types import TEMPLATE

from forebay._sam import expansion, parameters, plan, template
from forebay._sam.errors import TemplateRefused
from forebay._sam.plan import World
from forebay._stacks.assembly import check_assembly
from forebay._stacks.package import package
from forebay._stacks.table import KINDS

JUNK = [
    None,
    "",
    "x",
    5,
    -1,
    True,
    [],
    {},
    [1],
    {"a": 1},
    {"Ref": "Nobody"},
    {"Fn::GetAtt": 5},
    {"Fn::Sub": []},
    {"Fn::If": 1},
    [[]],
    "arn:aws:sqs:::x",
]


def world():
    numbers = iter(range(1, 10_000))
    place = {"app": "a", "region": "us-east-1", "account": "000000000000", "aws": "http://127.0.0.1:4566"}
    return World(**place, suffix=lambda: f"S{next(numbers):07}", version=lambda _: next(numbers))


def places(value, path=()):
    """Yield the path of everything in a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in pairs:
        yield (*path, key)
        yield from places(one, (*path, key))


def damaged(body, chance):
    """Give a copy in which one to three places hold something else."""
    changed = copy.deepcopy(body)
    for _ in range(chance.randint(1, 3)):
        path = chance.choice(list(places(changed["Resources"])) or [()])
        at = changed["Resources"]
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = copy.deepcopy(chance.choice(JUNK))
    return changed


@pytest.fixture(scope="module", params=[TEMPLATE, WRITTEN_OUT], ids=["every type", "a REST API"])
def expanded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("src", "layer"):
        (folder / name).mkdir()
        (folder / name / "app.py").write_text("x = 1\n")
    from forebay._stacks.artifacts import Artifacts

    body = package(template.read(request.param.encode()).body, folder, Artifacts(folder / "store"))
    return expansion.expand(body, {})


@pytest.mark.timeout(300)
def test_a_damaged_template_is_refused_or_planned(expanded):
    outcomes = {"refused": 0, "planned": 0}
    for seed in range(600):
        body = damaged(expanded, random.Random(seed))
        try:
            given = {"Secret": "x" * 30} if "Secret" in (body.get("Parameters") or {}) else {}
            read = parameters.read(body.get("Parameters"), given)
            found = plan.evaluate("s", "arn:s", body, parameters=read, before={}, world=world(), types=KINDS)
            check_assembly(found.resources)
            outcomes["planned"] += 1
        except TemplateRefused:
            outcomes["refused"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    assert min(outcomes.values()) > 50, outcomes
