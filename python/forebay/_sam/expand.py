"""Expands a SAM template by aws-sam-translator, in a process of its own: `python expand.py`, JSON in, JSON out.

It imports nothing of forebay: another interpreter (FOREBAY_SAM_PYTHON) may have the translator.
"""

import json
import logging
import os
import sys
from typing import Any


class ManagedPolicies:
    """Names of managed policies and their ARNs. AWS is never asked: the ARN is made of the name."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> str:
        return f"arn:aws:iam::aws:policy/{name}"

    def get(self, name: str, _default: object = None) -> str:
        """Give the ARN of a policy."""
        return self[name]

    def load(self) -> "ManagedPolicies":
        """Give the names, as the translator's loader does."""
        return self


def load() -> str | None:
    """Load the translator, which takes longer than to use it; say what is missing, if anything is."""
    logging.disable(logging.CRITICAL)
    try:
        import samtranslator.translator.translator  # noqa: F401, PLC0415  told when it is missing
    except ModuleNotFoundError as error:
        return str(error)
    return None


def expand(template: dict[str, Any], parameters: dict[str, Any], region: str) -> dict[str, Any]:
    """Give `{"template": …}`, or `{"errors": […]}` in the translator's own words."""
    missing = load()
    if missing is not None:
        return {"missing": missing}
    from samtranslator.model.exceptions import InvalidDocumentException  # noqa: PLC0415  it is there
    from samtranslator.parser.parser import Parser  # noqa: PLC0415
    from samtranslator.translator.translator import Translator  # noqa: PLC0415

    os.environ["AWS_DEFAULT_REGION"] = region
    try:
        return {"template": Translator(ManagedPolicies(), Parser()).translate(template, parameters)}
    except InvalidDocumentException as error:
        return {"errors": [str(cause.message) for cause in error.causes] or [str(error.message)]}


def main() -> None:
    """Answer one question. Whoever asks may still be putting it together while the translator is loaded."""
    out = sys.stdout
    sys.stdout = sys.stderr  # nothing that a library prints gets into the answer
    load()
    asked = json.load(sys.stdin)
    json.dump(expand(asked["template"], asked["parameters"], asked["region"]), out)


if __name__ == "__main__":
    main()
