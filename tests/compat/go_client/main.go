// A function in Go, on the runtime client of AWS for that language.
package main

import (
	"context"
	"errors"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func handle(ctx context.Context, event map[string]any) (any, error) {
	if event["fail"] == true {
		return nil, errors.New("no")
	}
	about, _ := lambdacontext.FromContext(ctx)
	return []any{event, about.AwsRequestID, lambdacontext.FunctionName}, nil
}

func main() { lambda.Start(handle) }
