"""`elasticmapreduce`: clusters and their steps, over boto3's client of EMR or anything that answers as it does."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from forebay.integrations.aws_sdk import answer_of, boto3_client, from_wire, is_throttled
from forebay.integrations.port import NotAnswered, ServiceCall, StillRunning, Submitted, TaskError
from forebay.integrations.threads import THREADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger("forebay.integrations")

_RESOURCES: Final = (
    "elasticmapreduce:createCluster",
    "elasticmapreduce:createCluster.sync",
    "elasticmapreduce:setClusterTerminationProtection",
    "elasticmapreduce:terminateCluster",
    "elasticmapreduce:terminateCluster.sync",
    "elasticmapreduce:addStep",
    "elasticmapreduce:addStep.sync",
    "elasticmapreduce:cancelStep",
    "elasticmapreduce:modifyInstanceFleetByName",
    "elasticmapreduce:modifyInstanceGroupByName",
)
_CLUSTER: Final = ("ClusterId",)
_PARAMETERS: Final = {
    "setClusterTerminationProtection": (*_CLUSTER, "TerminationProtected"),
    "terminateCluster": _CLUSTER,
    "addStep": (*_CLUSTER, "Step", "ExecutionRoleArn"),
    "cancelStep": (*_CLUSTER, "StepId"),
    "modifyInstanceFleetByName": (*_CLUSTER, "InstanceFleetName", "InstanceFleet"),
    "modifyInstanceGroupByName": (*_CLUSTER, "InstanceGroupName", "InstanceGroup"),
}
"""What calls take. A cluster is created with whatever the client of EMR takes, which refuses the rest."""
_SERVICE: Final = "ElasticMapReduce"


class Emr:
    """Runs clusters of Amazon EMR for tasks.

    A stopped execution cancels the step that it waits for. It does not terminate a cluster, as on AWS.

    Args:
        client: a client of EMR: boto3's, or `forebay.testing.FakeCluster`; None: boto3's.
        poll_seconds: how often a job is asked about, 0.001 to 60.

    Raises:
        InvalidParameterValue: boto3 is not installed.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/connect-emr.html

    """

    def __init__(self, client: Any = None, *, poll_seconds: float = 5.0) -> None:
        # boto3 wants a region as soon as a client is made: a definition may be looked at without one.
        self._make = boto3_client() if client is None else None
        self._client = client
        self._poll_seconds = poll_seconds
        self._actions = {
            "createCluster": self._create_cluster,
            "setClusterTerminationProtection": self._set_termination_protection,
            "terminateCluster": self._terminate_cluster,
            "addStep": self._add_step,
            "cancelStep": self._cancel_step,
            "modifyInstanceFleetByName": self._modify_fleet,
            "modifyInstanceGroupByName": self._modify_group,
        }

    @property
    def resources(self) -> Sequence[str]:
        """Name what can be called."""
        return _RESOURCES

    @property
    def parameters(self) -> Mapping[str, Sequence[str]]:
        """Name what calls take."""
        return {f"elasticmapreduce:{action}": names for action, names in _PARAMETERS.items()}

    async def call(self, call: ServiceCall) -> Any:
        """Make a call.

        Raises:
            TaskError: EMR has refused it.

        """
        return await self._actions[call.action](call)

    async def poll(self, call: ServiceCall, job: Any) -> Any:
        """Ask whether a job has ended.

        Raises:
            TaskError: the cluster or the step has failed, or EMR refuses the question for good: then the step is cancelled.
            NotAnswered: EMR does not answer now.

        """
        if call.action == "addStep":
            step = (await self._question("describe_step", call, job))["Step"]
            failed = {"CANCELLED", "FAILED", "INTERRUPTED"}
            return self._of_state(step, {"COMPLETED"}, failed, {"Step": step})
        cluster = (await self._question("describe_cluster", call, job))["Cluster"]
        done, failed = {"WAITING"}, {"TERMINATED", "TERMINATED_WITH_ERRORS", "TERMINATING"}
        if call.action == "terminateCluster":
            done, failed = {"TERMINATED"}, {"TERMINATED_WITH_ERRORS"}
        result = {**job, "ClusterArn": cluster.get("ClusterArn"), "Cluster": cluster}
        return self._of_state(cluster, done, failed, result)

    async def stop(self, call: ServiceCall, job: Any) -> None:
        """Cancel a step whose task was given up.

        Raises:
            TaskError: EMR refuses it for good.
            NotAnswered: EMR does not answer now.

        """
        if call.action == "addStep":
            await self._ask_now("cancel_steps", ClusterId=job["ClusterId"], StepIds=[job["StepId"]])

    async def _question(self, method: str, call: ServiceCall, job: Any) -> Any:
        try:
            return await self._ask_now(method, **job)
        except NotAnswered:
            raise
        except TaskError:
            # The task fails: nobody would stop the step any more.
            try:
                await self.stop(call, job)
            except TaskError as error:
                log.warning("the job %r of %s was not stopped, and may run on: %s", job, call.id, error)
            raise

    async def _ask_now(self, method: str, **given: Any) -> Any:
        """Ask, and tell apart what may be answered later."""
        try:
            return await self._ask(method, **given)
        except TaskError as error:
            if is_throttled(error):
                raise NotAnswered(error.error, error.cause) from error
            raise

    def _of_state(self, about: dict[str, Any], done: set[str], failed: set[str], result: dict[str, Any]) -> Any:
        state = about["Status"]["State"]
        if state in done:
            return result
        if state in failed:
            raise TaskError("States.TaskFailed", json.dumps(about))
        return StillRunning(self._poll_seconds)

    async def _set_termination_protection(self, call: ServiceCall) -> Any:
        cluster, protected = _text(call.parameters, "ClusterId"), call.parameters.get("TerminationProtected", False)
        await self._ask("set_termination_protection", JobFlowIds=[cluster], TerminationProtected=protected)
        return {}

    async def _terminate_cluster(self, call: ServiceCall) -> Any:
        cluster = _text(call.parameters, "ClusterId")
        await self._ask("terminate_job_flows", JobFlowIds=[cluster])
        return {} if call.pattern == "request" else Submitted({}, {"ClusterId": cluster})

    async def _cancel_step(self, call: ServiceCall) -> Any:
        cluster, step = _text(call.parameters, "ClusterId"), _text(call.parameters, "StepId")
        answer = await self._ask("cancel_steps", ClusterId=cluster, StepIds=[step])
        return {"CancelStepsInfo": answer["CancelStepsInfoList"][0]}

    async def _modify_fleet(self, call: ServiceCall) -> Any:
        cluster, name = _text(call.parameters, "ClusterId"), _text(call.parameters, "InstanceFleetName")
        fleet = await self._named("list_instance_fleets", "InstanceFleets", cluster, name)
        changed = {**call.parameters.get("InstanceFleet", {}), "InstanceFleetId": fleet["Id"]}
        await self._ask("modify_instance_fleet", ClusterId=cluster, InstanceFleet=changed)
        return {}

    async def _modify_group(self, call: ServiceCall) -> Any:
        cluster, name = _text(call.parameters, "ClusterId"), _text(call.parameters, "InstanceGroupName")
        group = await self._named("list_instance_groups", "InstanceGroups", cluster, name)
        changed = {**call.parameters.get("InstanceGroup", {}), "InstanceGroupId": group["Id"]}
        await self._ask("modify_instance_groups", ClusterId=cluster, InstanceGroups=[changed])
        return {}

    async def _create_cluster(self, call: ServiceCall) -> Any:
        answer = await self._ask("run_job_flow", **call.parameters)
        output = {"ClusterId": answer["JobFlowId"], "ClusterArn": answer.get("ClusterArn")}
        return output if call.pattern == "request" else Submitted(output, {"ClusterId": answer["JobFlowId"]})

    async def _add_step(self, call: ServiceCall) -> Any:
        cluster, step = _text(call.parameters, "ClusterId"), call.parameters.get("Step")
        if not isinstance(step, dict):
            raise TaskError("States.Runtime", "Step is missing")
        more = {name: call.parameters[name] for name in ("ExecutionRoleArn",) if name in call.parameters}
        answer = await self._ask("add_job_flow_steps", JobFlowId=cluster, Steps=[step], **more)
        output = {"StepId": answer["StepIds"][0]}
        return output if call.pattern == "request" else Submitted(output, {"ClusterId": cluster, **output})

    async def _named(self, method: str, listed: str, cluster: str, name: str) -> dict[str, Any]:
        more: dict[str, Any] = {}
        while True:
            page = await self._ask(method, ClusterId=cluster, **more)
            for one in page[listed]:
                if one.get("Name") == name:
                    return dict(one)
            if not page.get("Marker"):
                raise TaskError(
                    f"{_SERVICE}.InvalidRequestException", f"cluster {cluster} has no {listed[:-1]} {name!r}"
                )
            more = {"Marker": page["Marker"]}

    async def _ask(self, method: str, **given: Any) -> Any:
        if self._client is None and self._make is not None:
            self._client = await THREADS.run(self._make, "emr")
        if hasattr(self._client, "meta"):
            return await THREADS.run(answer_of, self._client, _SERVICE, method, given)
        return from_wire(await THREADS.run(getattr(self._client, method), **given))


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise TaskError("States.Runtime", f"{name} is missing")
    return value
