"""`forebay topic`: look at topics and their subscriptions, publish, unsubscribe, delete."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from forebay._model.plural import counted
from forebay.cli.arn import named
from forebay.cli.connect import connect, store_option
from forebay.cli.show import attribute, output_option, show, table, unpacked

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace


@click.group()
def topic() -> None:
    """Look at topics, publish, unsubscribe, delete."""


@topic.command("list")
@store_option
@output_option
def list_(store: StorePlace, output: str) -> None:
    """List the topics of a store."""
    with connect(store) as connection:
        topics = connection.ask("topic.list")
    show(unpacked(topics), output, text=table(topics, _COLUMNS))


@topic.command()
@click.argument("name", callback=named("topic"))
@store_option
@output_option
def describe(name: str, store: StorePlace, output: str) -> None:
    """Show a topic's subscriptions."""
    with connect(store) as connection:
        described = connection.ask("topic.describe", name=name)
    show(
        unpacked(described),
        output,
        text=f"arn: {described['arn']}\n\n{table(described['subscriptions'], _SUBSCRIPTIONS)}",
    )


@topic.command()
@click.argument("name", callback=named("topic"))
@click.argument("message", default="-")
@click.option("--subject", metavar="TEXT", help="At most 100 characters.")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=TEXT", help="A message attribute; repeatable.")
@store_option
@output_option
def publish(
    *, name: str, message: str, subject: str | None, attributes: tuple[str, ...], store: StorePlace, output: str
) -> None:
    """Publish MESSAGE (default: standard input, as it is) to everything that is subscribed."""
    fields: dict[str, Any] = {
        "message": sys.stdin.read() if message == "-" else message,
        "subject": subject,
        "attributes": [attribute(text) for text in attributes],
    }
    with connect(store) as connection:
        message_id = connection.ask("topic.publish", name=name, **fields)
    show({"topic": name, "message_id": message_id}, output, text=f"published {message_id} to {name}")


@topic.command()
@click.argument("name", callback=named("topic"))
@click.option("--queue", metavar="NAME", callback=named("queue"), help="The queue that is subscribed.")
@click.option("--function", metavar="NAME", callback=named("function"), help="The function that is subscribed.")
@store_option
@output_option
def unsubscribe(name: str, queue: str | None, function: str | None, store: StorePlace, output: str) -> None:
    """End a subscription. If the app's code still declares it, its next start makes it again."""
    endpoint = {kind: given for kind, given in (("queue", queue), ("function", function)) if given is not None}
    if len(endpoint) != 1:
        raise click.UsageError("give --queue or --function, one of them")
    with connect(store) as connection:
        described = connection.ask("topic.unsubscribe", name=name, **endpoint)
    show(
        unpacked(described),
        output,
        text=f"{counted(len(described['subscriptions']), 'subscription')} of topic {name} left",
    )


@topic.command()
@click.argument("name", callback=named("topic"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def delete(name: str, yes: bool, store: StorePlace, output: str) -> None:
    """Delete a topic with its subscriptions. Queues and functions keep what they were given.

    If the app's code still declares the topic, its next start makes it again.
    """
    with connect(store) as connection:
        count = len(connection.ask("topic.describe", name=name)["subscriptions"])
        if not yes:
            click.confirm(f"Delete topic {name} and its {counted(count, 'subscription')}?", abort=True, err=True)
        connection.ask("topic.delete", name=name)
    show({"topic": name, "subscriptions": count}, output, text=f"deleted topic {name}")


def _endpoint(subscription: dict[str, Any]) -> str:
    kind = "queue" if "queue" in subscription else "function"
    return f"{kind} {subscription[kind]}"


_COLUMNS = [
    ("TOPIC", lambda topic: topic["name"]),
    ("SUBSCRIPTIONS", lambda topic: [_endpoint(one) for one in topic["subscriptions"]]),
]
_SUBSCRIPTIONS = [
    ("ENDPOINT", _endpoint),
    ("RAW", lambda subscription: subscription["raw_message_delivery"]),
    ("SCOPE", lambda subscription: subscription["filter_policy_scope"]),
    ("FILTER POLICY", lambda subscription: subscription.get("filter_policy")),
]
