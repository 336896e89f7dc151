import json
import math
import threading
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay import Histogram, InvalidParameterValue

CASES = json.loads((Path(__file__).parents[1] / "cases" / "histogram.json").read_text())


def of(values):
    histogram = Histogram()
    histogram.record_many(values)
    return histogram


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_table(case):
    histogram = of(case["values"])
    for percent, expected in case["percentiles"]:
        assert histogram.percentile(percent) == expected
    assert (histogram.min, histogram.max, histogram.count) == (case["min"], case["max"], len(case["values"]))
    if case["mean"] is not None:
        assert histogram.mean == pytest.approx(case["mean"])
        assert histogram.interquartile_mean() == pytest.approx(case["iqm"])


@given(st.lists(st.floats(1e-9, 1e9), min_size=1), st.integers(0, 1000))
def test_a_percentile_is_within_a_thousandth_of_the_exact_one(values, tenths):
    rank = max(1, -(-tenths * len(values) // 1000))
    exact = sorted(values)[rank - 1]
    assert of(values).percentile(tenths / 10) == pytest.approx(exact, rel=0.001)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -1e-300])
def test_a_number_that_cannot_be_recorded_is_refused_and_changes_nothing(value):
    histogram = of([1, 2])
    with pytest.raises(InvalidParameterValue, match="finite numbers of 0 or more"):
        histogram.record(value)
    for values in ([3, value], array("d", [3, value])):
        with pytest.raises(InvalidParameterValue):
            histogram.record_many(values)
    assert histogram == of([1, 2])


@pytest.mark.parametrize("value", ["1", None, [1]])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError):
        Histogram().record(value)
    with pytest.raises(TypeError):
        Histogram().record_many([value])


@pytest.mark.parametrize(
    "values", [[1, 2.5, 300], (1, 2.5, 300), iter([1, 2.5, 300]), array("d", [1, 2.5, 300]), array("f", [1, 2.5, 300])]
)
def test_values_come_from_any_iterable_or_buffer(values):
    assert of(values) == of([1, 2.5, 300])


@pytest.mark.parametrize("percent", [-0.1, 100.1, math.nan, math.inf])
def test_a_percentile_outside_0_to_100_is_refused(percent):
    with pytest.raises(InvalidParameterValue, match="must be from 0 to 100"):
        of([1]).percentile(percent)


def test_statistics_that_cut_want_their_bounds_in_order():
    histogram = of(range(1, 101))
    assert histogram.trimmed_mean(10, 90) == 50.5
    assert histogram.winsorized_mean(10, 90) == pytest.approx((10 * 10 + sum(range(11, 91)) + 90 * 10) / 100)
    assert histogram.percentile_rank(10, 20) == 10
    with pytest.raises(InvalidParameterValue, match="must be below"):
        histogram.trimmed_mean(90, 10)


def test_merging_and_subtracting_oneself_is_safe():
    histogram = of([1, 2])
    histogram.merge(histogram)
    assert histogram.count == 4
    histogram.subtract(histogram)
    assert (histogram.count, histogram.min, histogram.percentile(50)) == (0, None, None)
    with pytest.raises(InvalidParameterValue, match="holds values that this one does not"):
        histogram.subtract(of([1]))


def test_bytes_carry_everything_and_damage_is_refused():
    histogram = of([0, 1e-12, 5, 5, 1e12])
    data = histogram.to_bytes()
    assert Histogram.from_bytes(data) == histogram
    assert (histogram.zero, histogram.below, histogram.above, histogram.sum) == (1, 1, 1, 1e12 + 10 + 1e-12)
    for damaged in (b"", data[:-1], data + b"x", b"\x00" + data[1:]):
        with pytest.raises(InvalidParameterValue, match="not a histogram, or are damaged"):
            Histogram.from_bytes(damaged)
    with pytest.raises(InvalidParameterValue, match="has format 9"):
        Histogram.from_bytes(b"\x09" + data[1:])


def test_threads_lose_no_value():
    histogram = Histogram()

    def record():
        for value in range(1, 10_001):
            histogram.record(value)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (histogram.count, histogram.sum) == (40_000, 4 * 50_005_000)


def test_it_tells_what_it_is():
    assert repr(Histogram()) == "<Histogram count=0>"
    assert repr(of([1, 3])) == "<Histogram count=2 min=1 mean=2 max=3>"
    assert len(of([1, 3])) == 2
