"""A cluster that is not there: answers as boto3's client of EMR does, for tests of workflows."""

from __future__ import annotations

import threading
from typing import Any


class FakeCluster:
    """Takes the calls of `forebay.integrations.Emr` and keeps clusters and steps in memory.

    Each question about a cluster or a step moves it one state on: a cluster from STARTING over BOOTSTRAPPING to WAITING, a step
    from PENDING over RUNNING to COMPLETED.

    Args:
        failing: names of steps that end in FAILED, and of clusters that end in TERMINATED_WITH_ERRORS.
        fleets: names of the instance fleets of each cluster; with names given here, clusters have no instance groups.
        groups: names of the instance groups of each cluster.

    """

    def __init__(
        self, failing: tuple[str, ...] = (), fleets: tuple[str, ...] = (), groups: tuple[str, ...] = ("Core",)
    ) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """What was called, with its arguments."""
        self.clusters: dict[str, dict[str, Any]] = {}
        """The clusters as DescribeCluster has them, by id."""
        self.steps: dict[str, dict[str, Any]] = {}
        """The steps as DescribeStep has them, by id."""
        self._failing = failing
        self._fleets = fleets
        self._groups = groups
        self._lock = threading.Lock()

    def run_job_flow(self, **given: Any) -> dict[str, Any]:
        """Make a cluster."""
        with self._called("run_job_flow", given):
            name = f"j-{len(self.clusters) + 1:013d}"
            self.clusters[name] = {
                "Id": name,
                "Name": given["Name"],
                "Status": {"State": "STARTING", "StateChangeReason": {}},
                "TerminationProtected": False,
                "ReleaseLabel": given.get("ReleaseLabel"),
                "Applications": given.get("Applications", []),
                "ClusterArn": f"arn:aws:elasticmapreduce:local:000000000000:cluster/{name}",
            }
            return {"JobFlowId": name, "ClusterArn": self.clusters[name]["ClusterArn"]}

    def describe_cluster(self, **given: Any) -> dict[str, Any]:
        """Describe a cluster, one state further than the last time."""
        with self._called("describe_cluster", given):
            cluster = self._cluster(given["ClusterId"])
            on = {"STARTING": "BOOTSTRAPPING", "BOOTSTRAPPING": "WAITING", "TERMINATING": "TERMINATED"}
            state = on.get(cluster["Status"]["State"], cluster["Status"]["State"])
            if state == "WAITING" and cluster["Name"] in self._failing:
                state = "TERMINATED_WITH_ERRORS"
            cluster["Status"]["State"] = state
            return {"Cluster": dict(cluster, Status=dict(cluster["Status"]))}

    def set_termination_protection(self, **given: Any) -> dict[str, Any]:
        """Protect clusters from termination, or no more."""
        with self._called("set_termination_protection", given):
            for name in given["JobFlowIds"]:
                self._cluster(name)["TerminationProtected"] = given["TerminationProtected"]
            return {}

    def terminate_job_flows(self, **given: Any) -> dict[str, Any]:
        """Terminate clusters that are not protected."""
        with self._called("terminate_job_flows", given):
            for name in given["JobFlowIds"]:
                cluster = self._cluster(name)
                if cluster["TerminationProtected"]:
                    raise ValueError(
                        f"Could not shut down one or more job flows since they are termination protected: {name}"
                    )
                cluster["Status"]["State"] = "TERMINATING"
            return {}

    def add_job_flow_steps(self, **given: Any) -> dict[str, Any]:
        """Give steps to a cluster."""
        with self._called("add_job_flow_steps", given):
            self._cluster(given["JobFlowId"])
            added = []
            for step in given["Steps"]:
                name = f"s-{len(self.steps) + 1:013d}"
                self.steps[name] = {
                    "Id": name,
                    "Name": step["Name"],
                    "Config": {"Jar": step["HadoopJarStep"]["Jar"], "Args": step["HadoopJarStep"].get("Args", [])},
                    "ActionOnFailure": step.get("ActionOnFailure", "CONTINUE"),
                    "Status": {"State": "PENDING"},
                }
                added.append(name)
            return {"StepIds": added}

    def describe_step(self, **given: Any) -> dict[str, Any]:
        """Describe a step, one state further than the last time."""
        with self._called("describe_step", given):
            step = self.steps[given["StepId"]]
            end = "FAILED" if step["Name"] in self._failing else "COMPLETED"
            on = {"PENDING": "RUNNING", "RUNNING": end}
            step["Status"]["State"] = on.get(step["Status"]["State"], step["Status"]["State"])
            return {"Step": dict(step, Status=dict(step["Status"]))}

    def cancel_steps(self, **given: Any) -> dict[str, Any]:
        """Cancel steps that have not ended."""
        with self._called("cancel_steps", given):
            told = []
            for name in given["StepIds"]:
                is_open = self.steps[name]["Status"]["State"] in {"PENDING", "RUNNING"}
                if is_open:
                    self.steps[name]["Status"]["State"] = "CANCELLED"
                told.append({"StepId": name, "Status": "SUBMITTED" if is_open else "FAILED"})
            return {"CancelStepsInfoList": told}

    def list_instance_fleets(self, **given: Any) -> dict[str, Any]:
        """List a cluster's instance fleets."""
        with self._called("list_instance_fleets", given):
            self._cluster(given["ClusterId"])
            return {"InstanceFleets": [{"Id": f"if-{name}", "Name": name} for name in self._fleets]}

    def list_instance_groups(self, **given: Any) -> dict[str, Any]:
        """List a cluster's instance groups."""
        with self._called("list_instance_groups", given):
            self._cluster(given["ClusterId"])
            groups = () if self._fleets else self._groups
            return {"InstanceGroups": [{"Id": f"ig-{name}", "Name": name} for name in groups]}

    def modify_instance_fleet(self, **given: Any) -> dict[str, Any]:
        """Note a change of an instance fleet in `calls`."""
        with self._called("modify_instance_fleet", given):
            return {}

    def modify_instance_groups(self, **given: Any) -> dict[str, Any]:
        """Note a change of instance groups in `calls`."""
        with self._called("modify_instance_groups", given):
            return {}

    def _called(self, name: str, given: dict[str, Any]) -> threading.Lock:
        self.calls.append((name, given))
        return self._lock

    def _cluster(self, name: str) -> dict[str, Any]:
        if name not in self.clusters:
            raise ValueError(f"Cluster id '{name}' is not valid.")
        return self.clusters[name]
