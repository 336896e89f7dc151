"""Code of schemas as EventBridge Schemas gives it: a zip file. It is made when it is asked for, the same each time."""

from __future__ import annotations

import base64
import io
import zipfile
from typing import Any, Final

from forebay._schema import bind
from forebay._stacks.wire_error import WireError
from forebay.errors import ForebayError

LANGUAGES: Final = {"Java8": "java", "Python36": "python", "TypeScript3": "typescript"}
"""Languages by AWS's names. Code of all of them is as AWS writes it."""
_AT: Final = (1980, 1, 1, 0, 0, 0)
"""The time of each file: the same schema gives the same bytes."""


def answer(action: str, given: dict[str, Any]) -> dict[str, Any]:
    """Make the code of a schema, which the door has read; whoever asks for its status only is told that it can be made.

    Raises:
        WireError: there is none in that language, or of that schema.

    """
    language = LANGUAGES.get(given["language"])
    if language is None:
        text = f"There are no code bindings in {given['language'][:100]}; there are: {', '.join(LANGUAGES)}."
        raise WireError("BadRequestException", text)
    named = {"name": given["name"], "version": given["version"], "language": language, "style": "aws"}
    try:
        files = bind(given["content"], given["format"], **named)
    except ForebayError as error:
        raise WireError("BadRequestException", str(error)) from None
    return {"zip": _zipped(files)} if action == "GetCodeBindingSource" else {}


def _zipped(files: dict[str, str]) -> str:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, _AT), text, zipfile.ZIP_DEFLATED)
    return base64.b64encode(whole.getvalue()).decode()
