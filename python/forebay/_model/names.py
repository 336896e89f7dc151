"""Names and ARNs."""

from __future__ import annotations

import re
from typing import Final

from forebay._model import limits
from forebay._model.checks import refuse

FIFO: Final = ".fifo"
REGION_DEFAULT: Final = "local"
"""Of an app that names none; no region of AWS."""
LATEST: Final = "$LATEST"
"""The version of a function that is declared and not published."""
ATTACHMENTS: Final = "FOREBAY_ATTACHMENTS"
"""The variable that tells a process what is attached to its function. No password is in it."""

_WORD = re.compile(r"[a-zA-Z0-9_-]+")
_QUALIFIER = re.compile(r"[a-zA-Z0-9$_-]+")
_BUS = re.compile(r"[a-zA-Z0-9/._-]+")
_NOT_IN_WORKFLOWS = """<>{}[]?*"#%\\^|~`$&,;:/"""
_WORKFLOW = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f{re.escape(_NOT_IN_WORKFLOWS)}\ufffe\uffff]+")
_RULE = re.compile(r"[a-zA-Z0-9._-]+")
_DOTTED = re.compile(r"[a-zA-Z0-9_.-]+")
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_ACCOUNT = re.compile(r"[0-9]{12}")


def function_name(name: str) -> str:
    """Check a function's name: https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html."""
    longest = limits.FUNCTION_NAME_CHARACTERS_MAX
    if not isinstance(name, str) or len(name) > longest or not _WORD.fullmatch(name):
        refuse("name", name, f"a function's name has 1 to {longest} letters, digits, '-' and '_'")
    return name


def qualifier(text: str) -> str:
    """Check what may stand behind a function's name: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html."""
    longest = limits.QUALIFIER_CHARACTERS_MAX
    if not isinstance(text, str) or len(text) > longest or not _QUALIFIER.fullmatch(text):
        refuse(
            "qualifier",
            text,
            f"a version's number, '{LATEST}' or an alias: 1 to {longest} letters, digits, '$', '-', '_'",
        )
    return text


def stream_name(name: str, option: str = "name") -> str:
    """Check a stream's name: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html."""
    longest = limits.STREAM_NAME_CHARACTERS_MAX
    if not isinstance(name, str) or len(name) > longest or not _DOTTED.fullmatch(name):
        refuse(option, name, f"a stream's name has 1 to {longest} letters, digits, '.', '-' and '_'")
    return name


def queue_name(name: str, option: str = "name") -> str:
    """Check a queue's name: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html."""
    longest = limits.QUEUE_NAME_CHARACTERS_MAX
    stem = name.removesuffix(FIFO) if isinstance(name, str) else ""
    if not isinstance(name, str) or len(name) > longest or not _WORD.fullmatch(stem):
        refuse(option, name, f"a queue's name has 1 to {longest} letters, digits, '-' and '_', and may end in '.fifo'")
    return name


def topic_name(name: str, option: str = "name") -> str:
    """Check a topic's name: https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html."""
    longest = limits.TOPIC_NAME_CHARACTERS_MAX
    if not isinstance(name, str) or len(name) > longest or not _WORD.fullmatch(name):
        refuse(
            option, name, f"a topic's name has 1 to {longest} letters, digits, '-' and '_'; there are no FIFO topics"
        )
    return name


def is_fifo(queue: str) -> bool:
    """Tell a FIFO queue by its name."""
    return queue.endswith(FIFO)


def app_name(name: str, option: str = "name") -> str:
    """Check an app's name."""
    longest = limits.STREAM_NAME_CHARACTERS_MAX
    if not isinstance(name, str) or len(name) > longest or not _DOTTED.fullmatch(name):
        refuse(option, name, f"an app's name has 1 to {longest} letters, digits, '.', '-' and '_'")
    return name


def region(name: str) -> str:
    """Check a region, which is only a word in ARNs and events."""
    if not isinstance(name, str) or not _REGION.fullmatch(name):
        refuse("region", name, "a region has 1 to 64 lower-case letters, digits and '-'")
    return name


def account(number: str) -> str:
    """Check an account number, which is only a word in ARNs and events."""
    if not isinstance(number, str) or not _ACCOUNT.fullmatch(number):
        refuse("account", number, "an account is a text of 12 digits")
    return number


def function_arn(region: str, account: str, name: str) -> str:
    """Give a function's ARN."""
    return f"arn:aws:lambda:{region}:{account}:function:{name}"


def stream_arn(region: str, account: str, name: str) -> str:
    """Give a stream's ARN."""
    return f"arn:aws:kinesis:{region}:{account}:stream/{name}"


def bus_name(name: str, option: str = "name") -> str:
    """Check a bus's name: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateEventBus.html."""
    longest = limits.BUS_NAME_CHARACTERS_MAX
    if not isinstance(name, str) or len(name) > longest or not _BUS.fullmatch(name):
        refuse(option, name, f"a bus's name has 1 to {longest} letters, digits, '/', '.', '-' and '_'")
    return name


def rule_name(name: str, option: str = "name", *, longest: int = limits.RULE_NAME_CHARACTERS_MAX) -> str:
    """Check the name of a rule or a schedule: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html."""
    if not isinstance(name, str) or len(name) > longest or not _RULE.fullmatch(name):
        refuse(option, name, f"a name has 1 to {longest} letters, digits, '.', '-' and '_'")
    return name


def registry_name(name: str, option: str = "name") -> str:
    """Check the name of a registry of schemas.

    Source: https://docs.aws.amazon.com/eventbridge/latest/schema-reference/v1-registries-name-registryname.html
    """
    longest = limits.REGISTRY_NAME_CHARACTERS_MAX
    if not isinstance(name, str) or len(name) > longest or not _RULE.fullmatch(name):
        refuse(option, name, f"a registry's name has 1 to {longest} letters, digits, '.', '-' and '_'")
    return name


def workflow_name(name: str, option: str = "name", of: str = "a workflow") -> str:
    """Check a workflow's name: https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html."""
    longest = limits.WORKFLOW_NAME_CHARACTERS_MAX
    if not isinstance(name, str) or len(name) > longest or not _WORKFLOW.fullmatch(name):
        refuse(option, name, f"{of}'s name has 1 to {longest} characters, without blanks and {_NOT_IN_WORKFLOWS}")
    return name


def workflow_arn(region: str, account: str, name: str) -> str:
    """Give a workflow's ARN."""
    return f"arn:aws:states:{region}:{account}:stateMachine:{name}"


def activity_arn(region: str, account: str, name: str) -> str:
    """Give an activity's ARN."""
    return f"arn:aws:states:{region}:{account}:activity:{name}"


def bus_arn(region: str, account: str, name: str) -> str:
    """Give a bus's ARN."""
    return f"arn:aws:events:{region}:{account}:event-bus/{name}"


def api_destination_arn(region: str, account: str, name: str) -> str:
    """Give an API destination's ARN."""
    return f"arn:aws:events:{region}:{account}:api-destination/{name}"


def registry_arn(region: str, account: str, name: str) -> str:
    """Give a registry's ARN."""
    return f"arn:aws:schemas:{region}:{account}:registry/{name}"


def topic_arn(region: str, account: str, name: str) -> str:
    """Give a topic's ARN."""
    return f"arn:aws:sns:{region}:{account}:{name}"


def queue_arn(region: str, account: str, name: str) -> str:
    """Give a queue's ARN."""
    return f"arn:aws:sqs:{region}:{account}:{name}"


def shard_of(sequence_number: str) -> str:
    """Give the id of the shard whose record has this sequence number: its last six digits are the shard's."""
    return f"shardId-{int(sequence_number[-6:]):012}"
