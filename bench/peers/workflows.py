"""Workflows: moto's Step Functions in this process, and DBOS on SQLite, at the questions that forebay's workflows answer.

moto carries the definition out in memory, with the interpreter that it took from LocalStack. DBOS writes each step to its
database before the next one; its steps are functions that do nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from forebay_bench import questions
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.workflow import EXPRESS, INPUT

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "eu-central-1"
STEPS = 3
WAITING_SECONDS = 60
"""Most that executions may take whose starts have returned."""


def _moto(count: int, stage: Stage) -> None:
    """Start executions one after the other, and wait until the last has ended: moto runs each in a thread."""
    import boto3
    import moto

    keys = {"region_name": REGION, "aws_access_key_id": "test", "aws_secret_access_key": "test"}
    with moto.mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        client = boto3.client("stepfunctions", **keys)
        role = "arn:aws:iam::123456789012:role/r"
        machine = client.create_state_machine(name="quote", definition=json.dumps(EXPRESS), roleArn=role)
        with stage.meter:
            arns = []
            for number in range(count):
                start = {"stateMachineArn": machine["stateMachineArn"], "name": str(number), "input": json.dumps(INPUT)}
                arns.append(client.start_execution(**start)["executionArn"])
            ends = time.monotonic() + WAITING_SECONDS
            for arn in arns:
                while (status := client.describe_execution(executionArn=arn)["status"]) == "RUNNING":
                    if time.monotonic() > ends:
                        message = f"{arn} has not ended"
                        raise TimeoutError(message)
                    time.sleep(0.001)
                if status != "SUCCEEDED":
                    message = f"{arn} is {status}"
                    raise RuntimeError(message)


async def moto_express(stage: Stage) -> Mapping[str, float]:
    count = stage.share(500)
    await asyncio.to_thread(_moto, count, stage)
    return {"starts": count / stage.meter.seconds}


def _dbos(count: int, stage: Stage) -> None:
    """Start workflows of three steps, and wait for the result of each."""
    from dbos import DBOS

    logging.getLogger("dbos").setLevel(logging.ERROR)
    path = f"sqlite:///{stage.directory / 'dbos.sqlite'}"
    DBOS(config={"name": "bench", "system_database_url": path, "run_admin_server": False})

    @DBOS.step()
    def step(order: dict[str, Any]) -> dict[str, Any]:
        return order

    @DBOS.workflow()
    def order(given: dict[str, Any]) -> dict[str, Any]:
        for _ in range(STEPS):
            given = step(given)
        return given

    DBOS.launch()
    try:
        with stage.meter:
            handles = [DBOS.start_workflow(order, INPUT) for _ in range(count)]
            for handle in handles:
                handle.get_result()
    finally:
        DBOS.destroy(destroy_registry=True)


async def dbos_standard(stage: Stage) -> Mapping[str, float]:
    os.environ.setdefault("DBOS__APPVERSION", "bench")
    count = stage.share(200)
    await asyncio.to_thread(_dbos, count, stage)
    return {"starts": count / stage.meter.seconds}


SCENARIOS = (
    Scenario(
        "peers.workflow.moto",
        moto_express,
        (Figure("starts", "moto: a Choice and two Pass", "starts/s", question=questions.STATES),),
        "memory",
        seconds=6,
        who="moto",
        note="boto3 against mock_aws in the same process; one start after the other",
        packages=("moto", "boto3"),
    ),
    Scenario(
        "peers.workflow.dbos",
        dbos_standard,
        (Figure("starts", "DBOS on SQLite: three steps", "starts/s", question=questions.STEPS),),
        "process-crash",
        seconds=20,
        who="DBOS, SQLite",
        note="start_workflow for each, then get_result; steps are functions that do nothing",
        packages=("dbos",),
    ),
)
