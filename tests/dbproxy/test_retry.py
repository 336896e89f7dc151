"""When a server is asked again for a connection: the rules alone, without a server."""

from __future__ import annotations

import math

import pytest

from forebay.dbproxy.driver import ServerFull
from forebay.dbproxy.retry import PAUSE_SECONDS_FIRST, PAUSE_SECONDS_MAX, Retry
from forebay.errors import AuthenticationFailed, DatabaseUnavailable

FULL, DOWN, DENIED = ServerFull("full"), DatabaseUnavailable("down"), AuthenticationFailed("denied")


@pytest.fixture
def retry():
    return Retry()


def fail(retry, error=FULL):
    return retry.failed(retry.rounds, error)


def succeed(retry):
    return retry.succeeded(retry.rounds)


def test_attempts_that_fail_together_count_once(retry):
    """A hundred first clients of a full server were a hundred failures in a row: the second pause was 5 s."""
    assert [retry.failed(0, FULL) for _ in range(100)] == [True] + [False] * 99
    assert (retry.failures, retry.pause) == (1, PAUSE_SECONDS_FIRST)
    assert fail(retry)
    assert (retry.failures, retry.pause) == (2, 2 * PAUSE_SECONDS_FIRST)


def test_the_pause_doubles_up_to_its_maximum(retry):
    pauses = []
    for _ in range(5000):
        fail(retry)
        pauses.append(retry.pause)
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.4]
    assert pauses[-1] == max(pauses) == PAUSE_SECONDS_MAX


def test_an_attempt_from_before_the_last_failure_ends_nothing(retry):
    fail(retry)
    assert not retry.succeeded(0)
    assert (retry.failures, retry.at_once) == (1, 1)
    assert succeed(retry)
    assert retry.failures == 0


def test_one_attempt_while_a_server_is_full_and_then_twice_as_many_with_each_round(retry):
    """One success let as many attempts loose as clients waited: all but one were refused."""
    assert retry.at_once == math.inf
    fail(retry)
    assert retry.at_once == 1
    succeed(retry)
    allowed = [retry.at_once]
    for _ in range(4):
        for _ in range(int(retry.at_once)):
            succeed(retry)
        allowed.append(retry.at_once)
    assert allowed == [1, 2, 4, 8, 16]
    fail(retry)
    succeed(retry)
    assert retry.at_once == 1
    retry.over()
    assert retry.at_once == math.inf


def test_a_server_that_was_down_is_not_taken_for_full(retry):
    fail(retry, DOWN)
    assert (retry.at_once, retry.is_full) == (1, False)
    succeed(retry)
    assert retry.at_once == math.inf


def test_one_of_many_is_enough_to_tell_that_a_server_is_full(retry):
    retry.failed(0, FULL)
    retry.failed(0, DOWN)
    assert retry.is_full
    fail(retry, DOWN)
    assert not retry.is_full, "a newer round says something else"
    retry.failed(1, FULL)
    assert retry.is_full


def test_a_failure_is_told_once_until_the_server_has_given_all(retry):
    def told(error):
        fail(retry, error)
        return retry.is_news(error)

    assert [told(FULL), told(FULL)] == [True, False]
    succeed(retry)
    assert not told(FULL), "there is a connection less than was asked for: it is the same outage"
    retry.forget()
    assert not told(FULL)
    assert [told(DENIED), told(DENIED)] == [True, False]
    succeed(retry)
    retry.over()
    assert told(DENIED)


def test_what_nobody_waits_for_is_no_failure_any_more(retry):
    fail(retry)
    fail(retry)
    retry.forget()
    assert (retry.failures, retry.is_full) == (0, False)
    assert retry.at_once == 1, "nobody knows whether it has room"
    fail(retry)
    assert retry.pause == PAUSE_SECONDS_FIRST
