"""Has a SAM template expanded, by the translator of this interpreter or of the one that FOREBAY_SAM_PYTHON names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import secret
from forebay._sam.errors import TemplateRefused
from forebay._sam.form import too_many, wrong_resources
from forebay._sam.parameters import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TRANSFORM: Final = "AWS::Serverless-2016-10-31"
PYTHON: Final = "FOREBAY_SAM_PYTHON"
TIMEOUT_SECONDS: Final = 60.0
_REGION: Final = "us-east-1"
"""Where a template is expanded for: the translator knows the partitions of AWS's regions only."""


class Translator:
    """The translator, in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def translate(self, body: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        """Give a template without SAM's own resource types; the process ends with its answer.

        Raises:
            TemplateRefused: it cannot be expanded.

        """
        asked = json.dumps({"template": body, "parameters": parameters, "region": _REGION}).encode()
        try:
            answer = _answer(self._process, *self._process.communicate(asked, TIMEOUT_SECONDS))
        except subprocess.TimeoutExpired:
            raise TemplateRefused([f"the template was not expanded within {TIMEOUT_SECONDS:g} s"]) from None
        if "errors" in answer:
            raise TemplateRefused(answer["errors"])
        if "missing" in answer:
            raise TemplateRefused(
                [
                    f"{answer['missing']}: SAM templates need aws-sam-translator: pip install 'forebay[sam]'",
                    f"An app whose own pydantic is another one has it in another environment, whose Python {PYTHON} names",
                ]
            )
        expanded: dict[str, Any] = answer["template"]
        return expanded


@contextmanager
def translator(body: Mapping[str, Any]) -> Iterator[Translator | None]:
    """Have the translator load while a template's files and parameters are still looked up; None where it is not needed.

    Raises:
        TemplateRefused: its Python cannot be started.

    """
    if not _transforms(body):
        yield None
        return
    python = os.environ.get(PYTHON) or sys.executable
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            [python, str(Path(__file__).with_name("expand.py"))], stdin=pipe, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise TemplateRefused(
            [f"{python}: {error.strerror}: set {PYTHON} to a Python that has aws-sam-translator"]
        ) from None
    with process:
        try:
            yield Translator(process)
        finally:
            process.kill()


def expand(body: dict[str, Any], parameters: Mapping[str, Any], loaded: Translator | None = None) -> dict[str, Any]:
    """Give a template without SAM's own resource types; `loaded` is a translator that nobody has used yet.

    Raises:
        TemplateRefused: it cannot be expanded; every reason in the translator's words.

    """
    wanted = _transforms(body)
    others = [str(one) for one in wanted if one != TRANSFORM]
    if others:
        raise TemplateRefused([f"Transform: {', '.join(others)} is a macro, and only {TRANSFORM} is served"])
    check_resources(body)
    if not wanted:
        return body
    if loaded is not None:
        return loaded.translate(body, dict(parameters))
    with translator(body) as made:
        return body if made is None else made.translate(body, dict(parameters))


def _transforms(body: Mapping[str, Any]) -> list[Any]:
    found = body.get("Transform") or []
    return found if isinstance(found, list) else [found]


def parameters_for(body: Mapping[str, Any], given: Mapping[str, str], before: Mapping[str, str]) -> dict[str, Any]:
    """Give parameters for the translator; what is secret it does not get."""
    found: dict[str, Any] = {}
    declared = body.get("Parameters")
    for name, one in declared.items() if isinstance(declared, dict) else ():
        default = one.get("Default") if isinstance(one, dict) else None
        value = given.get(name, before.get(name, default))
        if value is not None:
            found[name] = secret.mark(name) if is_secret(one) else value
    return found


def check_resources(body: dict[str, Any]) -> None:
    """Refuse a template whose resources are none."""
    resources = body.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise TemplateRefused(["Template format error: At least one Resources member must be defined."])
    wrong = [*too_many(body), *wrong_resources(resources)]
    if wrong:
        raise TemplateRefused(wrong)


def _answer(process: subprocess.Popen[bytes], said: bytes, complaint: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        last = complaint.decode(errors="replace").strip().splitlines()[-1:] or [f"status {process.returncode}"]
        raise TemplateRefused([f"the template could not be expanded: {last[0]}"]) from None
    return answer
