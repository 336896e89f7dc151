"""What tasks call outside of the store: EMR over a fake cluster, HTTP endpoints, AWS's services, files of distributed Maps."""

import asyncio
import gzip
import http.server
import json
import sys
import threading

import pytest

from forebay import ExecutionFailed, InvalidParameterValue
from forebay.integrations import ApiKey, AwsSdk, BasicAuth, Emr, Http, ObjectStore, StillRunning, Submitted, TaskError
from forebay.testing import FakeCluster


def machine(**states):
    return {"StartAt": next(iter(states)), "States": states}


def task(resource, parameters=None, **fields):
    given = {} if parameters is None else {"Parameters": parameters}
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", **given, **fields}


STEP = {"ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["bash", "-c", "ls"]}}


def emr_sample():
    """As Step Functions' sample project for EMR: a cluster, two steps, the end of the cluster."""
    return machine(
        Create=task(
            "elasticmapreduce:createCluster.sync",
            {"Name.$": "$.name", "ReleaseLabel": "emr-5.26.0", "Applications": [{"Name": "Hive"}], "Instances": {}},
            ResultPath="$.cluster",
            Next="Protect",
        ),
        Protect=task(
            "elasticmapreduce:setClusterTerminationProtection",
            {"ClusterId.$": "$.cluster.ClusterId", "TerminationProtected": True},
            ResultPath=None,
            Next="First",
        ),
        First=task(
            "elasticmapreduce:addStep.sync",
            {"ClusterId.$": "$.cluster.ClusterId", "Step": {"Name": "first", **STEP}},
            ResultPath="$.first",
            Next="Second",
        ),
        Second=task(
            "elasticmapreduce:addStep.sync",
            {"ClusterId.$": "$.cluster.ClusterId", "Step": {"Name": "second", **STEP}},
            Catch=[{"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.failed", "Next": "Unprotect"}],
            ResultPath="$.second",
            Next="Unprotect",
        ),
        Unprotect=task(
            "elasticmapreduce:setClusterTerminationProtection",
            {"ClusterId.$": "$.cluster.ClusterId", "TerminationProtected": False},
            ResultPath=None,
            Next="Terminate",
        ),
        Terminate=task(
            "elasticmapreduce:terminateCluster.sync",
            {"ClusterId.$": "$.cluster.ClusterId"},
            ResultPath=None,
            End=True,
        ),
    )


async def until(clock, execution, seconds=120):
    """Let time pass until an execution has ended. Calls to services run in threads, which virtual time does not wait for."""
    result = asyncio.ensure_future(execution.result())
    for _ in range(seconds * 10):
        await clock.advance(1)
        if result.done():
            break
        await asyncio.sleep(0.01)
    return await result


@pytest.mark.parametrize("failing", [(), ("second",)])
async def test_the_emr_sample_runs_on_a_fake_cluster(app, clock, failing):
    cluster = FakeCluster(failing=failing)
    app.integrate(Emr(cluster))
    flow = app.workflow("emr", emr_sample())
    async with app:
        execution = await flow.start({"name": "nightly"})
        output = await until(clock, execution)
        kinds = [event["type"] async for event in execution.history()]
    assert output["cluster"]["ClusterId"] in cluster.clusters
    assert output["cluster"]["Cluster"]["Status"]["State"] == "WAITING"
    assert output["first"]["Step"]["Status"]["State"] == "COMPLETED"
    assert ("failed" in output) == bool(failing)
    assert next(iter(cluster.clusters.values()))["Status"]["State"] == "TERMINATED"
    assert kinds.count("TaskSubmitted") == 4
    assert [name for name, _ in cluster.calls if not name.startswith("describe")] == [
        "run_job_flow",
        "set_termination_protection",
        "add_job_flow_steps",
        "add_job_flow_steps",
        "set_termination_protection",
        "terminate_job_flows",
    ]


async def test_the_other_actions_of_emr(app, clock):
    cluster = FakeCluster(fleets=("Core",))
    app.integrate(Emr(cluster))
    of_cluster = {"ClusterId.$": "$.ClusterId"}
    flow = app.workflow(
        "emr",
        machine(
            Create=task("elasticmapreduce:createCluster", {"Name": "c", "Instances": {}}, Next="Add"),
            Add=task(
                "elasticmapreduce:addStep",
                {**of_cluster, "Step": {"Name": "s", **STEP}},
                ResultPath="$.step",
                Next="Cancel",
            ),
            Cancel=task(
                "elasticmapreduce:cancelStep",
                {**of_cluster, "StepId.$": "$.step.StepId"},
                ResultPath="$.told",
                Next="Fleet",
            ),
            Fleet=task(
                "elasticmapreduce:modifyInstanceFleetByName",
                {**of_cluster, "InstanceFleetName": "Core", "InstanceFleet": {"TargetOnDemandCapacity": 8}},
                ResultPath=None,
                Next="Group",
            ),
            Group=task(
                "elasticmapreduce:modifyInstanceGroupByName",
                {**of_cluster, "InstanceGroupName": "None", "InstanceGroup": {"InstanceCount": 8}},
                Catch=[
                    {"ErrorEquals": ["ElasticMapReduce.InvalidRequestException"], "ResultPath": "$.none", "Next": "End"}
                ],
                Next="End",
            ),
            End=task("elasticmapreduce:terminateCluster", of_cluster, ResultPath=None, End=True),
        ),
    )
    async with app:
        output = await until(clock, await flow.start())
    assert output["told"]["CancelStepsInfo"]["Status"] == "SUBMITTED"
    assert "has no InstanceGroup 'None'" in output["none"]["Cause"]
    changed = next(given for name, given in cluster.calls if name == "modify_instance_fleet")
    assert changed["InstanceFleet"] == {"TargetOnDemandCapacity": 8, "InstanceFleetId": "if-Core"}


async def test_a_stopped_execution_cancels_its_step_and_leaves_the_cluster(app, clock):
    class Slow(FakeCluster):
        def describe_step(self, **given):
            return {"Step": {**self.steps[given["StepId"]]}}

    cluster = Slow()
    app.integrate(Emr(cluster))
    flow = app.workflow("emr", emr_sample())
    async with app:
        execution = await flow.start({"name": "nightly"})
        for _ in range(600):
            await clock.advance(1)
            await asyncio.sleep(0.01)
            if cluster.steps:
                break
        await clock.advance(1)
        await asyncio.sleep(0.05)
        await clock.settle()
        await execution.stop()
        for _ in range(100):
            await clock.advance(1)
            await asyncio.sleep(0.01)
            if any(name == "cancel_steps" for name, _ in cluster.calls):
                break
    assert next(iter(cluster.steps.values()))["Status"]["State"] == "CANCELLED"
    assert next(iter(cluster.clusters.values()))["Status"]["State"] == "WAITING"


class Answers(http.server.BaseHTTPRequestHandler):
    """Tells what it was asked."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        told = {"path": self.path, "authorization": self.headers.get("Authorization"), "key": self.headers.get("X-Key")}
        status = 503 if self.path.startswith("/busy") else 200
        data = json.dumps({**told, "body": body, "type": self.headers.get("Content-Type")}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


async def test_http_endpoints_are_called_with_the_authorization_of_a_connection(app, clock, endpoint):
    app.integrate(Http({"bank": BasicAuth("ann", "secret"), "shop": ApiKey("X-Key", "k1")}))
    connection = "arn:aws:events:local:000000000000:connection"

    def call(name, path, **more):
        given = {
            "ApiEndpoint": endpoint + path,
            "Method": "POST",
            "Authentication": {"ConnectionArn": f"{connection}/{name}/1234"},
            "RequestBody.$": "$.order",
            **more,
        }
        return task("http:invoke", given)

    form = {"RequestBodyEncoding": "URL_ENCODED", "RequestEncodingOptions": {"ArrayFormat": "BRACKETS"}}
    flow = app.workflow(
        "pay",
        machine(
            Pay={**call("bank", "/pay", QueryParameters={"a": "1"}), "ResultPath": "$.paid", "Next": "Tell"},
            Tell={**call("shop", "/tell", Transform=form), "ResultPath": "$.told", "Next": "Ask"},
            Ask={
                **call("bank", "/busy"),
                "Catch": [{"ErrorEquals": ["States.Http.StatusCode.503"], "ResultPath": "$.busy", "Next": "Other"}],
                "End": True,
            },
            Other={**call("nobody", "/pay"), "End": True},
        ),
    )
    async with app:
        execution = await flow.start({"order": {"item": "lamp", "n": [1, 2]}})
        with pytest.raises(ExecutionFailed) as failed:
            await until(clock, execution)
        exits = [e["stateExitedEventDetails"] async for e in execution.history() if "stateExitedEventDetails" in e]
    assert failed.value.error == "Events.ConnectionResource.InvalidConnectionState"
    output = json.loads(exits[-1]["output"])
    paid, told = output["paid"], output["told"]["ResponseBody"]
    assert (paid["StatusCode"], paid["StatusText"]) == (200, "OK")
    assert paid["ResponseBody"]["path"] == "/pay?a=1"
    assert paid["ResponseBody"]["authorization"] == "Basic YW5uOnNlY3JldA=="
    assert json.loads(paid["ResponseBody"]["body"]) == {"item": "lamp", "n": [1, 2]}
    assert (told["key"], told["body"]) == ("k1", "item=lamp&n%5B%5D=1&n%5B%5D=2")
    assert "secret" not in repr(BasicAuth("ann", "secret"))


async def test_services_are_called_through_boto3(app, clock):
    boto3 = pytest.importorskip("boto3")
    from botocore.stub import Stubber

    client = boto3.client("logs", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")  # noqa: S106 - of a stub
    stubber = Stubber(client)
    stubber.add_response("create_log_group", {}, {"logGroupName": "g"})
    stubber.add_client_error("create_log_group", "ResourceAlreadyExistsException", "It is there.", 400)
    stubber.activate()
    app.integrate(AwsSdk(lambda service: {"logs": client}[service]))
    once = task("aws-sdk:cloudwatchlogs:createLogGroup", {"LogGroupName.$": "$.name"})
    flow = app.workflow("group", machine(One={**once, "ResultPath": None, "Next": "Two"}, Two={**once, "End": True}))
    async with app:
        with pytest.raises(ExecutionFailed) as failed:
            await until(clock, await flow.start({"name": "g"}))
    assert failed.value.error == "CloudWatchLogs.ResourceAlreadyExistsException"
    assert failed.value.cause.startswith("It is there. (Service: CloudWatchLogs, Status Code: 400")


async def test_what_no_integration_calls_is_refused_with_its_place(app):
    app.workflow("s", machine(A=task("sagemaker:createTrainingJob", {}, End=True)))
    with pytest.raises(
        InvalidParameterValue, match=r"/States/A/Resource: .*sagemaker:createTrainingJob.*App.integrate"
    ):
        async with app:
            pass


async def test_an_extra_that_is_missing_is_named_with_what_needs_it(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    said = r"calls elasticmapreduce: boto3 is not installed: pip install \"forebay\[aws\]\""
    with pytest.raises(InvalidParameterValue, match=said):
        app.workflow("w", machine(A=task("elasticmapreduce:createCluster.sync", {}, End=True)))


async def test_an_integration_of_ones_own_runs_a_job(app, clock):
    asked = []

    class Oven:
        resources = ("oven:bake.sync",)

        async def call(self, call):
            if call.parameters["what"] == "stone":
                raise TaskError("Oven.CannotBake", "a stone")
            return Submitted({"Job": 1}, {"id": call.id})

        async def poll(self, call, job):
            asked.append((clock.monotonic(), job))
            return StillRunning(30) if len(asked) < 3 else {"baked": True}

        async def stop(self, call, job):
            asked.append("stop")

    app.integrate(Oven())
    with pytest.raises(InvalidParameterValue, match=r"oven:bake\.sync is already called by another"):
        app.integrate(Oven())
    flow = app.workflow("oven", machine(Bake=task("oven:bake.sync", {"what.$": "$.what"}, End=True)))
    async with app:
        execution = await flow.start({"what": "bread"})
        await clock.advance(70)
        assert await execution.result() == {"baked": True}
        times = [when for when, _ in asked]
        assert [round(when - times[0]) for when in times] == [0, 30, 60]
        assert asked[0][1]["id"].startswith(execution.arn)
        with pytest.raises(ExecutionFailed, match=r"Oven\.CannotBake"):
            await until(clock, await flow.start({"what": "stone"}))


def a_map(reader, writer=None, execution_type="EXPRESS", **fields):
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": execution_type},
        **machine(One={"Type": "Pass", "End": True}),
    }
    state = {"Type": "Map", "ItemProcessor": processor, "ItemReader": reader, "End": True, **fields}
    return machine(Map={**state, "ResultWriter": writer} if writer else state)


def reader(key, **config):
    return {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": config,
        "Parameters": {"Bucket": "in", "Key": key},
    }


WRITER = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "out", "Prefix": "done"}}


@pytest.mark.parametrize(
    "given",
    [
        ("a.json", json.dumps([{"n": n} for n in range(1500)]), {"InputType": "JSON"}, {"n": 0}),
        ("a.jsonl", "\n".join(f'{{"n": {n}}}' for n in range(1500)), {"InputType": "JSONL"}, {"n": 0}),
        (
            "a.csv",
            "n,name\n" + "".join(f"{n},x\n" for n in range(1500)),
            {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
            {"n": "0", "name": "x"},
        ),
    ],
)
async def test_items_are_read_from_files_and_results_written_to_files(app, clock, tmp_path, given):
    name, data, config, first = given
    store = ObjectStore(tmp_path)
    await store.put("in", name, data.encode())
    app.integrate(store)
    flow = app.workflow("each", a_map(reader(name, **config), WRITER))
    async with app:
        output = await until(clock, await flow.start())
    details = output["ResultWriterDetails"]
    assert details["Bucket"] == "out"
    manifest = json.loads((tmp_path / "out" / details["Key"]).read_text())
    assert manifest["ResultFiles"]["FAILED"] == []
    files = [tmp_path / "out" / file["Key"] for file in manifest["ResultFiles"]["SUCCEEDED"]]
    children = [child for file in files for child in json.loads(file.read_text())]
    assert len(children) == 1500
    assert [child["Name"] for child in children[:3]] == ["0", "1", "2"]
    assert json.loads(children[0]["Input"]) == first
    assert children[0]["Status"] == "SUCCEEDED"


async def test_batches_and_failures_that_are_borne(app, clock, tmp_path):
    store = ObjectStore(tmp_path)
    await store.put("in", "a.jsonl", b"\n".join(b'{"n": %d}' % n for n in range(10)))
    app.integrate(store)
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        **machine(
            Look={
                "Type": "Choice",
                "Choices": [{"Variable": "$.Items[0].n", "NumericEquals": 4, "Next": "No"}],
                "Default": "Yes",
            },
            Yes={"Type": "Succeed"},
            No={"Type": "Fail", "Error": "Odd"},
        ),
    }
    state = {
        "Type": "Map",
        "ItemProcessor": processor,
        "ItemReader": reader("a.jsonl", InputType="JSONL"),
        "ItemBatcher": {"MaxItemsPerBatch": 2, "BatchInput": {"k": 1}},
        "MaxConcurrency": 2,
        "ResultWriter": WRITER,
        "End": True,
    }
    # The batch that fails has two items.
    borne = app.workflow("borne", machine(Map={**state, "ToleratedFailureCount": 2}))
    strict = app.workflow("strict", machine(Map={**state, "ToleratedFailureCount": 1}))
    async with app:
        output = await until(clock, await borne.start())
        with pytest.raises(ExecutionFailed, match=r"States\.ExceedToleratedFailureThreshold"):
            await until(clock, await strict.start())
    manifest = json.loads((tmp_path / "out" / output["ResultWriterDetails"]["Key"]).read_text())
    failed = json.loads((tmp_path / "out" / manifest["ResultFiles"]["FAILED"][0]["Key"]).read_text())
    assert [(one["Name"], one["Error"]) for one in failed] == [("2", "Odd")]
    assert json.loads(failed[0]["Input"]) == {"BatchInput": {"k": 1}, "Items": [{"n": 4}, {"n": 5}]}


async def test_the_files_of_a_bucket_and_of_an_inventory_are_items(app, clock, tmp_path):
    store = ObjectStore(tmp_path)
    for name in ("b", "a", "c/d"):
        await store.put("in", f"data/{name}", b"x")
    rows = gzip.compress(b'"in","data/a"\n"in","data/b"\n')
    await store.put("in", "inventory/1.csv.gz", rows)
    listed = {
        "fileSchema": "Bucket, Key",
        "destinationBucket": "arn:aws:s3:::in",
        "files": [{"key": "inventory/1.csv.gz"}],
    }
    await store.put("in", "inventory/manifest.json", json.dumps(listed).encode())
    app.integrate(store)
    listing = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": "in", "Prefix": "data/"}}
    keys = app.workflow("keys", a_map(listing, ItemSelector={"key.$": "$$.Map.Item.Value.Key"}))
    manifest = reader("inventory/manifest.json", InputType="MANIFEST")
    rows_of = app.workflow("rows", a_map(manifest))
    gone = app.workflow("gone", a_map(reader("none.json", InputType="JSON")))
    async with app:
        assert await until(clock, await keys.start()) == [{"key": f"data/{name}"} for name in ("a", "b", "c/d")]
        assert await until(clock, await rows_of.start()) == [
            {"Bucket": "in", "Key": "data/a"},
            {"Bucket": "in", "Key": "data/b"},
        ]
        with pytest.raises(ExecutionFailed, match=r"States\.ItemReaderFailed"):
            await until(clock, await gone.start())
    with pytest.raises(InvalidParameterValue, match="stays in its directory"):
        await store.get("in", "../secret")
