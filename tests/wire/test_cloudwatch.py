"""CloudWatch by boto3: the runtime's own metrics, and values that others put."""

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from test_door import ask, signed
from wire_app import served


@pytest.fixture
def wire(make_app):
    app = make_app()
    app.api_destination("crm", "http://127.0.0.1:9/")

    @app.function()
    async def work(event, context):
        return event

    with served(app) as running:
        yield running


@pytest.fixture
def cloudwatch(wire):
    return wire.client("cloudwatch")


def window():
    now = datetime.now(UTC)
    return {"StartTime": now - timedelta(minutes=10), "EndTime": now + timedelta(minutes=1)}


def test_values_that_are_put_are_kept_with_their_percentiles(cloudwatch):
    dimensions = [{"Name": "Page", "Value": "cart"}, {"Name": "Area", "Value": "eu"}]
    data = [
        {"MetricName": "Latency", "Dimensions": dimensions, "Value": float(value), "Unit": "Milliseconds"}
        for value in range(1, 101)
    ]
    cloudwatch.put_metric_data(Namespace="Shop", MetricData=data)
    asked = {"Namespace": "Shop", "MetricName": "Latency", "Dimensions": list(reversed(dimensions))}
    answer = cloudwatch.get_metric_statistics(
        **asked,
        **window(),
        Period=3600,
        Statistics=["SampleCount", "Sum", "Minimum", "Maximum", "Average"],
        ExtendedStatistics=["p50", "p99"],
    )
    (point,) = merged(answer["Datapoints"])
    assert (point["SampleCount"], point["Sum"], point["Minimum"], point["Maximum"]) == (100, 5050, 1, 100)
    assert point["Average"] == pytest.approx(50.5)
    assert point["ExtendedStatistics"]["p99"] == pytest.approx(99, rel=0.01)
    query = {"Id": "m", "MetricStat": {"Metric": asked, "Period": 3600, "Stat": "Sum"}}
    (result,) = cloudwatch.get_metric_data(MetricDataQueries=[query], **window())["MetricDataResults"]
    assert (sum(result["Values"]), result["StatusCode"], result["Label"]) == (5050, "Complete", "Latency")
    (listed,) = cloudwatch.list_metrics(Namespace="Shop")["Metrics"]
    assert listed["MetricName"] == "Latency"
    assert sorted(listed["Dimensions"], key=lambda one: one["Name"]) == sorted(dimensions, key=lambda one: one["Name"])
    other = {**asked, "Dimensions": dimensions[:1]}
    none = cloudwatch.get_metric_statistics(**other, **window(), Period=3600, Statistics=["Sum"])
    assert none["Datapoints"] == [], "other dimensions are another metric"


def test_values_are_told_in_the_unit_in_which_they_were_put(cloudwatch):
    data = [{"MetricName": "Took", "Value": 3.0, "Unit": unit} for unit in ("Milliseconds", "Seconds")]
    cloudwatch.put_metric_data(Namespace="Shop", MetricData=[*data, {"MetricName": "Took", "Value": 9.0}])
    asked = {"Namespace": "Shop", "MetricName": "Took", **window(), "Period": 86_400, "Statistics": ["Sum", "Maximum"]}
    told = cloudwatch.get_metric_statistics(**asked)["Datapoints"]
    if len({point["Timestamp"] for point in told}) > 1:
        pytest.skip("a day ended in the middle of the test")
    told = sorted((point["Unit"], point["Sum"], point["Maximum"]) for point in told)
    assert told == [("Milliseconds", 3, 3), ("None", 9, 9), ("Seconds", 3, 3)]
    (seconds,) = cloudwatch.get_metric_statistics(**asked, Unit="Seconds")["Datapoints"]
    assert (seconds["Unit"], seconds["Sum"]) == ("Seconds", 3)


def merged(datapoints):
    """Give the points; an hour that ended meanwhile would make two of one."""
    assert datapoints, "there is one"
    return datapoints[:1] if len(datapoints) == 1 else pytest.skip("an hour ended in the middle of the test")


def test_the_runtimes_own_metrics_are_asked_for_by_their_names_on_aws(cloudwatch, wire):
    functions = wire.client("lambda")
    for _ in range(3):
        functions.invoke(FunctionName="work")
    query = {
        "Id": "invocations",
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/Lambda",
                "MetricName": "Invocations",
                "Dimensions": [{"Name": "FunctionName", "Value": "work"}],
            },
            "Period": 60,
            "Stat": "Sum",
        },
    }
    (result,) = cloudwatch.get_metric_data(MetricDataQueries=[query], **window())["MetricDataResults"]
    assert sum(result["Values"]) == 3
    listed = cloudwatch.list_metrics(Namespace="AWS/Lambda", MetricName="Duration")["Metrics"]
    assert listed == [
        {
            "Namespace": "AWS/Lambda",
            "MetricName": "Duration",
            "Dimensions": [{"Name": "FunctionName", "Value": "work"}],
        }
    ]
    names = set()
    for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace="AWS/Lambda"):
        dimensions = [one for metric in page["Metrics"] for one in metric["Dimensions"]]
        names |= {one["Value"] for one in dimensions if one["Name"] == "FunctionName"}
    assert names == {"work"}, "an API destination is not a function"
    own = {"Service": "lambda", "Operation": "Invoke"}
    answer = cloudwatch.get_metric_statistics(
        Namespace="Forebay",
        MetricName="AwsRequests",
        Dimensions=[{"Name": name, "Value": value} for name, value in own.items()],
        **window(),
        Period=3600,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in answer["Datapoints"]) == 3
    asked = {"Namespace": "AWS/Lambda", "MetricName": "Duration", **window(), "Period": 3600, "Statistics": ["Sum"]}
    in_units = {
        unit: len(cloudwatch.get_metric_statistics(**asked, Unit=unit)["Datapoints"])
        for unit in ("Milliseconds", "Seconds")
    }
    assert in_units["Milliseconds"] > 0, "its own unit"
    assert in_units["Seconds"] == 0
    names = [
        metric["MetricName"]
        for page in cloudwatch.get_paginator("list_metrics").paginate()
        for metric in page["Metrics"]
    ]
    assert "Invocations" in names


def test_what_cannot_be_kept_is_refused_whole(cloudwatch):
    good = {"MetricName": "m", "Value": 1.0}
    for wrong, code in [
        ({"MetricName": "m", "Value": -1.0}, "InvalidParameterValue"),
        ({"MetricName": "m"}, "InvalidParameterCombination"),
        (
            {"MetricName": "m", "Value": 1.0, "Timestamp": datetime.now(UTC) - timedelta(hours=1)},
            "InvalidParameterValue",
        ),
        ({"MetricName": "m", "Values": [1.0, 2.0], "Counts": [1.0]}, "InvalidParameterValue"),
        ({"MetricName": "m", "Value": 1.0, "StorageResolution": 5}, "InvalidParameterValue"),
    ]:
        with pytest.raises(ClientError) as raised:
            cloudwatch.put_metric_data(Namespace="Shop", MetricData=[good, wrong])
        assert raised.value.response["Error"]["Code"] == code
    assert cloudwatch.list_metrics(Namespace="Shop")["Metrics"] == []
    with pytest.raises(ClientError, match="Namespace is invalid"):
        cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=[good])
    with pytest.raises(ClientError, match="expressions"):
        cloudwatch.get_metric_data(MetricDataQueries=[{"Id": "e", "Expression": "1"}], **window())


def test_older_clients_and_go_are_answered_in_their_protocols(wire, cloudwatch):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = (
        b"Action=PutMetricData&Version=2010-08-01&Namespace=Old&MetricData.member.1.MetricName=m"
        b"&MetricData.member.1.Value=3&MetricData.member.1.Dimensions.member.1.Name=a"
        b"&MetricData.member.1.Dimensions.member.1.Value=b"
    )
    status, _, told = ask(wire.port, signed(wire, form, body, service="monitoring"), body)
    assert status == 200 and b"<PutMetricDataResponse" in told
    path = "/service/GraniteServiceVersion20100801/operation/ListMetrics"
    cbor = {"Content-Type": "application/cbor", "Smithy-Protocol": "rpc-v2-cbor", "Content-Encoding": "gzip"}
    body = gzip.compress(b"\xbf\x69Namespace\x63Old\xff")
    status, headers, told = ask(wire.port, signed(wire, cbor, body, service="monitoring", path=path), body, path=path)
    assert (status, headers["Content-Type"], headers["smithy-protocol"]) == (200, "application/cbor", "rpc-v2-cbor")
    assert b"MetricName" in told and b"Old" in told
