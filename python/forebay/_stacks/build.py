"""`forebay build`: code with its requirements, as `.aws-sam/build` has it, so that `sam` reads it, too."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import expansion
from forebay._sam.errors import TemplateRefused
from forebay._stacks import package
from forebay._stacks.artifacts import is_left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BUILD: Final = Path(".aws-sam") / "build"
CACHE: Final = Path(".aws-sam") / "forebay-cache"
TEMPLATE: Final = "template.yaml"
MANIFEST: Final = "requirements.txt"
_OF_LAYER: Final = "python"
"""The folder of a layer that is on PYTHONPATH."""
PIP_SECONDS: Final = 900.0
_OF_FILES: Final = re.compile(
    r"\s*(?:-[rcef]|--(?:requirement|constraint|editable|find-links)\b|[./~]|file:|[^#;]*@\s*file:|[^#;@:\s]*[/\\]|[^#;@:\s]+\.whl)"
)
"""A line of requirements that names a file or a directory."""
_FUNCTIONS: Final = (package.SERVERLESS_FUNCTION, "AWS::Lambda::Function")
_PYTHON: Final = re.compile(r"python3\.\d+")


def build(body: Mapping[str, Any], folder: Path, say: Callable[[str], None]) -> Path:
    """Build every function of a template; give the built template's path.

    Args:
        body: the template.
        folder: where it stands.
        say: told of each step.

    Raises:
        TemplateRefused: a function's code or requirements cannot be had.

    """
    import yaml  # noqa: PLC0415  an optional dependency, which reading the template has asked for

    expansion.check_resources(dict(body))
    into = folder / BUILD
    try:
        if into.is_symlink():
            into.unlink()  # what it leads to is not ours
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TemplateRefused([f"{into}: {error.strerror}"]) from None
    built: dict[str, Any] = _without_aliases(dict(body))
    shared = package.code_of_globals(built)
    runtime = package.globals_of_functions(built).get("Runtime")
    for name, resource in built["Resources"].items():
        properties = resource.setdefault("Properties", {})
        if not isinstance(properties, dict):
            continue
        type_ = resource["Type"]
        if type_ == package.SERVERLESS_FUNCTION and package.has_no_code(properties):
            properties["CodeUri"] = shared or "."
        method = _method(name, resource, properties.get("Runtime", runtime)) if type_ in package.CODE else None
        if method is not None:
            _build(name, resource, method, folders=(folder, into), say=say)
        _move_paths(type_, properties, folder, into, moves_code=method is None)
    path = into / TEMPLATE
    path.write_text(yaml.safe_dump(_without_aliases(built), sort_keys=False))
    return path


def _method(name: str, resource: Mapping[str, Any], runtime: Any) -> str | None:
    """Give by what a function or a layer is built; None: it is taken as it is."""
    metadata = resource.get("Metadata")
    asked = metadata if isinstance(metadata, dict) else {}
    if str(asked.get("SkipBuild")).lower() == "true":
        return None
    method = asked.get("BuildMethod")
    if method is None:
        return str(runtime) if resource["Type"] in _FUNCTIONS else None
    if not _PYTHON.fullmatch(str(method)):
        text = f"{name}: Metadata.BuildMethod: {method} is not run here: build with `sam build`, and deploy what it has built"
        raise TemplateRefused([text])
    return str(method)


def _build(
    name: str, resource: Mapping[str, Any], method: str, *, folders: tuple[Path, Path], say: Callable[[str], None]
) -> None:
    folder, into = folders
    type_, properties = resource["Type"], resource["Properties"]
    key = package.CODE[type_]
    if not package.is_local(properties.get(key)):
        return
    source = folder / properties[key]
    if not source.is_dir():
        if not source.exists():
            raise TemplateRefused([f"{name}: {source}: there is no such directory"])
        properties[key] = os.path.relpath(source, into)  # a zip file is built already
        return
    is_function = type_ in _FUNCTIONS
    say(f"Building codeuri: {source.resolve()} runtime: {method} {'functions' if is_function else 'layers'}: {name}")
    target = into / name if is_function else into / name / _OF_LAYER
    if _PYTHON.fullmatch(method):
        _install(name, source / MANIFEST, target, folder, say)
    say(" Running PythonPipBuilder:CopySource" if (source / MANIFEST).exists() else " Running CopySource")
    try:
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=_left_out(source))
    except OSError as error:
        raise TemplateRefused([f"{name}: {source} cannot be copied: {error}"]) from None
    properties[key] = name


def _left_out(source: Path) -> Callable[[str, list[str]], list[str]]:
    """Give what says which names of a directory are not part of code: nor is a link to nothing, or to where it stands in."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        here = Path(folder)
        around = {path.resolve() for path in (here, *here.parents) if path.is_relative_to(source)}
        paths = [here / name for name in names]
        return [
            path.name for path in paths if is_left_out(path) or (path.is_symlink() and _leads_nowhere(path, around))
        ]

    return left_out


def _leads_nowhere(link: Path, around: set[Path]) -> bool:
    return not link.exists() or any(one.is_relative_to(link.resolve()) for one in around)


def _install(name: str, manifest: Path, target: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Install what a function requires; the same requirements are installed once."""
    wanted = manifest.read_text() if manifest.exists() else ""
    if not [line for line in wanted.splitlines() if line.strip() and not line.lstrip().startswith("#")]:
        return
    release = f"{sys.implementation.cache_tag}-{sys.platform}"
    kept = folder / CACHE / hashlib.sha256(f"{release}\n{wanted}".encode()).hexdigest()[:32]
    if not kept.exists() or any(map(_OF_FILES.match, wanted.splitlines())):  # what files say may have changed
        say(" Running PythonPipBuilder:ResolveDependencies")
        unfinished = kept.with_name(f"{kept.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        try:
            done = subprocess.run(
                [*command, "--requirement", str(manifest), "--target", str(unfinished)],
                capture_output=True,
                text=True,
                timeout=PIP_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TemplateRefused([f"{name}: {manifest}: pip did not end within {PIP_SECONDS:g} s"]) from None
        if done.returncode != 0:
            last = "\n".join(done.stderr.strip().splitlines()[-3:])
            raise TemplateRefused([f"{name}: {manifest}: pip failed: {last}"])
        unfinished.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
        unfinished.rename(kept)
    shutil.copytree(kept, target, dirs_exist_ok=True)


def _move_paths(type_: str, properties: dict[str, Any], folder: Path, into: Path, *, moves_code: bool) -> None:
    """Have paths of what is not built lead to where it stands."""
    keys = [package.DEFINITIONS[type_][0]] if type_ in package.DEFINITIONS else []
    keys += [package.CODE[type_]] if type_ in package.CODE and moves_code else []
    for key in keys:
        if package.is_local(properties.get(key)):
            properties[key] = os.path.relpath(folder / properties[key], into)


def _without_aliases(value: Any) -> Any:
    """Give a value in which nothing appears twice as one object: YAML would write anchors."""
    if isinstance(value, dict):
        return {key: _without_aliases(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_aliases(one) for one in value]
    return value
