// A day's work of each service by AWS's SDK for Go: create, use, page, change, fail, delete. Its variables name the endpoint.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	ktypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	ltypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const account = "123456789012"

var (
	ctx      = context.Background()
	settings aws.Config
	text     = aws.String
)

func must[T any](given T, err error) T {
	ok(err)
	return given
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}

func is(told bool, what ...any) {
	if !told {
		panic(fmt.Sprint(what...))
	}
}

// fails holds an error to its type, as programs do.
func fails[E error](err error) {
	var wanted E
	if !errors.As(err, &wanted) {
		panic(fmt.Sprintf("%T in place of %T: %v", err, wanted, err))
	}
}

func until(told func() bool) {
	for turn := 0; turn < 200; turn++ {
		if told() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	panic("it did not come about")
}

func queues() {
	client := sqs.NewFromConfig(settings)
	for at := range 5 {
		must(client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: text(fmt.Sprintf("many-%d", at))}))
	}
	found := 0
	pages := sqs.NewListQueuesPaginator(client, &sqs.ListQueuesInput{QueueNamePrefix: text("many-"), MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		found += len(must(pages.NextPage(ctx)).QueueUrls)
	}
	is(found == 5, found)
	made := must(client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: text("go.fifo"), Attributes: map[string]string{"FifoQueue": "true"}}))
	url := made.QueueUrl
	_, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: text("go.fifo"), Attributes: map[string]string{"FifoQueue": "true", "DelaySeconds": "3"}})
	fails[*sqstypes.QueueNameExists](err)
	body := map[string]sqstypes.MessageAttributeValue{"n": {DataType: text("Number"), StringValue: text("1")}}
	for at := range 3 {
		must(client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: text(fmt.Sprint("m", at)), MessageAttributes: body,
			MessageGroupId: text("g"), MessageDeduplicationId: text(fmt.Sprint(at))}))
	}
	got := must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"}}))
	is(len(got.Messages) == 3 && *got.Messages[0].Body == "m0" && *got.Messages[0].MessageAttributes["n"].StringValue == "1", got.Messages)
	for _, one := range got.Messages {
		must(client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: one.ReceiptHandle}))
	}
	_, err = client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: text("none")})
	fails[*sqstypes.ReceiptHandleIsInvalid](err)
	must(client.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"VisibilityTimeout": "17"}}))
	told := must(client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []sqstypes.QueueAttributeName{"All"}}))
	is(told.Attributes["VisibilityTimeout"] == "17", told.Attributes)
	must(client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: url}))
	_, err = client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: text("go.fifo")})
	fails[*sqstypes.QueueDoesNotExist](err)
}

func topics() {
	client, box := sns.NewFromConfig(settings), sqs.NewFromConfig(settings)
	topic := must(client.CreateTopic(ctx, &sns.CreateTopicInput{Name: text("go")})).TopicArn
	url := must(box.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: text("go-topic")})).QueueUrl
	endpoint := text("arn:aws:sqs:eu-central-1:" + account + ":go-topic")
	made := must(client.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic, Protocol: text("sqs"), Endpoint: endpoint,
		Attributes: map[string]string{"RawMessageDelivery": "true", "FilterPolicy": `{"kind": ["book"]}`}, ReturnSubscriptionArn: true}))
	book := map[string]snstypes.MessageAttributeValue{"kind": {DataType: text("String"), StringValue: text("book")}}
	must(client.Publish(ctx, &sns.PublishInput{TopicArn: topic, Message: text("dropped")}))
	must(client.Publish(ctx, &sns.PublishInput{TopicArn: topic, Message: text("kept"), MessageAttributes: book}))
	got := must(box.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 10}))
	is(len(got.Messages) == 1 && *got.Messages[0].Body == "kept", got.Messages)
	told := must(client.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: made.SubscriptionArn}))
	is(told.Attributes["RawMessageDelivery"] == "true", told.Attributes)
	must(client.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: made.SubscriptionArn}))
	must(client.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: topic}))
	_, err := client.Publish(ctx, &sns.PublishInput{TopicArn: topic, Message: text("m")})
	fails[*snstypes.NotFoundException](err)
}

func streams() {
	client, name := kinesis.NewFromConfig(settings), text("go")
	must(client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}))
	ok(kinesis.NewStreamExistsWaiter(client).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: name}, 20*time.Second))
	var records []ktypes.PutRecordsRequestEntry
	for at := range 500 {
		records = append(records, ktypes.PutRecordsRequestEntry{Data: []byte(fmt.Sprint("r", at)), PartitionKey: text(fmt.Sprint(at))})
	}
	put := must(client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: name, Records: records}))
	is(*put.FailedRecordCount == 0, put.Records)
	shard := must(client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: name})).Shards[0].ShardId
	begun := must(client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: name, ShardId: shard, ShardIteratorType: "TRIM_HORIZON"}))
	got := must(client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: begun.ShardIterator}))
	is(len(got.Records) == 500 && string(got.Records[499].Data) == "r499", len(got.Records))
	is(time.Since(*got.Records[0].ApproximateArrivalTimestamp) < time.Hour)
	stream := must(client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})).StreamDescriptionSummary
	consumer := must(client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: stream.StreamARN, ConsumerName: text("c")})).Consumer
	asked := &kinesis.SubscribeToShardInput{ConsumerARN: consumer.ConsumerARN, ShardId: shard, StartingPosition: &ktypes.StartingPosition{Type: "TRIM_HORIZON"}}
	events := must(client.SubscribeToShard(ctx, asked)).GetStream()
	first := (<-events.Events()).(*ktypes.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
	is(len(first.Value.Records) > 0)
	ok(events.Close())
	_, err := client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: text("none")})
	fails[*ktypes.ResourceNotFoundException](err)
	must(client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: name, EnforceConsumerDeletion: aws.Bool(true)}))
}

func functions() {
	client := lambda.NewFromConfig(settings)
	answer := must(client.Invoke(ctx, &lambda.InvokeInput{FunctionName: text("echo"), Payload: []byte(`{"a":["ü"]}`)}))
	is(string(answer.Payload) == `{"a":["ü"]}`, string(answer.Payload))
	is(must(client.Invoke(ctx, &lambda.InvokeInput{FunctionName: text("echo"), InvocationType: "Event", Payload: []byte("{}")})).StatusCode == 202)
	is(must(client.Invoke(ctx, &lambda.InvokeInput{FunctionName: text("echo"), InvocationType: "DryRun"})).StatusCode == 204)
	failed := must(client.Invoke(ctx, &lambda.InvokeInput{FunctionName: text("fail"), Payload: []byte("{}")}))
	is(*failed.FunctionError == "Unhandled", failed)
	stream := must(client.InvokeWithResponseStream(ctx, &lambda.InvokeWithResponseStreamInput{FunctionName: text("echo"), Payload: []byte(`"s"`)})).GetStream()
	var pieces []byte
	for event := range stream.Events() {
		if piece, is := event.(*ltypes.InvokeWithResponseStreamResponseEventMemberPayloadChunk); is {
			pieces = append(pieces, piece.Value.Payload...)
		}
	}
	is(string(pieces) == `"s"`, string(pieces))
	pages, found := lambda.NewListFunctionsPaginator(client, &lambda.ListFunctionsInput{MaxItems: aws.Int32(1)}), 0
	for pages.HasMorePages() {
		found += len(must(pages.NextPage(ctx)).Functions)
	}
	is(found == 2, found)
	ok(lambda.NewFunctionActiveV2Waiter(client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: text("echo")}, 10*time.Second))
	must(client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: text("echo"), MaximumRetryAttempts: aws.Int32(1)}))
	told := must(client.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: text("echo")}))
	is(*told.MaximumRetryAttempts == 1)
	must(client.DeleteFunctionEventInvokeConfig(ctx, &lambda.DeleteFunctionEventInvokeConfigInput{FunctionName: text("echo")}))
	_, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: text("none")})
	fails[*ltypes.ResourceNotFoundException](err)
}

func metrics() {
	client := cloudwatch.NewFromConfig(settings) // CBOR, compressed
	var data []cwtypes.MetricDatum
	for at := range 100 {
		data = append(data, cwtypes.MetricDatum{MetricName: text("Sold"), Unit: "Count", Value: aws.Float64(float64(at) + 0.5)})
	}
	must(client.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: text("GoShop"), MetricData: data}))
	asked := &cloudwatch.GetMetricStatisticsInput{Namespace: text("GoShop"), MetricName: text("Sold"), Period: aws.Int32(60),
		StartTime: aws.Time(time.Now().Add(-10 * time.Minute)), EndTime: aws.Time(time.Now().Add(time.Minute)),
		Statistics: []cwtypes.Statistic{"Sum", "SampleCount", "Maximum"}}
	until(func() bool {
		sum := 0.0
		for _, point := range must(client.GetMetricStatistics(ctx, asked)).Datapoints {
			sum += *point.Sum
		}
		return sum == 5000
	})
	_, err := client.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: text("AWS/Shop"), MetricData: data})
	fails[*cwtypes.InvalidParameterValueException](err)
}

func buses() {
	client, box := eventbridge.NewFromConfig(settings), sqs.NewFromConfig(settings)
	url := must(box.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: text("go-bus")})).QueueUrl
	must(client.PutRule(ctx, &eventbridge.PutRuleInput{Name: text("go"), EventPattern: text(`{"source": ["shop"]}`)}))
	target := ebtypes.Target{Id: text("q"), Arn: text("arn:aws:sqs:eu-central-1:" + account + ":go-bus")}
	must(client.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: text("go"), Targets: []ebtypes.Target{target}}))
	entry := ebtypes.PutEventsRequestEntry{Source: text("shop"), DetailType: text("sold"), Detail: text(`{"n": 1}`), Time: aws.Time(time.Now())}
	is(must(client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{entry}})).FailedEntryCount == 0)
	got := must(box.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 10}))
	is(len(got.Messages) == 1)
	must(client.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: text("go"), Ids: []string{"q"}}))
	must(client.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: text("go")}))
	_, err := client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: text("go")})
	fails[*ebtypes.ResourceNotFoundException](err)
}

func identity() {
	is(*must(sts.NewFromConfig(settings).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})).Account == account)
}

func main() {
	settings = must(config.LoadDefaultConfig(ctx))
	parts := map[string]func(){"queues": queues, "topics": topics, "streams": streams, "functions": functions, "metrics": metrics, "buses": buses, "identity": identity}
	for _, name := range []string{"queues", "topics", "streams", "functions", "metrics", "buses", "identity"} {
		func() {
			defer func() {
				if failed := recover(); failed != nil {
					fmt.Fprintln(os.Stderr, name+":", failed)
					panic(failed)
				}
			}()
			parts[name]()
		}()
		fmt.Println(name)
	}
}
