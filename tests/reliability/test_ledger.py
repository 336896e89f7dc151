"""The checkers of the crash tests are themselves checked: each violation, planted, is found."""

import pytest
from ledger import check, halves

MS = 1_000_000


def facts(*lines):
    """Write facts as `life kind key number`, a millisecond apart."""
    words = [line.split() for line in lines]
    return [(at * MS, int(life), kind, key, int(number)) for at, (life, kind, key, number) in enumerate(words)]


SOUND = facts(
    "1 acknowledged a 1",
    "1 acknowledged a 2",
    "1 begun a 1",
    "1 done a 1",
    "1 begun a 2",
    "2 begun a 2",
    "2 done a 2",
)


def test_a_sound_ledger_passes():
    verdict = check(SOUND)
    assert (verdict.violations, verdict.acknowledged, verdict.done, dict(verdict.duplicates)) == ([], 2, 2, {})


def test_what_a_life_did_and_its_checkpoint_did_not_cover_is_a_duplicate_and_no_violation():
    verdict = check([*SOUND, *facts("3 begun a 2", "3 done a 2")])
    assert verdict.violations == []
    assert dict(verdict.duplicates) == {2: 1}


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (SOUND[:-1], "lost"),
        (facts("1 acknowledged a 1", "1 acknowledged a 2", "1 begun a 2", "1 done a 2", "1 begun a 1"), "order"),
        (facts("1 acknowledged a 1", "1 acknowledged a 2", "1 begun a 1", "1 begun a 2"), "exclusion"),
        (facts("1 acknowledged a 1", "1 begun a 1", "1 done a 1", "1 begun a 1"), "duplicate"),
        (facts("1 acknowledged a 1", "1 acknowledged a 2", "2 begun a 2", "2 done a 2"), "order"),
    ],
)
def test_each_violation_is_found_when_planted(planted, found):
    assert any(violation.startswith(found) for violation in check(planted).violations), check(planted)


def test_a_retry_without_end_is_found():
    tried = facts("1 acknowledged a 1", *["1 begun a 1", "2 begun a 1"] * 2, "2 done a 1")
    assert check(tried, attempts=4).violations == []
    assert check(tried, attempts=3).violations == ["attempts: a 1 begins for the 4. time"]


def test_a_record_with_a_failure_record_is_not_lost():
    assert check(SOUND[:-1], given_up={("a", 2)}).violations == []


def test_a_publication_that_reached_only_some_of_its_subscriptions_is_found_and_one_that_reached_none_is_not():
    asked = facts("1 asked told-all.1 1", "1 asked event-told.1 1", "1 asked told-all.2 2", "1 asked event-told.2 2")
    done = facts("2 done told-all.1 1", "2 done event-told.1 1")
    assert halves([*asked, *done]) == []
    assert halves([*asked, *done[:1]]) == ["half: of publication 1 only {('told-all.1', 1)}"]
    assert halves([*asked, *done[:1]], given_up={("event-told.1", 1)}) == []
