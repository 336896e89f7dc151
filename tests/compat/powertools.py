"""A Lambda with module-level Powertools for AWS Lambda, moved over unchanged: 10,200 messages, a fifth of which fail at first.

For the newest release: `.venv/bin/pip install --upgrade aws-lambda-powertools`. `tests/powertools` has the Lambda and the rules.
"""

import importlib.metadata
import sys
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[1] / "powertools"
ORDERS = 3_400


@pytest.mark.timeout(900)
async def test_no_order_is_lost_and_none_is_repeated_beyond_the_rules(
    import_app, monkeypatch, capfd, record_testsuite_property
):
    record_testsuite_property("aws-lambda-powertools", importlib.metadata.version("aws-lambda-powertools"))
    record_testsuite_property("messages", str(3 * ORDERS))
    monkeypatch.syspath_prepend(str(BESIDE))
    run = importlib.import_module("powertools_run")
    try:
        moved = import_app("moved_lambda")
        answers = await run.run(moved, ORDERS, within=800)
        run.judge(moved, ORDERS, answers, capfd.readouterr())
    finally:
        sys.modules.pop("powertools_run", None)
