"""Who gets a permit, and who is asked to give one back: the rules alone, without processes."""

from __future__ import annotations

import pytest

from forebay.dbproxy.permits import Permits

A, B, C = "a", "b", "c"


@pytest.fixture
def told():
    return []


def permits(maximum, told):
    return Permits(maximum, lambda process, kind, number: told.append((process, kind.name, number)))


def test_permits_are_given_in_the_order_in_which_they_are_asked_for(told):
    shared = permits(1, told)
    for number, process in enumerate((A, B, C, A)):
        shared.take(process, number, waits=True)
    for process in (A, B, C):
        shared.free(process)
    assert [process for process, kind, _ in told if kind == "GRANTED"] == [A, B, C, A]


def test_one_that_is_idle_is_asked_and_no_more_than_wait(told):
    shared = permits(2, told)
    shared.take(A, 1, waits=True)
    shared.take(B, 1, waits=True)
    del told[:]
    shared.take(C, 1, waits=True)
    assert told == [(C, "LATER", 1), (A, "GIVE", 0)]
    shared.free(A)
    assert told[2:] == [(C, "GRANTED", 1)]


def test_when_the_first_has_nothing_idle_the_next_is_asked_and_those_who_need_not_give_any_more_are_told(told):
    shared = permits(2, told)
    shared.take(A, 1, waits=True)
    shared.take(B, 1, waits=True)
    shared.take(C, 1, waits=True)
    del told[:]
    shared.busy(A)
    assert told == [(B, "GIVE", 0)]
    shared.free(B)
    assert told[1:] == [(C, "GRANTED", 1), (A, "KEEP", 0)]


def test_nobody_is_asked_for_what_it_waits_for_itself(told):
    shared = permits(1, told)
    shared.take(A, 1, waits=True)
    shared.take(A, 2, waits=True)
    assert told[1:] == [(A, "LATER", 2)]
    shared.take(B, 1, waits=True)
    assert told[2:] == [(B, "LATER", 1), (A, "GIVE", 0)]


def test_one_that_does_not_wait_makes_nobody_give(told):
    shared = permits(1, told)
    shared.take(A, 1, waits=False)
    shared.take(B, 1, waits=False)
    assert told == [(A, "GRANTED", 1), (B, "REFUSED", 1)]


def test_one_that_waits_no_more_is_passed_over(told):
    shared = permits(1, told)
    for process in (A, B, C):
        shared.take(process, 1, waits=True)
    shared.cancel(B, 1)
    shared.free(A)
    assert told[-1] == (C, "GRANTED", 1)
    assert (B, "GRANTED", 1) not in told


def test_the_permits_of_one_that_has_died_are_taken_until_the_server_has_let_go(told):
    shared = permits(2, told)
    shared.take(A, 1, waits=True)
    shared.take(A, 2, waits=True)
    shared.leave(A)
    shared.take(B, 1, waits=True)
    assert told[-1] == (B, "LATER", 1)
    shared.freed()
    assert told[-1] == (B, "GRANTED", 1)
    assert shared.taken == 2


def test_a_server_that_allows_more_lets_those_in_who_wait(told):
    shared = permits(1, told)
    shared.take(A, 1, waits=True)
    shared.take(B, 1, waits=True)
    shared.limit(2)
    assert (B, "GRANTED", 1) in told
    assert told[-1] == (A, "KEEP", 0)
