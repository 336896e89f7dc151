"""A Lambda with module-level Powertools, moved over unchanged, loses and repeats nothing.

In threads side by side, which was the default, 42 of 500 messages of a queue were deleted and never succeeded, and nearly every
line of the log had another invocation's request id. `make compat ARGS=powertools` does the same with 10,000 messages.
"""

from powertools_run import judge, run


async def test_orders_from_queues_and_a_stream_are_handled_as_on_lambda(import_app, capfd):
    moved, orders = import_app("moved_lambda"), 170
    answers = await run(moved, orders, within=60)
    judge(moved, orders, answers, capfd.readouterr())
