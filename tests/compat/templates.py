"""Collections of templates: each one deploys, or is refused for a reason that is true, and none is half deployed.

They are those that packages on PyPI bring: what `sam init` begins with (aws-sam-cli), and what linters of CloudFormation are
tested with (cfn-lint, cfripper). Where only a function's code is missing, an echo stands for it.
"""

import asyncio
import collections
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "sam"))
from deploying import deployer  # noqa: E402

from forebay._sam import expansion, template  # noqa: E402
from forebay._sam.errors import TemplateRefused  # noqa: E402
from forebay._stacks import location  # noqa: E402
from forebay._stacks.artifacts import Artifacts  # noqa: E402
from forebay._stacks.package import CODE, package  # noqa: E402
from forebay._stacks.service import Asked  # noqa: E402
from forebay._stacks.table import KINDS  # noqa: E402

pytestmark = pytest.mark.timeout(3600)

ENDS = {".yaml", ".yml", ".json", ".template"}
IS_TEMPLATE = re.compile(r'^\s*"?Resources"?\s*:', re.MULTILINE)
TYPE = re.compile(r"(\S+): (\S+) is not served: ")
PROPERTY = re.compile(r"(\w+)\.(\w+)[.:]")
ECHO = "def {name}(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def sources():
    """Give the folder of a package's source, which comes from PyPI."""

    def source(name):
        kept = ROOT / "target" / "templates" / name
        if not kept.exists():
            new = kept.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name, "-d", str(new)]
            subprocess.run([*command, name], check=True)
            (archive,) = new.glob("*.tar.gz")
            with tarfile.open(archive) as packed:
                packed.extractall(new, filter="data")
            archive.unlink()
            new.rename(kept)
        (folder,) = kept.iterdir()
        return folder

    return source


def starters(folder, output):
    """Make a project of each of sam's starters; give their templates."""
    for at, values in enumerate(sorted(folder.glob("samcli/lib/init/templates/*/cookiecutter.json"))):
        yield location.write(values.parent, f"app{at}", output) / "template.yaml"


def templates(folder, _output):
    """Give every template that a linter is tested with."""
    for path in sorted((folder / "test" if (folder / "test").is_dir() else folder / "tests").rglob("*")):
        if path.suffix in ENDS and path.is_file() and IS_TEMPLATE.search(path.read_text(errors="replace")):
            yield path


COLLECTIONS = {"aws-sam-cli": starters, "cfn-lint": templates, "cfripper": templates}


def filled(body):
    """Give a value for each parameter that has none."""
    found = {}
    for name, one in (body.get("Parameters") or {}).items():
        if not isinstance(one, dict) or "Default" in one:
            continue
        allowed = one.get("AllowedValues")
        is_number = "Number" in str(one.get("Type"))
        least = str(one.get("MinValue", 1)) if is_number else "x" * max(1, int(one.get("MinLength") or 1))
        found[name] = str(allowed[0]) if isinstance(allowed, list) and allowed else least
    return found


def with_code(body, folder):
    """Put an echo where a function's code is not there: beside the template, or in a bucket of AWS."""
    resources = body.get("Resources")
    for name, one in resources.items() if isinstance(resources, dict) else ():
        properties = one.get("Properties") if isinstance(one, dict) else None
        key = CODE.get(str(one.get("Type"))) if isinstance(properties, dict) else None
        if key is None:
            continue
        is_there = isinstance(properties.get(key), dict) and "ZipFile" in properties[key]
        if is_there or properties.keys() & {"ImageUri", "InlineCode"} or properties.get("PackageType") == "Image":
            continue
        module, _, function = str(properties.get("Handler", "app.handler")).rpartition(".")
        folders = re.split(r"[./]", module)
        echo = folder / re.sub(r"\W", "-", name)
        echo.mkdir(parents=True, exist_ok=True)
        if all(one.isidentifier() for one in [*folders, function]):
            file = echo.joinpath(*folders).with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(ECHO.format(name=function))
        (echo / "bootstrap").write_text("#!/bin/sh\n")
        (echo / "bootstrap").chmod(0o755)
        properties[key] = str(echo)


def played(path, folder):
    """Deploy a template; give what became of it, and what is wrong with that."""
    store = folder / "store"
    expanded = None
    with deployer(store) as (service, target, _):
        try:
            body = template.read_file(path).body
            with_code(body, folder / "code")
            parameters = filled(body)
            packaged = package(body, path.parent, Artifacts(store))
            known = expansion.parameters_for(packaged, parameters, {})
            expanded = expansion.expand(packaged, known)
            asked = Asked(
                stack="shop",
                template=path.read_text(),
                body=expanded,
                parameters=parameters,
                capabilities=("CAPABILITY_NAMED_IAM",),
            )
            service.begin(asked)
        except TemplateRefused as error:
            assert service.store.stacks() == [], "nothing is stored of what is refused"
            untrue = [reason for reason in error.reasons if not is_true(reason, expanded)]
            by_type = all(TYPE.match(reason) for reason in error.reasons)
            return "refused for its types" if by_type else "refused for another reason", untrue, error.reasons
        status = asyncio.run(service.run("shop", target))
        stack = service.store.stack("shop")
        if status == "CREATE_COMPLETE":
            statuses = {each for each, _ in service.store.statuses("shop").values()}
            return "deployed", [] if statuses <= {"CREATE_COMPLETE"} else [f"half deployed: {statuses}"], []
        left = service.store.resources("shop")
        wrong = [] if status == "ROLLBACK_COMPLETE" and stack.reason and not left else [f"{status}, left: {list(left)}"]
        return "rolled back", wrong, [stack.reason]


def is_true(reason, expanded):
    """Whether a reason holds of a template: what is said of a type or of a property is looked up there."""
    resources = (expanded or {}).get("Resources") or {}
    if found := TYPE.match(reason):
        return resources[found[1]]["Type"] == found[2] and found[2] not in KINDS
    found = PROPERTY.match(reason)
    if found is not None and found[1] in resources:
        one = resources[found[1]]
        kind, properties = KINDS[one["Type"]], one.get("Properties") or {}
        needed = reason.endswith("it is needed")
        checked = {key.split(".")[0] for key, _ in kind.check(properties)}
        return (found[2] in properties or needed) and (
            found[2] not in kind.honoured | set(kind.inert) or found[2] in checked
        )
    return bool(reason.strip()) and "form than it should" not in reason


@pytest.mark.parametrize("name", COLLECTIONS)
def test_each_template_of_a_collection_deploys_or_is_refused_with_a_true_reason(
    name, sources, tmp_path, record_testsuite_property
):
    source = sources(name)
    counted, failed, reasons = collections.Counter(), [], []
    for at, path in enumerate(COLLECTIONS[name](source, tmp_path)):
        folder = tmp_path / f"one{at}"
        folder.mkdir()
        try:
            became, wrong, why = played(path, folder)
        except Exception as error:  # noqa: BLE001  whatever it is, a template made it
            became, wrong, why = "broke", [repr(error)], []
        counted[became] += 1
        failed += [f"{path.relative_to(source) if path.is_relative_to(source) else path}: {one}" for one in wrong]
        reasons += [f"{became}: {path.name}: {one}" for one in why if became != "refused for its types"]
        shutil.rmtree(folder)
    (ROOT / "target" / f"templates-{name}.log").write_text("\n".join(map(str, reasons)))
    assert failed == [], "\n".join(failed)
    assert counted.total() > 5
    told = ", ".join(f"{number} {became}" for became, number in sorted(counted.items()))
    record_testsuite_property(source.name, told)
