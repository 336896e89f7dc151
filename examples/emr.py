"""A night's work on Amazon EMR as a workflow: a cluster is made, two steps run, the cluster is terminated.

    python examples/emr.py

The definition has the states of Step Functions' sample project, and runs on AWS as it is. Here a fake cluster answers, so
nothing is paid for and nothing needs an account: it takes some seconds, checks what happened, and says so. With `Emr()`
instead of `Emr(FakeCluster(...))` it calls EMR through boto3.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from typing import Any

import forebay
from forebay.integrations import Emr
from forebay.testing import FakeCluster

CLUSTER_ID = {"ClusterId.$": "$.cluster.ClusterId"}


def call(action: str, parameters: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Give a Task state that calls EMR."""
    resource = f"arn:aws:states:::elasticmapreduce:{action}"
    return {"Type": "Task", "Resource": resource, "Parameters": parameters, **fields}


def step(name: str) -> dict[str, Any]:
    """Give a step of the cluster."""
    arguments = ["bash", "-c", f"echo {name}"]
    return {
        "Name": name,
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": arguments},
    }


NIGHT = {
    "StartAt": "Create the cluster",
    "States": {
        "Create the cluster": call(
            "createCluster.sync",
            {
                "Name": "night",
                "ReleaseLabel": "emr-5.26.0",
                "Applications": [{"Name": "Hive"}],
                "ServiceRole": "EMR_DefaultRole",
                "JobFlowRole": "EMR_EC2_DefaultRole",
                "Instances": {"KeepJobFlowAliveWhenNoSteps": True},
            },
            ResultPath="$.cluster",
            Next="Load",
        ),
        "Load": call(
            "addStep.sync",
            {**CLUSTER_ID, "Step": step("load")},
            Retry=[{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 2.0}],
            ResultPath="$.load",
            Next="Count",
        ),
        "Count": call(
            "addStep.sync",
            {**CLUSTER_ID, "Step": step("count")},
            Catch=[{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failed", "Next": "Terminate the cluster"}],
            ResultPath="$.count",
            Next="Terminate the cluster",
        ),
        "Terminate the cluster": call("terminateCluster.sync", CLUSTER_ID, ResultPath=None, End=True),
    },
}


async def one_night(failing: tuple[str, ...]) -> dict[str, Any]:
    """Run the workflow on a cluster of its own, and check what has become of that."""
    cluster = FakeCluster(failing=failing)
    with tempfile.TemporaryDirectory() as store:
        app = forebay.App("night", store=store)
        app.integrate(Emr(cluster, poll_seconds=0.01))
        night = app.workflow("night", NIGHT)
        async with app:
            output: dict[str, Any] = await (await night.start()).result()
    states = [one["Status"]["State"] for one in cluster.clusters.values()]
    if states != ["TERMINATED"]:
        sys.exit(f"the clusters are {states}")
    return output


async def main() -> None:
    """Run a night that goes well, and one in which a step fails."""
    well = await one_night(())
    steps = [well[name]["Step"]["Status"]["State"] for name in ("load", "count")]
    failed = await one_night(("count",))
    if steps != ["COMPLETED", "COMPLETED"] or failed["failed"]["Error"] != "States.TaskFailed":
        sys.exit(f"a step did something else: {steps}, {failed}")
    print("both steps ran, and both clusters were terminated, also after a step had failed")


if __name__ == "__main__":
    asyncio.run(main())
