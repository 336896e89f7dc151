module forebay/aws

go 1.24

require (
	github.com/aws/aws-sdk-go-v2 v1.41.0
	github.com/aws/aws-sdk-go-v2/config v1.32.0
	github.com/aws/aws-sdk-go-v2/service/cloudwatch v1.53.0
	github.com/aws/aws-sdk-go-v2/service/kinesis v1.42.0
	github.com/aws/aws-sdk-go-v2/service/lambda v1.82.0
	github.com/aws/aws-sdk-go-v2/service/sns v1.39.0
	github.com/aws/aws-sdk-go-v2/service/sqs v1.42.0
)
