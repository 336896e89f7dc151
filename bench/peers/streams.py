"""Stream processors in Python: a backlog of records to a function. All keep it in memory; none would survive a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forebay_bench import questions
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.stream import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping


async def bytewax(stage: Stage) -> Mapping[str, float]:
    """Map records in batches of 100."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    records, seen = stage.share(1_000_000), 0
    batches = [[RECORD] * 100] * max(1, records // 100)

    def handler(batch: list[bytes]) -> int:
        nonlocal seen
        seen += len(batch)
        return 1

    flow = Dataflow("bench")
    op.output("out", op.map("handler", op.input("in", flow, TestingSource(batches)), handler), TestingSink([]))
    with stage.meter:
        run_main(flow)
    return {"rate": seen / stage.meter.seconds}


async def bytewax_keyed(stage: Stage) -> Mapping[str, float]:
    """Map records one by one with a state for each of 1,000 keys."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    records = stage.share(500_000)
    source = [(f"k{number % 1_000}", RECORD) for number in range(records)]

    def handler(state: int | None, _: bytes) -> tuple[int, int]:
        count = (state or 0) + 1
        return count, count

    flow = Dataflow("bench")
    keyed = op.input("in", flow, TestingSource(source, batch_size=100))
    op.output("out", op.stateful_map("handler", keyed, handler), TestingSink([]))
    with stage.meter:
        run_main(flow)
    return {"rate": records / stage.meter.seconds}


async def arroyo(stage: Stage) -> Mapping[str, float]:
    """Batch records by 100, call a function, commit offsets."""
    from arroyo.backends.kafka import KafkaPayload
    from arroyo.backends.local.backend import LocalBroker
    from arroyo.backends.local.storages.memory import MemoryMessageStorage
    from arroyo.processing import StreamProcessor
    from arroyo.processing.strategies import BatchStep, CommitOffsets, ProcessingStrategyFactory, RunTask
    from arroyo.types import Topic

    records, seen = stage.share(200_000), 0
    topic = Topic("bench")
    broker: LocalBroker[KafkaPayload] = LocalBroker(MemoryMessageStorage())
    broker.create_topic(topic, 1)
    producer = broker.get_producer()
    for _ in range(records):
        producer.produce(topic, KafkaPayload(b"key", RECORD, []))

    def handler(batch: object) -> object:
        nonlocal seen
        seen += len(batch.payload)  # type: ignore[attr-defined]
        return batch.payload  # type: ignore[attr-defined]

    class Factory(ProcessingStrategyFactory):
        def create_with_partitions(self, commit, partitions):  # noqa: ARG002  theirs
            return BatchStep(100, 1.0, RunTask(handler, CommitOffsets(commit)))

    processor = StreamProcessor(broker.get_consumer("bench"), topic, Factory())
    with stage.meter:
        while seen < records // 100 * 100:
            processor._run_once()
    processor.signal_shutdown()
    return {"rate": seen / stage.meter.seconds}


SCENARIOS = (
    Scenario(
        "peers.stream.bytewax",
        bytewax,
        (Figure("rate", "bytewax: map over batches of 100", "records/s", question=questions.BATCH),),
        "memory",
        who="bytewax",
        note="in memory, nothing kept",
        packages=("bytewax",),
    ),
    Scenario(
        "peers.stream.bytewax-keyed",
        bytewax_keyed,
        (Figure("rate", "bytewax: state by key, one by one", "records/s", question=questions.SINGLE),),
        "memory",
        who="bytewax, keyed",
        note="in memory, nothing kept",
        packages=("bytewax",),
    ),
    Scenario(
        "peers.stream.arroyo",
        arroyo,
        (Figure("rate", "sentry-arroyo: batches of 100, offsets committed", "records/s", question=questions.BATCH),),
        "memory",
        who="sentry-arroyo",
        note="local broker, in memory",
        packages=("sentry-arroyo",),
    ),
)
