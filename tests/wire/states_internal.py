"""Step Functions' operations as a boto3 client has them, carried out by the engine's own requests, without the wire.

What the wire alone decides has no counterpart here: the form of an ARN, sizes of pages, what an SDK checks before it sends.
"""

import re

from botocore.exceptions import ClientError

from forebay.errors import ForebayError

OF_THE_WIRE = (
    r"Parameter validation failed",
    r"\d+ validation error detected",
    r"Invalid Arn: 'Invalid ARN prefix",
    r"Routing configuration must contain",
    r"Sum of routing configuration weights",
    r"Version description can only be set",
    r"Either the definition, the role ARN",
    r"Invalid Logging Configuration",
    r"State Machine Already Exists",
    r"Resource not found: '.*:1'",
    r"Request references a resource that does not exist",
)
"""Errors of AWS's API that the engine's requests have no room for. `workflow.declare` changes what is there, and
`workflow.alias` sets an alias. No request has an ARN, a token of the caller's making or a list of destinations."""

FIELDS_OF_THE_WIRE = ("variableReferences",)
"""What the wire reads out of a definition, and the engine's requests do not tell."""


def is_of_the_wire(error):
    """Tell whether the wire alone decides that a step is refused."""
    return any(re.search(pattern, error["Message"]) for pattern in OF_THE_WIRE)


def name_of(arn):
    """Give what an ARN names: `machine`, `machine:1`, `machine:execution`."""
    return arn.split(":", 6)[6]


def execution_of(arn):
    workflow, name = name_of(arn).split(":")[:2]
    return {"workflow": workflow, "name": name}


def without_nones(**fields):
    return {name: value for name, value in fields.items() if value is not None}


class InternalStates:
    """A client of Step Functions that asks the engine itself."""

    def __init__(self, ask):
        self._ask = ask

    def __getattribute__(self, operation):
        found = super().__getattribute__(operation)
        if operation.startswith("_"):
            return found

        def call(**params):
            try:
                return found(**params)
            except ForebayError as error:
                raise self._refused(str(error), params) from error

        return call

    def _refused(self, text, params):
        """Name the error as AWS's text begins: `Execution Already Exists: '…'` is `ExecutionAlreadyExists`."""
        text = text.split("\n at ")[0]
        title = text.split(":")[0]
        code = title.replace(" ", "") if re.fullmatch(r"[A-Z]\w+( [A-Z]\w+)+", title) else "ValidationException"
        if code == "InvalidStateMachineDefinition":
            code = "InvalidDefinition"
        if code == "InvalidName":
            text = text.split(" (allowed are")[0]
        if code.endswith("DoesNotExist") and "executionArn" in params:
            code, text = "ExecutionDoesNotExist", f"Execution Does Not Exist: '{params['executionArn']}'"
            return ClientError({"Error": {"Code": code, "Message": text}}, "")
        arn = params.get(
            {"StateMachineDoesNotExist": "stateMachineArn", "ActivityDoesNotExist": "activityArn"}.get(code)
        )
        text = f"{title}: '{arn}'" if arn else text
        return ClientError({"Error": {"Code": code, "Message": text}}, "")

    # --- machines

    def _declared(self, params, before=None):
        before = before or {}
        fields = {"log_level": before.get("log_level", "OFF"), "log_group": before.get("log_group")}
        fields["include_execution_data"] = before.get("include_execution_data", False)
        logging = params.get("loggingConfiguration")
        if logging:
            [destination] = logging["destinations"]
            fields["log_level"], fields["include_execution_data"] = logging["level"], logging["includeExecutionData"]
            fields["log_group"] = destination["cloudWatchLogsLogGroup"]["logGroupArn"].split(":")[6]
        fields["tracing"] = params.get("tracingConfiguration", {}).get("enabled", before.get("tracing", False))
        return without_nones(**fields, role=params.get("roleArn"))

    def _published(self, params, name):
        if not params.get("publish"):
            return {}
        version = self._ask("workflow.publish", name=name, description=params.get("versionDescription", ""))
        return {"stateMachineVersionArn": version["arn"]}

    @staticmethod
    def _revision_id(machine):
        return {"revisionId": f"revision-{machine['revision']}"} if machine["revision"] > 1 else {}

    def create_state_machine(self, **params):
        name = params["name"]
        machine = self._ask(
            "workflow.declare",
            name=name,
            definition=params["definition"],
            type=params.get("type", "STANDARD"),
            **self._declared(params),
        )
        if params.get("tags"):
            self._ask(
                "workflow.annotate", name=name, notes={f"tag:{tag['key']}": tag["value"] for tag in params["tags"]}
            )
        told = {"stateMachineArn": machine["arn"], "creationDate": machine["created_ms"]}
        return {**told, **self._published(params, name)}

    def update_state_machine(self, **params):
        before = self._ask("workflow.describe", name=name_of(params["stateMachineArn"]))
        definition = params.get("definition") or before["definition"]
        fields = self._declared(params, before)
        given = self._ask("workflow.declare", name=before["name"], definition=definition, type=before["type"], **fields)
        told = {"updateDate": given["updated_ms"], **self._revision_id(given)}
        return {**told, **self._published(params, before["name"])}

    def _shown(self, given):
        destinations = [
            {"cloudWatchLogsLogGroup": {"logGroupArn": f"arn:aws:logs:us-east-1:111111111111:log-group:{group}:*"}}
            for group in [given.get("log_group")]
            if group
        ]
        logging = {"level": given["log_level"], "includeExecutionData": given["include_execution_data"]}
        return {
            "stateMachineArn": given["arn"],
            "name": given["name"],
            "definition": given["definition"],
            "roleArn": given["role"],
            "loggingConfiguration": {**logging, **({"destinations": destinations} if destinations else {})},
            "tracingConfiguration": {"enabled": given["tracing"]},
            "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
            **self._revision_id(given),
        }

    def describe_state_machine(self, **params):
        arn = params["stateMachineArn"]
        name, _, version = name_of(arn).partition(":")
        given = self._ask("workflow.describe", name=name_of(arn))
        told = {**self._shown(given), "stateMachineArn": arn, "status": "ACTIVE", "type": given["type"]}
        told["creationDate"] = given["created_ms"]
        if version:
            of = [one for one in self._versions(name) if str(one["version"]) == version]
            told["description"] = of[0]["description"] if of else ""
        return told

    def describe_state_machine_for_execution(self, **params):
        given = self._ask("execution.describe", **execution_of(params["executionArn"]))
        machine = self._ask("workflow.describe", name=given["workflow"], revision=given["revision"])
        return {**self._shown(machine), "updateDate": machine["updated_ms"]}

    def list_state_machines(self, **params):
        rows = sorted(self._ask("workflow.list"), key=lambda one: one["name"])
        rows = [
            {
                "stateMachineArn": one["arn"],
                "name": one["name"],
                "type": one["type"],
                "creationDate": one["created_ms"],
            }
            for one in rows
        ]
        return self._page("stateMachines", rows, params)

    @staticmethod
    def _page(name, rows, params):
        """Cut a page out of a list that the engine gives whole; the wire's tokens are the wire's."""
        first, most = int(params.get("nextToken") or 0), params.get("maxResults") or 100
        more = {"nextToken": str(first + most)} if first + most < len(rows) else {}
        return {name: rows[first : first + most], **more}

    def delete_state_machine(self, **params):
        name = name_of(params["stateMachineArn"])
        if name not in [one["name"] for one in self._ask("workflow.list")]:
            return {}
        listed = self._ask("execution.list", workflow=name, status="RUNNING", limit=100)
        for execution in listed["executions"]:
            self._ask("execution.stop", workflow=name, name=execution["name"])
        return self._ask("workflow.delete", name=name)

    def validate_state_machine_definition(self, **params):
        told = self._ask("workflow.validate", definition=params["definition"], type=params.get("type", "STANDARD"))
        diagnostics = [{"severity": "ERROR", **one} for one in told["problems"]]
        return {"result": "FAIL" if diagnostics else "OK", "diagnostics": diagnostics, "truncated": False}

    # --- versions and aliases

    def _versions(self, name):
        return self._ask("workflow.versions", name=name)["versions"]

    def publish_state_machine_version(self, **params):
        name = name_of(params["stateMachineArn"])
        version = self._ask("workflow.publish", name=name, description=params.get("description", ""))
        return {"creationDate": version["created_ms"], "stateMachineVersionArn": version["arn"]}

    def list_state_machine_versions(self, **params):
        name = name_of(params["stateMachineArn"])
        known = [one["name"] for one in self._ask("workflow.list")]
        versions = self._versions(name) if name in known else []
        rows = [{"stateMachineVersionArn": one["arn"], "creationDate": one["created_ms"]} for one in versions]
        return self._page("stateMachineVersions", rows, params)

    def delete_state_machine_version(self, **params):
        name, version = name_of(params["stateMachineVersionArn"]).split(":")
        if name not in [one["name"] for one in self._ask("workflow.list")]:
            return {}
        return self._ask("workflow.delete_version", name=name, version=int(version))

    @staticmethod
    def _routes(params):
        return [
            {"version": int(item["stateMachineVersionArn"].rsplit(":", 1)[1]), "weight": item["weight"]}
            for item in params["routingConfiguration"]
        ]

    def create_state_machine_alias(self, **params):
        workflow = name_of(params["routingConfiguration"][0]["stateMachineVersionArn"]).split(":")[0]
        fields = without_nones(description=params.get("description"))
        alias = self._ask(
            "workflow.alias", workflow=workflow, name=params["name"], routes=self._routes(params), **fields
        )
        return {"stateMachineAliasArn": alias["arn"], "creationDate": alias["created_ms"]}

    def _alias(self, arn):
        workflow, name = name_of(arn).split(":")
        aliases = self._ask("workflow.versions", name=workflow)["aliases"]
        return workflow, next((one for one in aliases if one["name"] == name), None)

    def describe_state_machine_alias(self, **params):
        arn = params["stateMachineAliasArn"]
        workflow, alias = self._alias(arn)
        machine = self._ask("workflow.describe", name=workflow)["arn"]
        routes = [
            {"stateMachineVersionArn": f"{machine}:{one['version']}", "weight": one["weight"]}
            for one in alias["routes"]
        ]
        described = {"description": alias["description"]} if alias["description"] else {}
        return {
            "stateMachineAliasArn": arn,
            "name": alias["name"],
            "routingConfiguration": routes,
            "creationDate": alias["created_ms"],
            "updateDate": alias["updated_ms"],
            **described,
        }

    def update_state_machine_alias(self, **params):
        workflow, alias = self._alias(params["stateMachineAliasArn"])
        routes = self._routes(params) if params.get("routingConfiguration") else alias["routes"]
        fields = without_nones(description=params.get("description"))
        alias = self._ask("workflow.alias", workflow=workflow, name=alias["name"], routes=routes, **fields)
        return {"updateDate": alias["updated_ms"]}

    def list_state_machine_aliases(self, **params):
        name, _, version = name_of(params["stateMachineArn"]).partition(":")
        aliases = self._ask("workflow.versions", name=name)["aliases"]
        if version:
            aliases = [one for one in aliases if version in [str(route["version"]) for route in one["routes"]]]
        rows = [{"stateMachineAliasArn": one["arn"], "creationDate": one["created_ms"]} for one in aliases]
        return self._page("stateMachineAliases", sorted(rows, key=lambda one: one["stateMachineAliasArn"]), params)

    def delete_state_machine_alias(self, **params):
        workflow, alias = self._alias(params["stateMachineAliasArn"])
        return self._ask("workflow.delete_alias", workflow=workflow, name=alias["name"]) if alias else {}

    # --- executions

    def _start(self, verb, params):
        workflow = name_of(params["stateMachineArn"])
        fields = without_nones(name=params.get("name"))
        return self._ask(verb, workflow=workflow, input=params.get("input", "{}"), **fields)

    def start_execution(self, **params):
        started = self._start("execution.start", params)
        return {"executionArn": started["arn"], "startDate": started["started_ms"]}

    def start_sync_execution(self, **params):
        ended = self._start("execution.start_sync", params)
        names = {"executionArn": "arn", "startDate": "started_ms", "stopDate": "stopped_ms"}
        told = {name: ended[of] for name, of in names.items()}
        told |= {
            name: ended[name] for name in ("name", "status", "input", "output", "error", "cause") if ended.get(name)
        }
        told |= {"stateMachineArn": params["stateMachineArn"], "inputDetails": {"included": True}}
        took_ms = ended["stopped_ms"] - ended["started_ms"]
        billed = {"billedMemoryUsedInMB": 64, "billedDurationInMilliseconds": took_ms}
        return {**told, "outputDetails": {"included": True}, "billingDetails": billed}

    def _listed(self, given):
        machine = self._ask("workflow.describe", name=given["workflow"])["arn"]
        told = {"executionArn": given["arn"], "name": given["name"], "status": given["status"]}
        told |= {"startDate": given["started_ms"], "stateMachineArn": machine, "redriveCount": given["redrive_count"]}
        told |= without_nones(stopDate=given.get("stopped_ms"), redriveDate=given.get("redriven_ms"))
        if given.get("version"):
            told["stateMachineVersionArn"] = f"{machine}:{given['version']}"
        if given.get("alias"):
            told["stateMachineAliasArn"] = f"{machine}:{given['alias']}"
        return told

    def describe_execution(self, **params):
        given = self._ask("execution.describe", **execution_of(params["executionArn"]))
        told = {**self._listed(given), "input": given["input"], "inputDetails": {"included": True}}
        told |= without_nones(output=given.get("output"), error=given.get("error"), cause=given.get("cause"))
        if given.get("output") is not None:
            told["outputDetails"] = {"included": True}
        reason = given["redrive_status_reason"]
        return told | without_nones(redriveStatus=given["redrive_status"], redriveStatusReason=reason)

    def list_executions(self, **params):
        name, _, qualifier = name_of(params["stateMachineArn"]).partition(":")
        of = {"version": int(qualifier)} if qualifier.isdecimal() else without_nones(alias=qualifier or None)
        asked = without_nones(status=params.get("statusFilter"), after=params.get("nextToken"))
        given = self._ask("execution.list", workflow=name, limit=params.get("maxResults") or 100, **of, **asked)
        told = {"executions": [self._listed(one) for one in given["executions"]]}
        return {**told, **without_nones(nextToken=given.get("next"))}

    def get_execution_history(self, **params):
        asked = {
            "limit": params.get("maxResults") or 1_000,
            "without_data": params.get("includeExecutionData") is False,
        }
        page = self._ask("execution.history", **execution_of(params["executionArn"]), **asked)
        events = page["events"]
        return {"events": events[::-1] if params.get("reverseOrder") else events}

    def stop_execution(self, **params):
        fields = without_nones(error=params.get("error"), cause=params.get("cause"))
        stopped = self._ask("execution.stop", **execution_of(params["executionArn"]), **fields)
        return {"stopDate": stopped["stopped_ms"]}

    # --- activities and tokens

    @staticmethod
    def _activity(given):
        return {"activityArn": given["arn"], "creationDate": given["created_ms"]}

    def create_activity(self, **params):
        given = self._ask("activity.declare", name=params["name"])
        if params.get("tags"):
            notes = {f"tag:{tag['key']}": tag["value"] for tag in params["tags"]}
            self._ask("activity.annotate", name=params["name"], notes=notes)
        return self._activity(given)

    def describe_activity(self, **params):
        given = self._ask("activity.describe", name=name_of(params["activityArn"]))
        encryption = {"encryptionConfiguration": {"type": "AWS_OWNED_KEY"}}
        return {**self._activity(given), "name": given["name"], **encryption}

    def delete_activity(self, **params):
        name = name_of(params["activityArn"])
        known = [one["name"] for one in self._ask("activity.list")]
        return self._ask("activity.delete", name=name) if name in known else {}

    def get_activity_task(self, **params):
        worker = without_nones(worker=params.get("workerName"))
        task = self._ask("activity.get_task", name=name_of(params["activityArn"]), wait_ms=10_000, **worker)
        return {"taskToken": task["token"], "input": task["input"]} if task else {}

    def send_task_success(self, **params):
        return self._ask("task.succeed", token=params["taskToken"], output=params["output"])

    def send_task_heartbeat(self, **params):
        return self._ask("task.heartbeat", token=params["taskToken"])

    # --- tags

    def _tagged(self, arn):
        kind = "activity" if ":activity:" in arn else "workflow"
        return kind, self._ask(f"{kind}.describe", name=name_of(arn))

    def tag_resource(self, **params):
        kind, given = self._tagged(params["resourceArn"])
        notes = {f"tag:{tag['key']}": tag["value"] for tag in params["tags"]}
        self._ask(f"{kind}.annotate", name=given["name"], notes=notes)
        return {}

    def untag_resource(self, **params):
        kind, given = self._tagged(params["resourceArn"])
        self._ask(f"{kind}.annotate", name=given["name"], notes={f"tag:{key}": None for key in params["tagKeys"]})
        return {}

    def list_tags_for_resource(self, **params):
        _, given = self._tagged(params["resourceArn"])
        tags = {note.removeprefix("tag:"): text for note, text in given["notes"].items() if note.startswith("tag:")}
        return {"tags": [{"key": key, "value": value} for key, value in sorted(tags.items())]}
