"""Write the tables of AWS's operations that the wire API reads: `rust/doors/src/aws/models`, out of the installed botocore.

A table has botocore's own form without prose, cut down to the operations that are served; each operation and each shape stands on
a line of its own, so that a new botocore is a diff that can be read. The names of all other operations stand there, too: they are
answered with 501.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import botocore

DATA = Path(botocore.__file__).parent / "data"
TABLES = Path(__file__).parents[1] / "rust/doors/src/aws/models"
METADATA = [
    "apiVersion",
    "awsQueryCompatible",
    "endpointPrefix",
    "jsonVersion",
    "protocol",
    "signingName",
    "targetPrefix",
    "xmlNamespace",
]
OPERATION = ["http", "input", "output", "errors"]
DROPPED = {
    "documentation",
    "deprecated",
    "deprecatedMessage",
    "deprecatedSince",
    "synthetic",
    "xmlOrder",
    "sensitive",
    "box",
    "contextParam",
}

Shape = dict[str, Any]

SERVED = {
    "sqs/2012-11-05": """
        CreateQueue GetQueueUrl ListQueues GetQueueAttributes SetQueueAttributes DeleteQueue PurgeQueue SendMessage
        SendMessageBatch ReceiveMessage DeleteMessage DeleteMessageBatch ChangeMessageVisibility
        ChangeMessageVisibilityBatch TagQueue UntagQueue ListQueueTags ListDeadLetterSourceQueues StartMessageMoveTask
        ListMessageMoveTasks CancelMessageMoveTask AddPermission RemovePermission""",
    "kinesis/2013-12-02": """
        CreateStream DeleteStream DescribeStream DescribeStreamSummary ListStreams ListShards PutRecord PutRecords
        GetShardIterator GetRecords UpdateShardCount IncreaseStreamRetentionPeriod DecreaseStreamRetentionPeriod AddTagsToStream
        RemoveTagsFromStream ListTagsForStream TagResource UntagResource ListTagsForResource DescribeLimits SplitShard MergeShards
        RegisterStreamConsumer DeregisterStreamConsumer DescribeStreamConsumer ListStreamConsumers SubscribeToShard
        DescribeAccountSettings UpdateStreamMode""",
    "sns/2010-03-31": """
        CreateTopic DeleteTopic ListTopics GetTopicAttributes SetTopicAttributes Subscribe Unsubscribe ListSubscriptions
        ListSubscriptionsByTopic GetSubscriptionAttributes SetSubscriptionAttributes Publish PublishBatch TagResource
        UntagResource ListTagsForResource""",
    "lambda/2015-03-31": """
        Invoke GetFunction GetFunctionConfiguration ListFunctions ListVersionsByFunction CreateEventSourceMapping
        GetEventSourceMapping ListEventSourceMappings UpdateEventSourceMapping DeleteEventSourceMapping PutFunctionConcurrency
        GetFunctionConcurrency DeleteFunctionConcurrency CreateAlias GetAlias ListAliases UpdateAlias GetAccountSettings
        InvokeAsync InvokeWithResponseStream PutFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig
        GetFunctionEventInvokeConfig DeleteFunctionEventInvokeConfig ListFunctionEventInvokeConfigs
        PutProvisionedConcurrencyConfig GetProvisionedConcurrencyConfig DeleteProvisionedConcurrencyConfig
        ListProvisionedConcurrencyConfigs GetFunctionCodeSigningConfig GetFunctionRecursionConfig GetRuntimeManagementConfig
        GetPolicy CreateFunctionUrlConfig GetFunctionUrlConfig UpdateFunctionUrlConfig DeleteFunctionUrlConfig
        ListFunctionUrlConfigs DeleteAlias ListTags PublishVersion""",
    "sts/2011-06-15": "GetCallerIdentity",
    "events/2015-10-07": """
        PutEvents PutRule DescribeRule ListRules EnableRule DisableRule DeleteRule PutTargets RemoveTargets ListTargetsByRule
        ListRuleNamesByTarget TestEventPattern CreateEventBus DescribeEventBus ListEventBuses DeleteEventBus CreateArchive
        DescribeArchive ListArchives UpdateArchive DeleteArchive StartReplay DescribeReplay ListReplays CancelReplay
        UpdateEventBus TagResource UntagResource ListTagsForResource PutPermission RemovePermission CreateConnection
        UpdateConnection DescribeConnection ListConnections DeauthorizeConnection DeleteConnection CreateApiDestination
        UpdateApiDestination DescribeApiDestination ListApiDestinations DeleteApiDestination""",
    "scheduler/2021-06-30": """
        CreateSchedule GetSchedule ListSchedules UpdateSchedule DeleteSchedule CreateScheduleGroup GetScheduleGroup
        ListScheduleGroups DeleteScheduleGroup TagResource UntagResource ListTagsForResource""",
    "secretsmanager/2017-10-17": "BatchGetSecretValue DescribeSecret GetSecretValue ListSecrets",
    "stepfunctions/2016-11-23": """
        CreateStateMachine UpdateStateMachine DescribeStateMachine DescribeStateMachineForExecution ListStateMachines
        DeleteStateMachine ValidateStateMachineDefinition TestState PublishStateMachineVersion ListStateMachineVersions
        DeleteStateMachineVersion CreateStateMachineAlias DescribeStateMachineAlias UpdateStateMachineAlias
        ListStateMachineAliases DeleteStateMachineAlias StartExecution StartSyncExecution DescribeExecution ListExecutions
        GetExecutionHistory StopExecution RedriveExecution ListMapRuns DescribeMapRun CreateActivity DescribeActivity
        ListActivities DeleteActivity GetActivityTask SendTaskSuccess SendTaskFailure SendTaskHeartbeat TagResource UntagResource
        ListTagsForResource""",
    "schemas/2019-12-02": """
        CreateRegistry DescribeRegistry UpdateRegistry DeleteRegistry ListRegistries CreateSchema UpdateSchema DescribeSchema
        DeleteSchema DeleteSchemaVersion ListSchemas ListSchemaVersions SearchSchemas ExportSchema GetDiscoveredSchema
        CreateDiscoverer DescribeDiscoverer ListDiscoverers UpdateDiscoverer StartDiscoverer StopDiscoverer DeleteDiscoverer
        PutCodeBinding DescribeCodeBinding GetCodeBindingSource""",
    "logs/2014-03-28": """
        CreateLogGroup DeleteLogGroup DescribeLogGroups PutRetentionPolicy DeleteRetentionPolicy CreateLogStream DeleteLogStream
        DescribeLogStreams PutLogEvents GetLogEvents FilterLogEvents""",
    "apigateway/2015-07-09": """
        CreateRestApi GetRestApi GetRestApis UpdateRestApi DeleteRestApi ImportRestApi PutRestApi GetExport
        CreateResource GetResource GetResources UpdateResource DeleteResource PutMethod GetMethod UpdateMethod
        DeleteMethod PutMethodResponse GetMethodResponse UpdateMethodResponse DeleteMethodResponse PutIntegration
        GetIntegration UpdateIntegration DeleteIntegration PutIntegrationResponse GetIntegrationResponse
        UpdateIntegrationResponse DeleteIntegrationResponse CreateModel GetModel GetModels UpdateModel DeleteModel
        CreateRequestValidator GetRequestValidator GetRequestValidators UpdateRequestValidator DeleteRequestValidator
        PutGatewayResponse GetGatewayResponse GetGatewayResponses UpdateGatewayResponse DeleteGatewayResponse
        CreateAuthorizer GetAuthorizer GetAuthorizers UpdateAuthorizer DeleteAuthorizer CreateDeployment GetDeployment
        GetDeployments UpdateDeployment DeleteDeployment CreateStage GetStage GetStages UpdateStage DeleteStage
        FlushStageCache FlushStageAuthorizersCache CreateApiKey GetApiKey GetApiKeys UpdateApiKey DeleteApiKey
        ImportApiKeys CreateUsagePlan GetUsagePlan GetUsagePlans UpdateUsagePlan DeleteUsagePlan GetUsage
        CreateUsagePlanKey GetUsagePlanKey GetUsagePlanKeys DeleteUsagePlanKey UpdateUsage GenerateClientCertificate
        GetClientCertificate GetClientCertificates UpdateClientCertificate DeleteClientCertificate
        CreateDocumentationPart GetDocumentationPart GetDocumentationParts UpdateDocumentationPart
        DeleteDocumentationPart ImportDocumentationParts CreateDocumentationVersion GetDocumentationVersion
        GetDocumentationVersions DeleteDocumentationVersion GetTags TagResource UntagResource GetAccount GetVpcLink
        UpdateVpcLink DeleteVpcLink GetVpcLinks TestInvokeMethod TestInvokeAuthorizer""",
    "apigatewaymanagementapi/2018-11-29": "PostToConnection GetConnection DeleteConnection",
    "cloudwatch/2010-08-01": "PutMetricData GetMetricData GetMetricStatistics ListMetrics",
    "cloudformation/2010-05-15": """
        CreateChangeSet CreateStack DeleteChangeSet DeleteStack DescribeChangeSet DescribeStackEvents DescribeStackResource
        DescribeStackResources DescribeStacks ExecuteChangeSet GetTemplate GetTemplateSummary ListExports ListStackResources
        ListStacks UpdateStack ValidateTemplate""",
    "s3/2006-03-01": """
        AbortMultipartUpload CompleteMultipartUpload CreateBucket CreateMultipartUpload DeleteBucket DeleteObject DeleteObjects
        GetBucketLocation GetObject HeadBucket HeadObject ListObjectsV2 PutObject UploadPart""",
    "ssm/2014-11-06": "GetParameter GetParameters GetParametersByPath",
    "apigatewayv2/2018-11-29": """
        GetApis GetApi GetRoutes GetRoute GetIntegrations GetIntegration GetStages GetStage GetAuthorizers GetAuthorizer
        GetDeployments GetDeployment ExportApi CreateApi UpdateApi DeleteApi ImportApi ReimportApi DeleteCorsConfiguration
        CreateRoute UpdateRoute DeleteRoute CreateIntegration UpdateIntegration DeleteIntegration CreateAuthorizer
        UpdateAuthorizer DeleteAuthorizer CreateStage UpdateStage DeleteStage DeleteRouteSettings CreateDeployment
        UpdateDeployment DeleteDeployment ResetAuthorizersCache""",
    "cloudcontrol/2021-09-30": "GetResource",
    "rds/2014-10-31": """
        CreateDBProxy CreateDBProxyEndpoint DeleteDBProxy DeleteDBProxyEndpoint DeregisterDBProxyTargets DescribeDBProxies
        DescribeDBProxyEndpoints DescribeDBProxyTargetGroups DescribeDBProxyTargets ModifyDBProxy ModifyDBProxyEndpoint
        ModifyDBProxyTargetGroup RegisterDBProxyTargets ListTagsForResource""",
}

# AWS takes one in small letters, too (recorded of CreateConnection), and an app has a region of its own: who serves checks them.
LENIENT = {"BucketLocationConstraint", "ConnectionOAuthHttpMethod"}

# SQS's model says no more how the query protocol names things: these are the names of API version 2012-11-05.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/ (each operation's query parameters)
SQS_LISTS = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BatchResultErrorEntryList": "BatchResultErrorEntry",
    "BinaryList": "BinaryListValue",
    "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
    "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
    "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
    "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageList": "Message",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "QueueUrlList": "QueueUrl",
    "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
    "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
    "StringList": "StringListValue",
    "TagKeyList": "TagKey",
}
SQS_MAPS = {
    "MessageBodyAttributeMap": ("MessageAttribute", "Name", "Value"),
    "MessageBodySystemAttributeMap": ("MessageSystemAttribute", "Name", "Value"),
    "MessageSystemAttributeMap": ("Attribute", "Name", "Value"),
    "QueueAttributeMap": ("Attribute", "Name", "Value"),
    "TagMap": ("Tag", "Key", "Value"),
}

# The order in which the service's own messages list these texts, as recorded; the model has another one.
ORDERS = {
    "stepfunctions/2016-11-23": {
        "ExecutionStatus": ["SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE", "ABORTED", "FAILED", "RUNNING"],
    },
}


# The one member of what these give is the whole body. The model says it in prose alone.
UNWRAPPED = {"GetBucketLocation": {"unwrappedOutput": True}}

# Their requests are those of another operation, and go to an address of their own.
ELSEWHERE = {"ListDirectoryBuckets"}


def plain(value: Any) -> Any:
    """Give a part of a model without prose and without what nobody reads."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in DROPPED}
    return value


def named_for_query(shapes: dict[str, Shape]) -> None:
    """Give SQS's lists and maps their names of the query protocol."""
    for name, item in SQS_LISTS.items():
        if name in shapes:
            shapes[name]["member"]["locationName"] = item
    for name, (_, key, value) in SQS_MAPS.items():
        if name in shapes:
            shapes[name]["key"]["locationName"] = key
            shapes[name]["value"]["locationName"] = value
    for shape in shapes.values():
        for member in shape.get("members", {}).values():
            if member["shape"] in SQS_MAPS:
                member["locationName"] = SQS_MAPS[member["shape"]][0]


def reached(shapes: dict[str, Shape], names: list[str]) -> dict[str, Shape]:
    """Give the shapes of these names and all that they name, in the model's order."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if name in found:
            continue
        found.add(name)
        shape = shapes[name]
        parts = [
            *shape.get("members", {}).values(),
            *(shape[part] for part in ("member", "key", "value") if part in shape),
        ]
        names.extend(part["shape"] for part in parts)
    return {name: plain(shape) for name, shape in shapes.items() if name in found}


def route(model: dict[str, Any], name: str) -> list[Any]:
    """Give method and path of an operation that is not served, and what it needs of the query string and the headers."""
    if name in ELSEWHERE:
        return ["", ""]
    one = model["operations"][name]
    shape = model["shapes"][one["input"]["shape"]] if "input" in one else {}
    members = [shape["members"][member] for member in shape.get("required", [])]
    places = [
        [one["locationName"] for one in members if one.get("location") == place] for place in ("querystring", "header")
    ]
    return [one["http"]["method"], one["http"]["requestUri"], *(places if any(places) else [])]


def table(service: str, served: list[str]) -> str:
    """Give the table of a service."""
    with gzip.open(DATA / service / "service-2.json.gz") as file:
        model = json.load(file)
    unknown = [name for name in served if name not in model["operations"]]
    if unknown:
        sys.exit(f"{service} has no operations {unknown}")
    operations = {name: plain({key: model["operations"][name].get(key) for key in OPERATION}) for name in served}
    operations = {
        name: {key: value for key, value in one.items() if value} | UNWRAPPED.get(name, {})
        for name, one in operations.items()
    }
    names = [
        shape["shape"]
        for one in operations.values()
        for shape in (*one.get("errors", []), one.get("input"), one.get("output"))
        if shape
    ]
    shapes = reached(model["shapes"], names)
    for name in LENIENT & set(shapes):
        del shapes[name]["enum"]
    for name, texts in ORDERS.get(service, {}).items():
        if name in shapes and set(shapes[name]["enum"]) == set(texts):
            shapes[name]["enum"] = texts
    if service.startswith("sqs/"):
        named_for_query(shapes)
        for name, one in operations.items():
            if "output" in one:
                one["output"]["resultWrapper"] = f"{name}Result"
    metadata = {key: model["metadata"][key] for key in METADATA if key in model["metadata"]}
    if service.startswith("sqs/"):
        metadata["xmlNamespace"] = "http://queue.amazonaws.com/doc/2012-11-05/"
        metadata["errorNamespace"] = "com.amazonaws.sqs"
    others = sorted(set(model["operations"]) - set(served))
    routes = [route(model, name) for name in others]
    is_rest = model["metadata"]["protocol"].startswith("rest")

    def lines(part: dict[str, Any]) -> str:
        return ",\n".join(f"{json.dumps(name)}: {json.dumps(one, separators=(',', ':'))}" for name, one in part.items())

    notice = "Copyright Amazon.com, Inc. or its affiliates; Apache License 2.0; cut down"
    return (
        f'{{"origin": "botocore {botocore.__version__}, {service}; {notice}",\n'
        f'"metadata": {json.dumps(metadata)},\n"others": {json.dumps(others, separators=(",", ":"))},\n'
        f'"otherRoutes": {json.dumps(routes if is_rest else [], separators=(",", ":"))},\n'
        f'"operations": {{\n{lines(operations)}\n}},\n"shapes": {{\n{lines(shapes)}\n}}}}\n'
    )


def main() -> None:
    """Write every table."""
    TABLES.mkdir(parents=True, exist_ok=True)
    for service, served in SERVED.items():
        (TABLES / f"{service.split('/')[0]}.json").write_text(table(service, served.split()), encoding="utf-8")


if __name__ == "__main__":
    main()
