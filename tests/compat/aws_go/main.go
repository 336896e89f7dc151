// A day's work of each service by AWS's SDK for Go, which finds the endpoint and the key in its environment.
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
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	ktypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	ltypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

var ctx = context.Background()

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func check(ok bool, what string) {
	if !ok {
		fmt.Fprintln(os.Stderr, what)
		os.Exit(1)
	}
}

func queues(settings aws.Config) {
	client := sqs.NewFromConfig(settings)
	url := must(client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("go")})).QueueUrl
	must(client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("hello")}))
	got := must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 2}))
	check(len(got.Messages) == 1 && *got.Messages[0].Body == "hello", "one message")
	must(client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: got.Messages[0].ReceiptHandle}))
	_, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("none")})
	var missing *sqstypes.QueueDoesNotExist
	check(errors.As(err, &missing), "QueueDoesNotExist")
	must(client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: url}))
}

func streams(settings aws.Config) {
	client := kinesis.NewFromConfig(settings)
	name := aws.String("go")
	must(client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}))
	put := must(client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: name, Data: []byte("one"), PartitionKey: aws.String("k")}))
	at := must(client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: name, ShardId: put.ShardId, ShardIteratorType: ktypes.ShardIteratorTypeTrimHorizon}))
	got := must(client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator}))
	check(len(got.Records) == 1 && string(got.Records[0].Data) == "one", "one record")
	check(time.Since(*got.Records[0].ApproximateArrivalTimestamp) < time.Minute, "its time")
	summary := must(client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name}))
	consumer := must(client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: summary.StreamDescriptionSummary.StreamARN, ConsumerName: name}))
	pushed := must(client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: consumer.Consumer.ConsumerARN, ShardId: put.ShardId, StartingPosition: &ktypes.StartingPosition{Type: ktypes.ShardIteratorTypeTrimHorizon}}))
	event := (<-pushed.GetStream().Events()).(*ktypes.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
	check(len(event.Value.Records) == 1, "one record is pushed")
	pushed.GetStream().Close()
	must(client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: name}))
}

func topics(settings aws.Config) {
	client := sns.NewFromConfig(settings)
	arn := must(client.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("go")})).TopicArn
	must(client.Publish(ctx, &sns.PublishInput{TopicArn: arn, Message: aws.String("told")}))
	must(client.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: arn}))
}

func functions(settings aws.Config) {
	client := lambda.NewFromConfig(settings)
	got := must(client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), Payload: []byte("7")}))
	check(string(got.Payload) == `{"got":7}`, string(got.Payload))
	_, err := client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("none")})
	var missing *ltypes.ResourceNotFoundException
	check(errors.As(err, &missing), "ResourceNotFoundException")
}

// It speaks CBOR.
func metrics(settings aws.Config) {
	client := cloudwatch.NewFromConfig(settings)
	must(client.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: aws.String("Go"), MetricData: []cwtypes.MetricDatum{{MetricName: aws.String("m"), Value: aws.Float64(3)}}}))
	now := time.Now()
	got := must(client.GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{Namespace: aws.String("Go"), MetricName: aws.String("m"), StartTime: aws.Time(now.Add(-10 * time.Minute)), EndTime: aws.Time(now.Add(time.Minute)), Period: aws.Int32(3600), Statistics: []cwtypes.Statistic{cwtypes.StatisticSum}}))
	check(len(got.Datapoints) == 1 && *got.Datapoints[0].Sum == 3, "one point")
}

func main() {
	settings := must(config.LoadDefaultConfig(ctx))
	for _, work := range []func(aws.Config){queues, streams, topics, functions, metrics} {
		work(settings)
	}
	fmt.Println("done")
}
