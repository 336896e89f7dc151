"""What answers the same requests of SQS as forebay: ElasticMQ and MiniStack, each as it comes, with its messages in memory.

The requests are those of `aws.*`, signed as for forebay; neither server looks at a signature. A server that gets slower with its
backlog has a shorter one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forebay_bench import aws, questions, servers
from forebay_bench.harness import Figure, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from forebay_bench.harness import Stage

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
JAVA = ("java", "apt-get install openjdk-17-jdk")
MAVEN = ("mvn", "apt-get install maven")
TICKS = os.sysconf("SC_CLK_TCK")


def processor_of(process: subprocess.Popen[bytes]) -> Callable[[], float]:
    """Give what tells the processor time of a process, seconds."""

    def spent() -> float:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    return spent


@contextmanager
def elasticmq(stage: Stage) -> Iterator[aws.Wire]:
    """Run ElasticMQ, which Maven fetches the first time."""
    port = servers.free_port()
    libraries = ROOT / "target" / "elasticmq"
    if not libraries.exists():
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={libraries}"]
        maven = [servers.program(*MAVEN), "-q", "-B", "-f", "bench/elasticmq/pom.xml", *goal]
        subprocess.run(maven, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    settings = stage.directory / "elasticmq.conf"
    settings.write_text(
        f'node-address {{ host = "127.0.0.1", port = {port} }}\n'
        f'rest-sqs {{ enabled = true, bind-hostname = "127.0.0.1", bind-port = {port}, sqs-limits = strict }}\n'
        "rest-stats { enabled = false }\n"
        f'aws {{ region = "{aws.REGION}", accountId = "{aws.ACCOUNT}" }}\n'
    )
    command = [
        servers.program(*JAVA),
        f"-Dconfig.file={settings}",
        "-cp",
        f"{libraries}/*",
        "org.elasticmq.server.Main",
    ]
    with servers.running(command, port, stage.directory) as process:
        yield aws.Wire(port, processor_of(process))


@contextmanager
def ministack(stage: Stage) -> Iterator[aws.Wire]:
    """Run MiniStack."""
    port = servers.free_port()
    variables = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": aws.ACCOUNT,
        "MINISTACK_REGION": aws.REGION,
        "LOG_LEVEL": "ERROR",
        "SERVICES": "sqs",
    }
    command = [str(BIN / "ministack")]
    with servers.running(command, port, stage.directory, env=os.environ | variables) as process:
        yield aws.Wire(port, processor_of(process))


def created(wire: aws.Wire) -> None:
    """Make the queue."""
    with socket.create_connection(("127.0.0.1", wire.port), 10) as connection:
        connection.sendall(wire.signed("sqs", "AmazonSQS.CreateQueue", {"QueueName": "q"}))
        answer = connection.recv(1 << 16)
    if answer[9:12] != b"200":
        raise RuntimeError(answer[:2000].decode(errors="replace"))


async def _run(
    stage: Stage, question: str, server: Callable[[Stage], AbstractContextManager[aws.Wire]], most: int
) -> Mapping[str, float]:
    count = stage.share(most)
    with server(stage) as wire:
        created(wire)
        if question == "receive":
            await wire.load(count, wire.batch())
            with stage.meter:
                seconds, processor = await wire.drain(count * aws.TOGETHER)
            return aws.drained(count, seconds, processor)
        request, each = (wire.batch(), aws.TOGETHER) if question == "send_batch" else (wire.one(), 1)
        with stage.meter:
            took = await wire.load(count, request)
    return aws.figures(count, each, *took)


def _peer(
    name: str, server: Callable[[Stage], Any], note: str, most: Mapping[str, int], **needs: Any
) -> tuple[Scenario, ...]:
    return tuple(
        Scenario(
            f"peers.aws.{name.lower()}.{question}",
            partial(_run, question=question, server=server, most=most[question]),
            (
                Figure("rate", f"{name}: {title}", "messages/s", question=title),
                Figure("us", f"{name}: {title}, processor time of a request in the server", "µs"),
            ),
            durability="memory",
            who=name,
            note=note,
            seconds=15,
            **needs,
        )
        for question, title in questions.AWS.items()
    )


SCENARIOS = (
    *_peer(
        "ElasticMQ",
        elasticmq,
        "in memory; looks at no signature; the client runs on the same machine",
        {"send": 40_000, "send_batch": 15_000, "receive": 5_000},
    ),
    *_peer(
        "MiniStack",
        ministack,
        "in memory; looks at no signature; the client runs on the same machine",
        {"send": 10_000, "send_batch": 2_000, "receive": 300},
        packages=("ministack",),
    ),
)
