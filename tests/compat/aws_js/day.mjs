// A day's work of each service by AWS's SDK for JavaScript, which finds the endpoint and the key in its environment.
import assert from "node:assert/strict";
import { CloudWatch } from "@aws-sdk/client-cloudwatch";
import { Kinesis, paginateListStreams } from "@aws-sdk/client-kinesis";
import { Lambda } from "@aws-sdk/client-lambda";
import { SNS } from "@aws-sdk/client-sns";
import { SQS } from "@aws-sdk/client-sqs";

const text = (bytes) => new TextDecoder().decode(bytes);

async function queues() {
  const sqs = new SQS({});
  const { QueueUrl } = await sqs.createQueue({ QueueName: "js", tags: { by: "js" } });
  const MessageAttributes = { kind: { DataType: "String", StringValue: "book" } };
  await sqs.sendMessage({ QueueUrl, MessageBody: "hello é", MessageAttributes });
  const Entries = ["a", "b", "c"].map((Id) => ({ Id, MessageBody: Id }));
  assert.equal((await sqs.sendMessageBatch({ QueueUrl, Entries })).Successful.length, 3);
  const seen = [];
  while (seen.length < 4) {
    const asked = { QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: ["All"] };
    const { Messages = [] } = await sqs.receiveMessage(asked);
    for (const message of Messages) {
      seen.push(message.Body);
      await sqs.deleteMessage({ QueueUrl, ReceiptHandle: message.ReceiptHandle });
    }
  }
  assert.deepEqual(seen.sort(), ["a", "b", "c", "hello é"]);
  await sqs.setQueueAttributes({ QueueUrl, Attributes: { VisibilityTimeout: "77" } });
  const { Attributes } = await sqs.getQueueAttributes({ QueueUrl, AttributeNames: ["VisibilityTimeout"] });
  assert.equal(Attributes.VisibilityTimeout, "77");
  await assert.rejects(sqs.getQueueUrl({ QueueName: "none" }), { name: "QueueDoesNotExist" });
  await sqs.deleteQueue({ QueueUrl });
}

async function topics() {
  const [sns, sqs] = [new SNS({}), new SQS({})];
  const { QueueUrl } = await sqs.createQueue({ QueueName: "js-topic" });
  const { Attributes } = await sqs.getQueueAttributes({ QueueUrl, AttributeNames: ["QueueArn"] });
  const { TopicArn } = await sns.createTopic({ Name: "js" });
  const subscribed = { TopicArn, Protocol: "sqs", Endpoint: Attributes.QueueArn };
  await sns.subscribe({ ...subscribed, Attributes: { RawMessageDelivery: "true" } });
  await sns.publish({ TopicArn, Message: "told" });
  const { Messages } = await sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 5 });
  assert.equal(Messages[0].Body, "told");
  await assert.rejects(sns.publish({ TopicArn: `${TopicArn}-none`, Message: "x" }), { name: "NotFoundException" });
  await sns.deleteTopic({ TopicArn });
}

async function streams() {
  const kinesis = new Kinesis({}); // speaks HTTP/2 without being asked
  await kinesis.createStream({ StreamName: "js", ShardCount: 1 });
  const Records = [1, 2, 3].map((n) => ({ Data: new TextEncoder().encode(`${n}`), PartitionKey: "k" }));
  assert.equal((await kinesis.putRecords({ StreamName: "js", Records })).FailedRecordCount, 0);
  const { Shards } = await kinesis.listShards({ StreamName: "js" });
  const where = { StreamName: "js", ShardId: Shards[0].ShardId, ShardIteratorType: "TRIM_HORIZON" };
  const { ShardIterator } = await kinesis.getShardIterator(where);
  const got = await kinesis.getRecords({ ShardIterator });
  assert.deepEqual(got.Records.map((record) => text(record.Data)), ["1", "2", "3"]);
  const { StreamDescriptionSummary } = await kinesis.describeStreamSummary({ StreamName: "js" });
  const made = { StreamARN: StreamDescriptionSummary.StreamARN, ConsumerName: "js" };
  const { Consumer } = await kinesis.registerStreamConsumer(made);
  const StartingPosition = { Type: "TRIM_HORIZON" };
  const pushed = { ConsumerARN: Consumer.ConsumerARN, ShardId: Shards[0].ShardId, StartingPosition };
  const { EventStream } = await kinesis.subscribeToShard(pushed);
  for await (const event of EventStream) {
    assert.equal(event.SubscribeToShardEvent.Records.length, 3);
    break;
  }
  const names = [];
  for await (const page of paginateListStreams({ client: kinesis }, {})) names.push(...page.StreamNames);
  assert.deepEqual(names, ["js"]);
  await assert.rejects(kinesis.describeStream({ StreamName: "none" }), { name: "ResourceNotFoundException" });
  await kinesis.deleteStream({ StreamName: "js" });
  kinesis.destroy();
}

async function functions() {
  const lambda = new Lambda({});
  const answer = await lambda.invoke({ FunctionName: "echo", Payload: JSON.stringify({ a: 1 }) });
  assert.deepEqual(JSON.parse(text(answer.Payload)), { got: { a: 1 } });
  const accepted = await lambda.invoke({ FunctionName: "echo", InvocationType: "Event", Payload: "1" });
  assert.equal(accepted.StatusCode, 202);
  await assert.rejects(lambda.getFunction({ FunctionName: "none" }), { name: "ResourceNotFoundException" });
}

async function metrics() {
  const cloudwatch = new CloudWatch({});
  await cloudwatch.putMetricData({ Namespace: "Js", MetricData: [{ MetricName: "m", Value: 3 }] });
  const [StartTime, EndTime] = [new Date(Date.now() - 600_000), new Date(Date.now() + 60_000)];
  const asked = { Namespace: "Js", MetricName: "m", StartTime, EndTime, Period: 3600, Statistics: ["Sum"] };
  assert.equal((await cloudwatch.getMetricStatistics(asked)).Datapoints[0].Sum, 3);
}

for (const work of [queues, topics, streams, functions, metrics]) {
  await work();
  console.log(work.name);
}
