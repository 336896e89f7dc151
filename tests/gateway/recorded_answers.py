"""Holds what was answered against what AWS answered when the cases of `../shared/cases/gateway` were recorded."""

import json
import re

PLACEHOLDER = re.compile(r"<[^<>]*>")
TIMES = ("date", "datetime", "timestamp")
# Words that stand for whatever was there, as the recording has them.
STANDS_FOR_ALL = ("function-url", "lambda-url", "code-sha256")
ACCOUNT = re.compile(r"\b\d{12}\b")
# Of edge-optimised APIs, or of this one recording.
LEFT_OUT = ("cloudfront-", "via", "x-cache", "x-amz-cf-")


class Mismatch(AssertionError):
    """What is there is not what was recorded."""


class Names:
    """What the placeholders of a case stand for: equal names are equal values."""

    def __init__(self):
        self.values = {}

    def hold(self, name, value, place):
        if re.search(r":\d+>$", name):
            known = self.values.setdefault(name, value)
            if known != value:
                raise Mismatch(f"{place}: {name} was {known!r} and is {value!r}")


def as_written(value, wanted):
    """Read a text as JSON where JSON was recorded."""
    if isinstance(value, str) and isinstance(wanted, dict | list | bool | int | float):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def compare(value, wanted, names, place="answer"):
    """Raise `Mismatch` unless a value is what was recorded."""
    value = as_written(value, wanted)
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            raise Mismatch(f"{place}: recorded is an object, and there is {value!r}")
        if extra := sorted(value.keys() - wanted.keys()):
            raise Mismatch(f"{place}: {extra} is there, and was not recorded: {value!r}")
        for key, one in wanted.items():
            if key not in value and key.lower().startswith(LEFT_OUT):
                continue
            if key not in value:
                raise Mismatch(f"{place}: {key!r} was recorded ({one!r}), and is not there: {sorted(value)}")
            compare(value[key], one, names, f"{place}.{key}")
    elif isinstance(wanted, list):
        if not isinstance(value, list) or len(value) != len(wanted):
            raise Mismatch(f"{place}: recorded is {wanted!r}, and there is {value!r}")
        for at, (one, other) in enumerate(zip(value, wanted, strict=True)):
            compare(one, other, names, f"{place}[{at}]")
    elif isinstance(wanted, str):
        compare_texts(value, wanted, names, place)
    elif isinstance(wanted, float) or isinstance(value, float):
        if not isinstance(value, int | float) or float(value) != float(wanted):
            raise Mismatch(f"{place}: recorded is {wanted!r}, and there is {value!r}")
    elif value != wanted or isinstance(value, bool) != isinstance(wanted, bool):
        raise Mismatch(f"{place}: recorded is {wanted!r}, and there is {value!r}")


def compare_texts(value, wanted, names, place):
    if wanted in TIMES or wanted in STANDS_FOR_ALL:
        return
    if PLACEHOLDER.fullmatch(wanted):
        names.hold(wanted, value, place)
        return
    if not isinstance(value, str):
        raise Mismatch(f"{place}: recorded is {wanted!r}, and there is {value!r}")
    found = PLACEHOLDER.findall(wanted)
    parts = [ACCOUNT.sub(r"\\d{12}", re.escape(part)) for part in PLACEHOLDER.split(wanted)]
    parts = [part.replace(re.escape("fake-api-id"), r"\S+") for part in parts]
    parts = [part.replace(r"_date\.", r"_\S+\.") for part in parts]
    match = re.fullmatch("(.+?)".join(parts), value, re.DOTALL)
    if match is None:
        raise Mismatch(f"{place}: recorded is {wanted!r}, and there is {value!r}")
    for name, one in zip(found, match.groups(), strict=True):
        names.hold(name, one, place)


def headers_of(pairs):
    """Headers by their names in small letters, without those of edge-optimised APIs."""
    found = {}
    for name, value in pairs:
        if not name.lower().startswith(LEFT_OUT):
            found.setdefault(name.lower(), []).append(value)
    return {name: ", ".join(values) for name, values in found.items()}
