"""Which paths run on a directory and on a PostgreSQL server: all that need no virtual clock, but for those that are listed."""

import ast
from pathlib import Path

FOLDER = Path(__file__).parent
# What stands still with them: a store on a server refuses that.
CLOCKS = {"clock", "forebay_clock", "forebay_app", "VirtualClock"}
DIRECTORY_ALONE = {
    "test_scenarios_are_answered_as_aws_answered_them": "16 apps, of which AWS's texts are compared, and no store is read again",
    "test_limits_that_are_changed_at_once_are_all_in_the_settings": "it is about a number in memory",
    "test_a_number_that_no_text_has_ends_its_execution_and_nothing_else": "it is about the engine's thread",
    "test_a_poll_outlives_an_app_that_stops": "a waiting process takes a store in a directory over",
    "test_a_run_that_goes_on_after_its_execution_is_one_line_of_the_log": "it is about a line of the log",
    "test_a_stop_waits_for_a_step_that_hangs_no_longer_than_its_grace": "it is about a thread of the app",
    "test_one_that_times_out_again_and_again_is_told_which_option_to_change": "it is about a line of the log",
} | dict.fromkeys(
    [
        "test_a_bucket_is_walked_through_once_for_all_pages_of_a_run",
        "test_a_call_has_one_deadline",
        "test_a_call_that_is_made_again_has_the_same_token",
        "test_a_file_that_changes_between_two_pages_is_not_mixed_with_what_it_was",
        "test_a_file_that_is_too_large_is_not_read",
        "test_a_job_is_stopped_that_begins_after_its_task_was_given_up",
        "test_a_job_that_begins_while_the_app_stops_runs_on",
        "test_a_large_file_that_does_not_come_keeps_no_other_one_waiting",
        "test_a_step_that_a_failed_task_leaves_is_logged",
        "test_a_thread_that_cannot_begin_takes_no_place",
        "test_boto3_tells_what_passes",
        "test_credentials_that_are_not_there_now_are_no_answer",
        "test_emr_says_that_a_stop_is_throttled",
        "test_files_are_listed_as_s3_does",
        "test_files_are_read_after_the_app_has_started_again",
        "test_large_files_are_parsed_one_after_the_other",
        "test_object_stores_take_no_thread_of_other_calls",
        "test_small_files_wait_for_no_number_of_large_ones",
        "test_slow_endpoints_hold_up_no_other_call_and_none_of_the_app",
        "test_so_many_files_are_read_at_once_and_the_others_in_their_order",
        "test_the_app_goes_on_while_a_large_file_is_read",
        "test_threads_are_bounded_and_end",
        "test_what_runs_keep_is_bounded",
    ],
    "it is about an integration, and not about what is kept",
)


def functions_of(path):
    tree = ast.parse(path.read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def needed(name, functions):
    """The fixtures and functions that a test uses, and those that these use."""
    found, left = set(), [name]
    while left:
        function = functions[left.pop()]
        calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
        words = {called.id for called in calls if isinstance(called, ast.Name)}
        words -= {word for word in words & functions.keys() if functions[word].decorator_list}
        if function.decorator_list or function.name.startswith("test_"):
            words |= {argument.arg for argument in function.args.args}
        left += [word for word in words - found if word in functions]
        found |= words
    return found


def test_whatever_needs_no_virtual_clock_runs_on_both():
    alone, both = set(), set()
    for path in sorted(FOLDER.glob("test_*.py")):
        functions = functions_of(FOLDER / "conftest.py") | functions_of(path)
        for name in functions_of(path):
            words = needed(name, functions)
            starts = any(isinstance(node, ast.Await | ast.AsyncWith) for node in ast.walk(functions[name]))
            if name.startswith("test_") and starts and not words & CLOCKS:
                (both if "store" in words else alone).add(name)
    assert alone == set(DIRECTORY_ALONE)
    assert len(both) > 10
