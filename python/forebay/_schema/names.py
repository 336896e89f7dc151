"""Names in generated code: no keyword, no collision, always the same for the same schema."""

import json
import keyword
import re
from collections.abc import Container, Iterable
from typing import Final


def words(text: str) -> frozenset[str]:
    """Give the words of a text."""
    return frozenset(text.split())


PYTHON_WORDS: Final = frozenset({*keyword.kwlist, "match", "case", "type", "_"})
TYPESCRIPT_WORDS: Final = words(
    "any arguments as async await boolean break case catch class const constructor continue debugger declare "
    "default delete do else enum eval export extends false finally for from function get if implements import "
    "in instanceof interface is let module namespace new never null number object of package private "
    "protected public require return set static string super switch symbol this throw true try type typeof "
    "undefined unknown var void while with yield"
)
JAVA_WORDS: Final = words(
    "abstract assert boolean break byte case catch char class const continue default do double else enum "
    "extends false final finally float for goto if implements import instanceof int interface long native new "
    "null package private protected public return short static strictfp super switch synchronized this throw "
    "throws transient true try void volatile while _ getClass hashCode notify notifyAll toString wait equals "
    "clone finalize"
)


def identifiers(texts: Iterable[str], reserved: Container[str], *, cased: bool = True) -> dict[str, str]:
    """Give each text an identifier: what cannot be in one becomes `_`, what is reserved gets one behind it, twins a number.

    Without `cased`, names that differ in their capitals alone are twins: files, and Java's getters, would be one.
    """
    plain = {text: _plain(text) for text in texts}
    given: dict[str, str] = {}
    taken: set[str] = set()
    # Who needs no other name has its own, whatever stands before it.
    for text in sorted(plain, key=lambda text: plain[text] != text or text in reserved):
        name = f"{plain[text]}_" if plain[text] in reserved else plain[text]
        number = 2
        while (name if cased else name.lower()) in taken or name in reserved:
            name = f"{plain[text]}_{number}"
            number += 1
        taken.add(name if cased else name.lower())
        given[text] = name
    return {text: given[text] for text in plain}


def _plain(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", text).lstrip("_") or "field"
    return f"field_{plain}" if plain[0].isdigit() else plain


def quoted(text: str) -> str:
    """Write a text as Python's formatter leaves it."""
    written = json.dumps(text, ensure_ascii=False)
    if '"' not in text or "'" in text:
        return written
    return "'" + written[1:-1].replace('\\"', '"') + "'"


def package(schema: str) -> list[str]:
    """Give the parts of a schema's package, as the SAM CLI makes them: `aws.s3@X` is `schema.aws.s3.x`."""
    plain = schema.replace("@", ".")
    head, dot, tail = plain.partition(".")
    if head == "aws" and dot:
        names = ["aws", *tail.split(".")]
    else:
        source, _, detail_type = schema.rpartition("@")
        names = [name.replace(".", "_") for name in (source, detail_type) if name]
    return ["schema", *(re.sub(r"[^a-z0-9_]", "_", name.lower()) or "_" for name in names)]
