// A day's work of each service by AWS's SDK for JavaScript: create, use, page, change, fail, delete. Its variables name the endpoint.
import assert from "node:assert/strict";
import * as cloudwatch from "@aws-sdk/client-cloudwatch";
import * as logs from "@aws-sdk/client-cloudwatch-logs";
import * as events from "@aws-sdk/client-eventbridge";
import * as kinesis from "@aws-sdk/client-kinesis";
import * as lambda from "@aws-sdk/client-lambda";
import * as scheduler from "@aws-sdk/client-scheduler";
import * as sfn from "@aws-sdk/client-sfn";
import * as sns from "@aws-sdk/client-sns";
import * as sqs from "@aws-sdk/client-sqs";
import * as sts from "@aws-sdk/client-sts";

const ACCOUNT = "123456789012";
const numbers = (count) => [...Array(count).keys()];
const text = (bytes) => Buffer.from(bytes).toString();

async function all(pages, member) {
  const found = [];
  for await (const page of pages) found.push(...(page[member] ?? []));
  return found;
}

async function until(ask) {
  for (let turn = 0; turn < 200; turn += 1) {
    const found = await ask();
    if (found) return found;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error(`nothing came of ${ask}`);
}

const fails = (promise, name) => assert.rejects(promise, (error) => (assert.equal(error.name, name), true));

async function queues() {
  const client = new sqs.SQS({});
  for (const at of numbers(5)) await client.createQueue({ QueueName: `many-${at}` });
  const pages = sqs.paginateListQueues({ client, pageSize: 2 }, { QueueNamePrefix: "many-" });
  assert.equal((await all(pages, "QueueUrls")).length, 5);
  const QueueUrl = (await client.createQueue({ QueueName: "js", Attributes: { VisibilityTimeout: "30" } })).QueueUrl;
  await fails(client.createQueue({ QueueName: "js", Attributes: { VisibilityTimeout: "31" } }), "QueueNameExists");
  await client.setQueueAttributes({ QueueUrl, Attributes: { VisibilityTimeout: "20" } });
  const { Attributes } = await client.getQueueAttributes({ QueueUrl, AttributeNames: ["All"] });
  assert.equal(Attributes.VisibilityTimeout, "20");
  const MessageAttributes = {
    kind: { DataType: "String", StringValue: "book" },
    weight: { DataType: "Number", StringValue: "1.5" },
    cover: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) },
  };
  // The SDK checks the MD5 sums of bodies and of attributes.
  await client.sendMessage({ QueueUrl, MessageBody: "a book — ü", MessageAttributes });
  const asked = { QueueUrl, WaitTimeSeconds: 5, MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"] };
  const [message] = (await client.receiveMessage(asked)).Messages;
  assert.equal(message.Body, "a book — ü");
  assert.deepEqual([...message.MessageAttributes.cover.BinaryValue], [0, 255]);
  assert.equal(message.Attributes.ApproximateReceiveCount, "1");
  await client.changeMessageVisibility({ QueueUrl, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: 0 });
  const [again] = (await client.receiveMessage(asked)).Messages;
  assert.equal(again.Attributes.ApproximateReceiveCount, "2");
  await client.deleteMessage({ QueueUrl, ReceiptHandle: again.ReceiptHandle });
  const Entries = numbers(10).map((at) => ({ Id: `m${at}`, MessageBody: `${at}` }));
  assert.equal((await client.sendMessageBatch({ QueueUrl, Entries })).Successful.length, 10);
  const ten = (await client.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10 })).Messages;
  const handles = ten.map((one, at) => ({ Id: `m${at}`, ReceiptHandle: one.ReceiptHandle }));
  const done = await client.deleteMessageBatch({ QueueUrl, Entries: [...handles, { Id: "x", ReceiptHandle: "x" }].slice(-10) });
  assert.equal(done.Failed.length, 1);
  await fails(client.sendMessageBatch({ QueueUrl, Entries: [] }), "EmptyBatchRequest");
  await fails(client.receiveMessage({ QueueUrl, MaxNumberOfMessages: 11 }), "InvalidParameterValue");
  await client.tagQueue({ QueueUrl, Tags: { team: "books" } });
  assert.deepEqual((await client.listQueueTags({ QueueUrl })).Tags, { team: "books" });
  await client.purgeQueue({ QueueUrl });
  await client.deleteQueue({ QueueUrl });
  await fails(client.getQueueUrl({ QueueName: "js" }), "QueueDoesNotExist");
}

async function topics() {
  const client = new sns.SNS({});
  const box = new sqs.SQS({});
  const { TopicArn } = await client.createTopic({ Name: "js" });
  const { QueueUrl } = await box.createQueue({ QueueName: "js-topic" });
  const Endpoint = `arn:aws:sqs:eu-central-1:${ACCOUNT}:js-topic`;
  const { SubscriptionArn } = await client.subscribe({ TopicArn, Protocol: "sqs", Endpoint, ReturnSubscriptionArn: true });
  await client.setSubscriptionAttributes({ SubscriptionArn, AttributeName: "RawMessageDelivery", AttributeValue: "true" });
  const PublishBatchRequestEntries = numbers(3).map((at) => ({ Id: `p${at}`, Message: `news ${at}` }));
  await client.publish({ TopicArn, Message: "news", MessageAttributes: { a: { DataType: "String", StringValue: "b" } } });
  assert.equal((await client.publishBatch({ TopicArn, PublishBatchRequestEntries })).Successful.length, 3);
  const got = [];
  await until(async () => {
    const asked = { QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 };
    got.push(...((await box.receiveMessage(asked)).Messages ?? []).map((one) => one.Body));
    return got.length === 4;
  });
  assert.deepEqual(got.sort(), ["news", "news 0", "news 1", "news 2"]);
  const found = await all(sns.paginateListSubscriptionsByTopic({ client }, { TopicArn }), "Subscriptions");
  assert.equal(found[0].SubscriptionArn, SubscriptionArn);
  await client.unsubscribe({ SubscriptionArn });
  await client.deleteTopic({ TopicArn });
  await fails(client.publish({ TopicArn, Message: "m" }), "NotFoundException");
}

async function streams() {
  const client = new kinesis.Kinesis({}); // over HTTP/2
  const StreamName = "js";
  await client.createStream({ StreamName, ShardCount: 2 });
  await kinesis.waitUntilStreamExists({ client, maxWaitTime: 20 }, { StreamName });
  const Records = numbers(500).map((at) => ({ Data: Buffer.from(`r${at}`), PartitionKey: `k${at}` }));
  assert.equal((await client.putRecords({ StreamName, Records })).FailedRecordCount, 0);
  const { Shards } = await client.listShards({ StreamName });
  let seen = 0;
  for (const { ShardId } of Shards) {
    const begun = await client.getShardIterator({ StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" });
    let ShardIterator = begun.ShardIterator;
    for (let turn = 0; turn < 20; turn += 1) {
      const page = await client.getRecords({ ShardIterator, Limit: 100 });
      seen += page.Records.length;
      if (page.Records.length) assert.match(text(page.Records[0].Data), /^r\d+$/);
      if (!page.Records.length && page.MillisBehindLatest === 0) break;
      ShardIterator = page.NextShardIterator;
    }
  }
  assert.equal(seen, 500);
  const { StreamDescriptionSummary } = await client.describeStreamSummary({ StreamName });
  assert.ok(StreamDescriptionSummary.StreamCreationTimestamp > new Date(Date.now() - 3_600_000));
  const { Consumer } = await client.registerStreamConsumer({ StreamARN: StreamDescriptionSummary.StreamARN, ConsumerName: "c" });
  const asked = { ConsumerARN: Consumer.ConsumerARN, ShardId: Shards[0].ShardId, StartingPosition: { Type: "TRIM_HORIZON" } };
  const { EventStream } = await client.subscribeToShard(asked);
  for await (const event of EventStream) {
    assert.ok(event.SubscribeToShardEvent.Records.length > 0);
    break;
  }
  await client.increaseStreamRetentionPeriod({ StreamName, RetentionPeriodHours: 48 });
  await fails(client.describeStream({ StreamName: "none" }), "ResourceNotFoundException");
  await fails(client.putRecord({ StreamName, Data: Buffer.from("x"), PartitionKey: "" }), "ValidationException");
  await client.deregisterStreamConsumer({ ConsumerARN: Consumer.ConsumerARN });
  await client.deleteStream({ StreamName });
  client.destroy();
}

async function functions() {
  const client = new lambda.Lambda({});
  const answer = await client.invoke({ FunctionName: "echo", Payload: JSON.stringify({ a: ["ü"] }) });
  assert.deepEqual(JSON.parse(text(answer.Payload)), { a: ["ü"] });
  assert.equal((await client.invoke({ FunctionName: "echo", InvocationType: "Event", Payload: "{}" })).StatusCode, 202);
  const failed = await client.invoke({ FunctionName: "fail", Payload: "{}" });
  assert.equal(failed.FunctionError, "Unhandled");
  assert.equal(JSON.parse(text(failed.Payload)).errorMessage, "no");
  const { EventStream } = await client.invokeWithResponseStream({ FunctionName: "echo", Payload: '"s"' });
  const pieces = [];
  for await (const event of EventStream) if (event.PayloadChunk) pieces.push(text(event.PayloadChunk.Payload));
  assert.equal(pieces.join(""), '"s"');
  const names = (await all(lambda.paginateListFunctions({ client, pageSize: 1 }, {}), "Functions")).map((one) => one.FunctionName);
  assert.deepEqual(names.sort(), ["echo", "fail"]);
  await lambda.waitUntilFunctionActiveV2({ client, maxWaitTime: 10 }, { FunctionName: "echo" });
  const { QueueUrl } = await new sqs.SQS({}).createQueue({ QueueName: "js-mapped" });
  const EventSourceArn = `arn:aws:sqs:eu-central-1:${ACCOUNT}:js-mapped`;
  const { UUID } = await client.createEventSourceMapping({ FunctionName: "echo", EventSourceArn, BatchSize: 5 });
  await until(async () => (await client.getEventSourceMapping({ UUID })).State === "Enabled");
  assert.equal((await client.updateEventSourceMapping({ UUID, BatchSize: 7 })).BatchSize, 7);
  await client.deleteEventSourceMapping({ UUID });
  await client.putFunctionConcurrency({ FunctionName: "echo", ReservedConcurrentExecutions: 3 });
  assert.equal((await client.getFunctionConcurrency({ FunctionName: "echo" })).ReservedConcurrentExecutions, 3);
  await client.deleteFunctionConcurrency({ FunctionName: "echo" });
  await fails(client.invoke({ FunctionName: "none" }), "ResourceNotFoundException");
  await fails(client.invoke({ FunctionName: "echo", Payload: "no json" }), "InvalidRequestContentException");
  await new sqs.SQS({}).deleteQueue({ QueueUrl });
}

async function buses() {
  const client = new events.EventBridge({});
  const box = new sqs.SQS({});
  await client.createEventBus({ Name: "js" });
  const { QueueUrl } = await box.createQueue({ QueueName: "js-bus" });
  const rule = { Name: "books", EventBusName: "js" };
  await client.putRule({ ...rule, EventPattern: JSON.stringify({ source: ["shop"] }) });
  const Arn = `arn:aws:sqs:eu-central-1:${ACCOUNT}:js-bus`;
  assert.equal((await client.putTargets({ Rule: "books", EventBusName: "js", Targets: [{ Id: "q", Arn }] })).FailedEntryCount, 0);
  const entry = (Source) => ({ Source, DetailType: "sold", Detail: '{"n": 1}', EventBusName: "js", Time: new Date() });
  const put = await client.putEvents({ Entries: [entry("shop"), entry("other"), { Source: "shop", EventBusName: "js" }] });
  assert.equal(put.FailedEntryCount, 1);
  const { Messages } = await until(async () => {
    const got = await box.receiveMessage({ QueueUrl, WaitTimeSeconds: 2 });
    return got.Messages && got;
  });
  assert.deepEqual(JSON.parse(Messages[0].Body).detail, { n: 1 });
  await fails(client.putRule({ ...rule, EventPattern: "{" }), "InvalidEventPatternException");
  await client.disableRule(rule);
  assert.equal((await client.describeRule(rule)).State, "DISABLED");
  await fails(client.deleteRule(rule), "ValidationException");
  await client.removeTargets({ Rule: "books", EventBusName: "js", Ids: ["q"] });
  await client.deleteRule(rule);
  await client.deleteEventBus({ Name: "js" });
  await fails(client.describeEventBus({ Name: "js" }), "ResourceNotFoundException");
}

async function machines() {
  const client = new sfn.SFN({});
  const definition = JSON.stringify({ StartAt: "A", States: { A: { Type: "Pass", Result: { b: 1 }, End: true } } });
  const roleArn = `arn:aws:iam::${ACCOUNT}:role/any`;
  const { stateMachineArn } = await client.createStateMachine({ name: "js", definition, roleArn });
  const { executionArn } = await client.startExecution({ stateMachineArn, input: "{}" });
  const done = await until(async () => {
    const told = await client.describeExecution({ executionArn });
    return told.status !== "RUNNING" && told;
  });
  assert.deepEqual([done.status, done.output], ["SUCCEEDED", '{"b":1}']);
  const history = await all(sfn.paginateGetExecutionHistory({ client, pageSize: 2 }, { executionArn }), "events");
  assert.equal(history.at(-1).type, "ExecutionSucceeded");
  const express = { name: "js-express", definition, roleArn, type: "EXPRESS" };
  const quick = await client.createStateMachine(express);
  const direct = new sfn.SFN({ disableHostPrefix: true });
  assert.equal((await direct.startSyncExecution({ stateMachineArn: quick.stateMachineArn })).status, "SUCCEEDED");
  await fails(client.createStateMachine({ name: "js2", definition: "{}", roleArn }), "InvalidDefinition");
  await client.deleteStateMachine({ stateMachineArn });
  await client.deleteStateMachine({ stateMachineArn: quick.stateMachineArn });
  await until(async () => (await client.listStateMachines({})).stateMachines.length === 0);
}

async function schedules() {
  const client = new scheduler.Scheduler({});
  const Target = { Arn: `arn:aws:lambda:eu-central-1:${ACCOUNT}:function:echo`, RoleArn: `arn:aws:iam::${ACCOUNT}:role/any` };
  const one = { Name: "js", ScheduleExpression: "rate(1 hour)", FlexibleTimeWindow: { Mode: "OFF" }, Target };
  await client.createSchedule(one);
  await fails(client.createSchedule(one), "ConflictException");
  await client.updateSchedule({ ...one, ScheduleExpression: "rate(2 hours)" });
  assert.equal((await client.getSchedule({ Name: "js" })).ScheduleExpression, "rate(2 hours)");
  assert.equal((await all(scheduler.paginateListSchedules({ client }, {}), "Schedules")).length, 1);
  await client.deleteSchedule({ Name: "js" });
  await fails(client.getSchedule({ Name: "js" }), "ResourceNotFoundException");
}

async function metrics() {
  const client = new cloudwatch.CloudWatch({});
  const MetricData = numbers(200).map((at) => ({ MetricName: "Sold", Unit: "Count", Value: at, Dimensions: [{ Name: "shop", Value: "js" }] }));
  await client.putMetricData({ Namespace: "Shop", MetricData }); // compressed from 10 KiB on
  const found = await all(cloudwatch.paginateListMetrics({ client }, { Namespace: "Shop" }), "Metrics");
  assert.equal(found[0].MetricName, "Sold");
  const asked = {
    StartTime: new Date(Date.now() - 600_000),
    EndTime: new Date(Date.now() + 60_000),
    MetricDataQueries: [{ Id: "m", MetricStat: { Metric: found[0], Period: 60, Stat: "Sum" } }],
  };
  await until(async () => {
    const [told] = (await client.getMetricData(asked)).MetricDataResults;
    return told.Values.reduce((sum, one) => sum + one, 0) === 19900;
  });
  await fails(client.putMetricData({ Namespace: "AWS/Shop", MetricData }), "InvalidParameterValueException");
}

async function written() {
  const client = new logs.CloudWatchLogs({});
  const logGroupName = "/js";
  await client.createLogGroup({ logGroupName });
  await fails(client.createLogGroup({ logGroupName }), "ResourceAlreadyExistsException");
  await client.createLogStream({ logGroupName, logStreamName: "s" });
  const logEvents = numbers(30).map((at) => ({ timestamp: Date.now(), message: `line ${at}` }));
  await client.putLogEvents({ logGroupName, logStreamName: "s", logEvents });
  const found = await all(logs.paginateFilterLogEvents({ client, pageSize: 7 }, { logGroupName }), "events");
  assert.equal(found.length, 30);
  await client.putRetentionPolicy({ logGroupName, retentionInDays: 3 });
  await client.deleteLogGroup({ logGroupName });
  await fails(client.filterLogEvents({ logGroupName }), "ResourceNotFoundException");
}

async function identity() {
  assert.equal((await new sts.STS({}).getCallerIdentity({})).Account, ACCOUNT);
  const bad = new sqs.SQS({ credentials: { accessKeyId: "nobody", secretAccessKey: "none" } });
  await fails(bad.listQueues({}), "InvalidClientTokenId");
}

for (const part of [queues, topics, streams, functions, buses, machines, schedules, metrics, written, identity]) {
  await part();
  console.log(part.name);
}
