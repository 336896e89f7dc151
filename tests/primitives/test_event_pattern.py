"""A bus rule's pattern and an event: the verdict, the fields that fail, the errors."""

import json

import pytest

from forebay import InvalidParameterValue, _core

EVENT = {
    "id": "1",
    "account": "111122223333",
    "source": "com.shop",
    "time": "2026-11-27T12:00:00Z",
    "region": "eu-central-1",
    "detail-type": "Order Placed",
    "detail": {"state": "stopped", "amount": 12.5},
}


def test_an_event_that_matches_has_no_failing_field():
    pattern = {"source": ["com.shop"], "detail": {"amount": [{"numeric": ["=", 12.50]}]}}
    assert _core.test_event_pattern(json.dumps(pattern), json.dumps(EVENT)) == (True, [])


def test_each_failing_field_says_what_it_is_and_what_the_rule_wants():
    pattern = {"detail": {"state": ["running", {"prefix": "pend"}], "owner": [{"exists": True}], "amount": [12.5]}}
    assert _core.test_event_pattern(json.dumps(pattern), json.dumps(EVENT)) == (
        False,
        [
            ("detail.owner", '[{"exists": true}]', "", "detail.owner is absent; the rule wants any value"),
            (
                "detail.state",
                '["running", {"prefix": "pend"}]',
                '"stopped"',
                'detail.state is "stopped"; the rule wants "running", or a text that begins with "pend"',
            ),
        ],
    )


def test_a_pattern_that_cannot_be_is_refused_with_the_place():
    with pytest.raises(InvalidParameterValue) as refused:
        _core.test_event_pattern('{"detail": {"state": [{"prefix": 5}]}}', json.dumps(EVENT))
    assert str(refused.value) == (
        "Event pattern is not valid. Reason: prefix match pattern must be a string\n at detail.state[0].prefix, line 1, column 35"
    )


@pytest.mark.parametrize(
    ("event", "reason"),
    [("[]", "it is not an object"), ("{", "it is not JSON")],
)
def test_what_is_no_event_is_refused(event: str, reason: str):
    with pytest.raises(InvalidParameterValue) as refused:
        _core.test_event_pattern('{"source": ["a"]}', event)
    assert str(refused.value) == f"Parameter Event is not valid. Reason: {reason}"
