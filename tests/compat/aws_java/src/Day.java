// A day's work of each service by AWS's SDK for Java: create, use, page, change, fail, delete. Its variables name the endpoint.

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.BooleanSupplier;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.cloudwatch.model.InvalidParameterValueException;
import software.amazon.awssdk.services.cloudwatch.model.MetricDatum;
import software.amazon.awssdk.services.cloudwatch.model.Statistic;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.eventbridge.model.PutEventsRequestEntry;
import software.amazon.awssdk.services.eventbridge.model.Target;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;
import software.amazon.awssdk.services.lambda.LambdaClient;
import software.amazon.awssdk.services.lambda.model.InvocationType;
import software.amazon.awssdk.services.sfn.SfnClient;
import software.amazon.awssdk.services.sfn.model.ExecutionStatus;
import software.amazon.awssdk.services.sfn.model.InvalidDefinitionException;
import software.amazon.awssdk.services.sns.SnsClient;
import software.amazon.awssdk.services.sns.model.NotFoundException;
import software.amazon.awssdk.services.sqs.SqsAsyncClient;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sqs.model.Message;
import software.amazon.awssdk.services.sqs.model.MessageAttributeValue;
import software.amazon.awssdk.services.sqs.model.QueueAttributeName;
import software.amazon.awssdk.services.sqs.model.QueueDoesNotExistException;
import software.amazon.awssdk.services.sqs.model.QueueNameExistsException;
import software.amazon.awssdk.services.sqs.model.ReceiptHandleIsInvalidException;

public final class Day {
  private static final String ACCOUNT = "123456789012";

  private static void is(boolean told, Object what) {
    if (!told) throw new AssertionError(String.valueOf(what));
  }

  private static void fails(Class<? extends Throwable> wanted, Runnable call) {
    try {
      call.run();
    } catch (Throwable failed) {
      Throwable cause = failed instanceof CompletionException ? failed.getCause() : failed;
      is(wanted.isInstance(cause), cause);
      return;
    }
    throw new AssertionError("no " + wanted);
  }

  private static void until(BooleanSupplier told) throws InterruptedException {
    for (int turn = 0; turn < 200; turn++) {
      if (told.getAsBoolean()) return;
      Thread.sleep(50);
    }
    throw new AssertionError("it did not come about");
  }

  private static void queues() {
    try (SqsClient client = SqsClient.create(); SqsAsyncClient other = SqsAsyncClient.create()) {
      for (int at = 0; at < 5; at++) {
        String name = "many-" + at;
        client.createQueue(r -> r.queueName(name));
      }
      is(client.listQueuesPaginator(r -> r.queueNamePrefix("many-").maxResults(2)).queueUrls().stream().count() == 5, "pages");
      String url = client.createQueue(r -> r.queueName("java")).queueUrl();
      fails(QueueNameExistsException.class, () -> client.createQueue(r -> r.queueName("java").attributes(Map.of(QueueAttributeName.DELAY_SECONDS, "3"))));
      MessageAttributeValue cover = MessageAttributeValue.builder().dataType("Binary").binaryValue(SdkBytes.fromByteArray(new byte[] {0, -1})).build();
      // The SDK checks the MD5 sums of bodies and of attributes.
      client.sendMessage(r -> r.queueUrl(url).messageBody("a book — ü").messageAttributes(Map.of("cover", cover)));
      Message got = client.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(5).messageAttributeNames("All")).messages().get(0);
      is(got.body().equals("a book — ü") && got.messageAttributes().get("cover").equals(cover), got);
      client.changeMessageVisibility(r -> r.queueUrl(url).receiptHandle(got.receiptHandle()).visibilityTimeout(0));
      Message again = other.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(5)).join().messages().get(0);
      other.deleteMessage(r -> r.queueUrl(url).receiptHandle(again.receiptHandle())).join();
      fails(ReceiptHandleIsInvalidException.class, () -> other.deleteMessage(r -> r.queueUrl(url).receiptHandle("none")).join());
      client.setQueueAttributes(r -> r.queueUrl(url).attributes(Map.of(QueueAttributeName.VISIBILITY_TIMEOUT, "17")));
      Map<QueueAttributeName, String> told = client.getQueueAttributes(r -> r.queueUrl(url).attributeNames(QueueAttributeName.ALL)).attributes();
      is(told.get(QueueAttributeName.VISIBILITY_TIMEOUT).equals("17"), told);
      client.deleteQueue(r -> r.queueUrl(url));
      fails(QueueDoesNotExistException.class, () -> client.getQueueUrl(r -> r.queueName("java")));
    }
  }

  private static void topics() {
    try (SnsClient client = SnsClient.create(); SqsClient box = SqsClient.create()) {
      String topic = client.createTopic(r -> r.name("java")).topicArn();
      String url = box.createQueue(r -> r.queueName("java-topic")).queueUrl();
      String endpoint = "arn:aws:sqs:eu-central-1:" + ACCOUNT + ":java-topic";
      String made = client.subscribe(r -> r.topicArn(topic).protocol("sqs").endpoint(endpoint).attributes(Map.of("RawMessageDelivery", "true"))).subscriptionArn();
      client.publish(r -> r.topicArn(topic).message("news"));
      List<Message> got = box.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(10)).messages();
      is(got.size() == 1 && got.get(0).body().equals("news"), got);
      is(client.listSubscriptionsByTopicPaginator(r -> r.topicArn(topic)).subscriptions().stream().count() == 1, "subscriptions");
      client.unsubscribe(r -> r.subscriptionArn(made));
      client.deleteTopic(r -> r.topicArn(topic));
      fails(NotFoundException.class, () -> client.publish(r -> r.topicArn(topic).message("m")));
    }
  }

  // The client that blocks speaks CBOR over HTTP/1.1, the other one CBOR over HTTP/2, and its subscription JSON.
  private static void streams() throws Exception {
    try (KinesisClient client = KinesisClient.create(); KinesisAsyncClient other = KinesisAsyncClient.create()) {
      client.createStream(r -> r.streamName("java").shardCount(1));
      client.waiter().waitUntilStreamExists(r -> r.streamName("java"));
      List<PutRecordsRequestEntry> records = new ArrayList<>();
      for (int at = 0; at < 250; at++) {
        SdkBytes data = SdkBytes.fromUtf8String("r" + at);
        String key = "k" + at;
        records.add(PutRecordsRequestEntry.builder().data(data).partitionKey(key).build());
      }
      is(client.putRecords(r -> r.streamName("java").records(records)).failedRecordCount() == 0, "put");
      is(other.putRecords(r -> r.streamName("java").records(records)).join().failedRecordCount() == 0, "put");
      String shard = other.listShards(r -> r.streamName("java")).join().shards().get(0).shardId();
      String begun = client.getShardIterator(r -> r.streamName("java").shardId(shard).shardIteratorType(ShardIteratorType.TRIM_HORIZON)).shardIterator();
      var got = client.getRecords(r -> r.shardIterator(begun));
      is(got.records().size() == 500 && got.records().get(1).data().asUtf8String().equals("r1"), got.records().size());
      is(got.records().get(0).approximateArrivalTimestamp().isAfter(Instant.now().minus(Duration.ofHours(1))), got.records().get(0));
      String arn = other.describeStreamSummary(r -> r.streamName("java")).join().streamDescriptionSummary().streamARN();
      String consumer = other.registerStreamConsumer(r -> r.streamARN(arn).consumerName("c")).join().consumer().consumerARN();
      ConcurrentLinkedQueue<Integer> seen = new ConcurrentLinkedQueue<>();
      SubscribeToShardResponseHandler handler = SubscribeToShardResponseHandler.builder().subscriber(event -> {
        if (event instanceof SubscribeToShardEvent one) seen.add(one.records().size());
      }).build();
      var subscription = other.subscribeToShard(r -> r.consumerARN(consumer).shardId(shard).startingPosition(p -> p.type(ShardIteratorType.TRIM_HORIZON)), handler);
      until(() -> seen.stream().mapToInt(Integer::intValue).sum() == 500);
      subscription.cancel(true);
      fails(software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException.class, () -> client.describeStream(r -> r.streamName("none")));
      fails(software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException.class, () -> other.describeStream(r -> r.streamName("none")).join());
      client.deleteStream(r -> r.streamName("java").enforceConsumerDeletion(true));
    }
  }

  private static void functions() {
    try (LambdaClient client = LambdaClient.create()) {
      String answer = client.invoke(r -> r.functionName("echo").payload(SdkBytes.fromUtf8String("{\"a\":[\"ü\"]}"))).payload().asUtf8String();
      is(answer.equals("{\"a\":[\"ü\"]}"), answer);
      is(client.invoke(r -> r.functionName("echo").invocationType(InvocationType.EVENT)).statusCode() == 202, "event");
      is("Unhandled".equals(client.invoke(r -> r.functionName("fail")).functionError()), "fail");
      is(client.listFunctionsPaginator(r -> r.maxItems(1)).functions().stream().count() == 2, "functions");
      client.waiter().waitUntilFunctionActiveV2(r -> r.functionName("echo"));
      client.putFunctionConcurrency(r -> r.functionName("echo").reservedConcurrentExecutions(2));
      is(client.getFunctionConcurrency(r -> r.functionName("echo")).reservedConcurrentExecutions() == 2, "concurrency");
      client.deleteFunctionConcurrency(r -> r.functionName("echo"));
      fails(software.amazon.awssdk.services.lambda.model.ResourceNotFoundException.class, () -> client.invoke(r -> r.functionName("none")));
    }
  }

  private static void metrics() throws Exception {
    try (CloudWatchClient client = CloudWatchClient.create()) { // CBOR
      List<MetricDatum> data = new ArrayList<>();
      for (int at = 0; at < 100; at++) data.add(MetricDatum.builder().metricName("Sold").value(at + 0.5).build());
      client.putMetricData(r -> r.namespace("JavaShop").metricData(data));
      Instant now = Instant.now();
      until(() -> client.getMetricStatistics(r -> r.namespace("JavaShop").metricName("Sold").period(60).statistics(Statistic.SUM)
          .startTime(now.minusSeconds(600)).endTime(now.plusSeconds(60))).datapoints().stream().mapToDouble(p -> p.sum()).sum() == 5000);
      fails(InvalidParameterValueException.class, () -> client.putMetricData(r -> r.namespace("AWS/Shop").metricData(data)));
    }
  }

  private static void buses() {
    try (EventBridgeClient client = EventBridgeClient.create(); SqsClient box = SqsClient.create()) {
      String url = box.createQueue(r -> r.queueName("java-bus")).queueUrl();
      client.putRule(r -> r.name("java").eventPattern("{\"source\": [\"shop\"]}"));
      Target target = Target.builder().id("q").arn("arn:aws:sqs:eu-central-1:" + ACCOUNT + ":java-bus").build();
      is(client.putTargets(r -> r.rule("java").targets(target)).failedEntryCount() == 0, "targets");
      PutEventsRequestEntry entry = PutEventsRequestEntry.builder().source("shop").detailType("sold").detail("{}").time(Instant.now()).build();
      is(client.putEvents(r -> r.entries(entry)).failedEntryCount() == 0, "events");
      is(box.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(10)).messages().size() == 1, "delivered");
      client.removeTargets(r -> r.rule("java").ids("q"));
      client.deleteRule(r -> r.name("java"));
      fails(software.amazon.awssdk.services.eventbridge.model.ResourceNotFoundException.class, () -> client.describeRule(r -> r.name("java")));
    }
  }

  private static void machines() throws Exception {
    try (SfnClient client = SfnClient.create()) {
      String role = "arn:aws:iam::" + ACCOUNT + ":role/any";
      String definition = "{\"StartAt\": \"A\", \"States\": {\"A\": {\"Type\": \"Pass\", \"End\": true}}}";
      String arn = client.createStateMachine(r -> r.name("java").definition(definition).roleArn(role)).stateMachineArn();
      String execution = client.startExecution(r -> r.stateMachineArn(arn).input("{\"n\":1}")).executionArn();
      until(() -> client.describeExecution(r -> r.executionArn(execution)).status() == ExecutionStatus.SUCCEEDED);
      is(client.getExecutionHistoryPaginator(r -> r.executionArn(execution).maxResults(2)).events().stream().count() == 4, "history");
      fails(InvalidDefinitionException.class, () -> client.createStateMachine(r -> r.name("java2").definition("{}").roleArn(role)));
      client.deleteStateMachine(r -> r.stateMachineArn(arn));
    }
  }

  public static void main(String[] arguments) throws Exception {
    queues();
    System.out.println("queues");
    topics();
    System.out.println("topics");
    streams();
    System.out.println("streams");
    functions();
    System.out.println("functions");
    metrics();
    System.out.println("metrics");
    buses();
    System.out.println("buses");
    machines();
    System.out.println("machines");
  }
}
