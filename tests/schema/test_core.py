"""What Python asks of the core: when a schedule is due, and what a schema says. Inference beside genson's, which merges alike."""

import json
from datetime import UTC, datetime

import pytest
from genson import SchemaBuilder
from hypothesis import given
from hypothesis import strategies as st

from forebay import InvalidParameterValue, _core

FORMATS = ["OpenApi3", "JSONSchemaDraft4"]


def ms(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def due(expression, after, **options):
    times = _core.upcoming(expression, rule=False, count=2, after_ms=ms(after), **options)
    return [datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ") for at in times]


def test_due_times_of_a_schedule_in_a_zone():
    assert due("cron(0 9 ? * MON-FRI *)", "2026-03-27T12:00:00Z", zone="Europe/Paris") == [
        "2026-03-30T07:00Z",
        "2026-03-31T07:00Z",
    ]
    assert due("rate(5 minutes)", "2026-01-01T00:00:00Z") == ["2026-01-01T00:05Z", "2026-01-01T00:10Z"]
    enabled = ms("2025-12-31T23:58:00Z")
    assert due("rate(5 minutes)", "2026-01-01T00:00:00Z", enabled_ms=enabled) == [
        "2026-01-01T00:03Z",
        "2026-01-01T00:08Z",
    ]
    start, end = ms("2026-01-02T00:00:00Z"), ms("2026-01-02T00:04:00Z")
    assert due("rate(5 minutes)", "2026-01-01T00:00:00Z", start_ms=start, end_ms=end) == ["2026-01-02T00:00Z"]


@pytest.mark.parametrize(
    ("expression", "rule", "zone", "told"),
    [
        ("rate(1 minutes)", True, "UTC", "Parameter ScheduleExpression is not valid. Number and unit must agree"),
        (
            "cron(0 1 * * * *)",
            False,
            "UTC",
            r"Invalid Schedule Expression cron\(0 1 \* \* \* \*\). One of the two fields",
        ),
        ("at(2026-01-01T00:00:00)", True, "UTC", "Parameter ScheduleExpression is not valid"),
        ("rate(1 hour)", False, "Mars/Olympus", "There is no time zone 'Mars/Olympus'"),
    ],
)
def test_a_wrong_schedule_is_refused_with_the_reason(expression, rule, zone, told):
    with pytest.raises(InvalidParameterValue, match=told):
        _core.upcoming(expression, rule=rule, count=0, after_ms=0, zone=zone)


@pytest.mark.parametrize("schema_format", FORMATS)
def test_a_schema_is_inferred_held_against_events_and_compared(schema_format):
    samples = [{"id": 1, "who": {"name": "x"}}, {"id": 2, "who": {"name": "y"}, "note": "z"}]
    schema = _core.infer_schema([json.dumps(sample) for sample in samples], schema_format)
    assert _core.check_schema(schema, schema_format) == []
    assert _core.misfit(json.dumps(samples[0]), schema, schema_format) is None
    wrong = json.dumps({"id": 1, "who": {"name": 3}})
    assert _core.misfit(wrong, schema, schema_format) == ("$.who.name", "string is expected, an integer was found")
    later = _core.infer_schema([json.dumps({"id": 1})], "OpenApi3")
    assert _core.compare_schemas(schema, schema_format, later, "OpenApi3") == [
        ("$.note: removed", False),
        ("$.who: removed (breaks old readers)", True),
    ]


def test_wrong_samples_and_schemas_are_refused_with_the_place():
    event = json.dumps({"source": "s", "detail-type": "t", "detail": {}})
    other = json.dumps({"source": "s", "detail-type": "u", "detail": {}})
    for samples, told in [([], "one sample or more"), (["{}", "["], "Sample 1"), ([event, other], "another source")]:
        with pytest.raises(InvalidParameterValue, match=told):
            _core.infer_schema(samples, "OpenApi3")
    with pytest.raises(InvalidParameterValue, match="OpenApi3 or JSONSchemaDraft4"):
        _core.infer_schema(["{}"], "Avro")
    with pytest.raises(InvalidParameterValue, match=r"\$\.properties\.a\.type"):
        _core.check_schema('{"properties": {"a": {"type": "text"}}}', "JSONSchemaDraft4")
    assert _core.check_schema('{"pattern": "x"}', "JSONSchemaDraft4") == ["$.pattern"]


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(-9, 9).map(lambda x: x + 0.5)
    | st.sampled_from(["x", ""])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


def ours(schema, place, root):
    """Give the types and the required keys of each place; what is of several types is not looked into."""
    while "$ref" in schema:
        schema = root["definitions"][schema["$ref"].removeprefix("#/definitions/")]
    written = schema.get("x-forebay-types", schema.get("type", []))
    types = {written} if isinstance(written, str) else set(written)
    told = {place: (frozenset(types - {"null"}), frozenset(schema.get("required", ())))}
    for key, inner in schema.get("properties", {}).items():
        told |= ours(inner, f"{place}.{key}", root)
    # Of an empty array AWS says that its elements are objects.
    if "items" in schema and schema["items"] != {"type": "object"}:
        told |= ours(schema["items"], f"{place}[]", root)
    return told


def gensons(schema, place):
    arms = schema.get("anyOf", [schema])
    types = set()
    for arm in arms:
        written = arm.get("type", [])
        types |= {written} if isinstance(written, str) else set(written)
    types -= {"null"}
    if len(types) != 1:
        return {place: (frozenset(types), frozenset())}
    # With null beside it an object stands in an arm of its own.
    arm = next(arm for arm in arms if types & ({arm["type"]} if isinstance(arm["type"], str) else set(arm["type"])))
    told = {place: (frozenset(types), frozenset(arm.get("required", ())))}
    for key, inner in arm.get("properties", {}).items():
        told |= gensons(inner, f"{place}.{key}")
    if "items" in arm:
        told |= gensons(arm["items"], f"{place}[]")
    return told


@given(st.lists(objects, min_size=1, max_size=6))
def test_types_and_required_keys_are_those_that_genson_finds(samples):
    builder = SchemaBuilder()
    for sample in samples:
        builder.add_object(sample)
    schema = json.loads(_core.infer_schema([json.dumps(sample) for sample in samples], "JSONSchemaDraft4"))
    assert ours(schema, "$", schema) == gensons(builder.to_schema(), "$")
