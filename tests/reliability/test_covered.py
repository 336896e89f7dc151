"""`make coverage` itself: what it reads is what it tells, and no test makes the product look better than it is."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEQUENCE = "rust/core/src/sequence.rs"


@pytest.fixture
def covered(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("covered")


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        (SEQUENCE, True),
        (f"{ROOT}/{SEQUENCE}", True),
        ("rust/bindings/src/engine.rs", True),
        ("rust/core/src/histogram/tests.rs", False),
        ("rust/engine/src/sources/queue/tests/transfers.rs", False),
        ("rust/engine/src/runtime/test_engine.rs", False),
        ("rust/core/tests/queue/main.rs", False),
        ("rust/testing/simulator/src/plan.rs", False),
        ("/rustc/library/core/src/option.rs", False),
    ],
)
def test_only_what_a_user_gets_counts(covered, source, counts):
    assert (covered.product(source) is not None) is counts


def test_lines_and_regions_are_counted_up_to_a_files_own_tests(covered):
    tests = covered.tests_begin(SEQUENCE)
    lcov = f"SF:{ROOT}/{SEQUENCE}\nDA:3,7\nDA:4,0\nDA:{tests},9\nLF:3\nend_of_record\n"
    assert covered.rust_lines(lcov) == {SEQUENCE: {"3": True, "4": False}}
    regions = [[3, 1, 3, 9, 0, 0, 0, 0], [4, 1, 4, 9, 0, 0, 0, 0], [tests, 1, tests, 9, 1, 0, 0, 0]]
    function = {"filenames": [f"{ROOT}/{SEQUENCE}"], "regions": regions}
    assert covered.core_regions(json.dumps({"data": [{"functions": [function]}]})) == {
        SEQUENCE: {"3:1-3:9": False, "4:1-4:9": False}
    }


def test_a_region_is_one_however_often_it_was_built_and_was_run_if_one_of_them_was(covered):
    functions = [
        {"filenames": [SEQUENCE], "regions": [[3, 1, 3, 9, count, 0, 0, 0], [5, 1, 5, 9, 0, 0, 0, 3]]}
        for count in (0, 4, 0)
    ]
    assert covered.core_regions(json.dumps({"data": [{"functions": functions}]})) == {SEQUENCE: {"3:1-3:9": True}}


@pytest.mark.parametrize(
    ("line", "failed"),
    [
        ("3 failed, 1200 passed in 300.00s\n", ["3"]),
        ("2 errors in 1.00s\n", ["2"]),
        ("test result: FAILED. 10 passed; 2 failed; 0 ignored\n", ["2"]),
        ("test result: ok. 10 passed; 0 failed; 0 ignored\n", []),
        ("1200 passed in 300.00s\n", []),
    ],
)
def test_a_test_that_fails_is_counted(covered, line, failed):
    assert covered.FAILED.findall(f"before\n{line}") == failed
