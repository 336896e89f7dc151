module forebay/aws

go 1.24
