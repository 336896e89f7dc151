"""Types of resources that users have and that are not served: why, and what to do."""

from __future__ import annotations

from typing import Final

_DOMAIN: Final = "an API is reached by its path on the app's port: leave custom domains out"
_ALL_INSIDE: Final = "a method reaches what this machine reaches: give the address itself"
_DATABASE: Final = "databases are not made: run your own, and give its host, port and dbname in the proxy's secret"
_BUCKET: Final = "buckets are not made: keep objects in a store of your own, and deploy with --skip-unsupported"
UNSERVED: Final = {
    **dict.fromkeys(
        (
            *("AWS::ApiGateway::DomainName", "AWS::ApiGateway::BasePathMapping", "AWS::ApiGatewayV2::DomainName"),
            *("AWS::ApiGatewayV2::ApiMapping", "AWS::Route53::RecordSetGroup", "AWS::Route53::RecordSet"),
        ),
        _DOMAIN,
    ),
    **dict.fromkeys(("AWS::ApiGateway::VpcLink", "AWS::ApiGatewayV2::VpcLink"), _ALL_INSIDE),
    **dict.fromkeys(("AWS::RDS::DBInstance", "AWS::RDS::DBCluster", "AWS::RDS::DBSubnetGroup"), _DATABASE),
    **dict.fromkeys(("AWS::S3::Bucket", "AWS::S3::BucketPolicy"), _BUCKET),
    "AWS::RDS::DBProxyEndpoint": "a proxy has one endpoint: AWS::RDS::DBProxy's",
    "AWS::CloudFormation::Stack": "nested stacks are not deployed: deploy its template by itself",
    "AWS::CloudFormation::CustomResource": "custom resources are not served",
    "AWS::SecretsManager::RotationSchedule": "secrets are not rotated: deploy another value",
    "AWS::SecretsManager::SecretTargetAttachment": "a secret holds what the template says: give host and port there",
}
"""Why types that users have are not served, and what to do."""
