"""`forebay build`: what it copies and installs, and what it leaves alone."""

import os
import subprocess
import sys

import pytest

from forebay._sam import expansion, template
from forebay._sam.errors import TemplateRefused
from forebay._stacks import build as stack_build

FUNCTION = {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "src", "Runtime": "python3.11"}}
BODY = {"Resources": {"F": FUNCTION}}


def built(folder):
    stack_build.build(BODY, folder, lambda _: None)
    root = folder / ".aws-sam" / "build" / "F"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_links_that_lead_in_a_circle_are_followed_once(tmp_path):
    """Two links to their own directory made 2 to the power of 40 copies."""
    for name in ("src/a", "src/b", "shared"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / f"{name[-1]}.py").write_text("x = 1\n")
    links = {
        "one": ".",
        "two": "..",
        "a/b": "../b",
        "b/a": "../a",
        "a/self": "../../src",
        "lib": "../shared",
        "gone": "nowhere",
    }
    for name, target in links.items():
        (tmp_path / "src" / name).symlink_to(target)
    assert built(tmp_path) == {"a/a.py", "b/b.py", "a/b/b.py", "b/a/a.py", "lib/d.py"}


def test_what_cannot_be_copied_is_named(tmp_path):
    (tmp_path / "src").mkdir()
    os.mkfifo(tmp_path / "src" / "pipe")
    with pytest.raises(TemplateRefused, match=r"F: .*src cannot be copied: .*pipe"):
        built(tmp_path)


def test_a_link_in_place_of_the_built_directory_is_not_followed(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("x = 1\n")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    (tmp_path / ".aws-sam").mkdir()
    (tmp_path / ".aws-sam" / "build").symlink_to(tmp_path / "precious")
    assert built(tmp_path) == {"app.py"}
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("manifest", "installs"),
    [
        ("requests==2.0\n", 1),
        ("requests==2.0 \\\n    --hash=sha256:00\n--pre\n", 1),
        ("a @ https://files.example.com/a-1.whl\ngit+https://code.example.com/b.git\n", 1),
        ("-r common.txt\n", 2),
        ("-rcommon.txt\n", 2),
        ("--requirement common.txt\n", 2),
        ("requests\n-c limits.txt\n", 2),
        ("./lib\n", 2),
        ("lib/mine\n", 2),
        ("mine @ file:///lib/mine\n", 2),
        ("mine-1.whl\n", 2),
    ],
)
def test_requirements_that_name_files_are_installed_each_time(tmp_path, monkeypatch, manifest, installs):
    """What such a file says may have changed, and the old code was deployed."""
    count = tmp_path / "count"
    pip = tmp_path / "pip"
    pip.write_text(f"#!/bin/sh\necho >> {count}\n")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "requirements.txt").write_text(manifest)
    for _ in range(2):
        built(tmp_path)
    assert len(count.read_text().splitlines()) == installs


def test_a_layer_is_built_where_it_says_how(tmp_path, monkeypatch):
    """Its requirements were left out, and its modules stood where no function looks."""
    for name in ("src", "layer", "made"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text("x = 1\n")
    (tmp_path / "layer" / "requirements.txt").write_text("anything\n")
    monkeypatch.setattr(stack_build.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    layer = {"Type": "AWS::Serverless::LayerVersion"}
    body = {
        "Resources": {
            "F": FUNCTION,
            "L": {**layer, "Properties": {"ContentUri": "layer"}, "Metadata": {"BuildMethod": "python3.11"}},
            "M": {**layer, "Properties": {"ContentUri": "made"}},
            "S": {**FUNCTION, "Metadata": {"SkipBuild": True, "BuildMethod": "makefile"}},
        }
    }
    said = []
    path = stack_build.build(body, tmp_path, said.append)
    assert (path.parent / "L" / "python" / "layer.py").exists()
    assert said.count(" Running PythonPipBuilder:ResolveDependencies") == 1
    resources = template.read_file(path).body["Resources"]
    code = {
        name: one["Properties"].get("CodeUri") or one["Properties"]["ContentUri"] for name, one in resources.items()
    }
    assert code == {"F": "F", "L": "L", "M": "../../made", "S": "../../src"}


def test_what_is_built_by_other_means_is_refused(tmp_path):
    (tmp_path / "src").mkdir()
    body = {"Resources": {"F": {**FUNCTION, "Metadata": {"BuildMethod": "makefile"}}}}
    with pytest.raises(
        TemplateRefused, match=r"F: Metadata\.BuildMethod: makefile is not run here: build with `sam build`"
    ):
        stack_build.build(body, tmp_path, lambda _: None)


def test_a_python_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("FOREBAY_SAM_PYTHON", "/nowhere/python")
    body = {"Transform": "AWS::Serverless-2016-10-31", **BODY}
    text = "/nowhere/python: No such file or directory: set FOREBAY_SAM_PYTHON"
    with pytest.raises(TemplateRefused, match=text):
        expansion.expand(body, {})
