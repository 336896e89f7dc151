"""What is counted of handlers in processes is on the page of the process that owns them."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from forebay import FunctionError


@pytest.fixture
def measured(monkeypatch, tmp_path, no_task_is_left):
    monkeypatch.setenv("FOREBAY_TEST_STORE", str(tmp_path / "store"))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    sys.modules.pop("measured_app", None)
    yield importlib.import_module("measured_app")
    sys.modules.pop("measured_app", None)


async def test_the_numbers_of_process_environments_are_on_the_page(measured):
    async with measured.app:
        for number in range(5):
            assert await measured.work.invoke(number) == number
        with pytest.raises(FunctionError):
            await measured.work.invoke("bad")
        page = measured.app.metrics.page()
        median = measured.app.metrics.statistic("InitDuration", "p50", function="work")

    def value(series):
        [found] = re.findall(rf"^{re.escape(series)} (\S+)$", page, re.MULTILINE)
        return float(found)

    assert value('forebay_invocations_total{function="work",outcome="success"}') == 5
    assert value('forebay_invocations_total{function="work",outcome="error"}') == 1
    assert value('forebay_errors_total{function="work"}') == 1
    assert value('forebay_invocation_duration_seconds_count{function="work"}') == 6
    assert value('forebay_environment_starts_total{function="work",initialization="on-demand"}') == 1
    assert value('forebay_environments{function="work",state="idle"}') == 1
    assert value('forebay_environments{function="work",state="busy"}') == 0
    assert value('forebay_init_duration_seconds_count{function="work"}') == 1
    assert median == pytest.approx(1000 * value('forebay_init_duration_seconds_sum{function="work"}'), rel=0.001)
