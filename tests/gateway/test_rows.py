"""The table of what HTTP APIs and REST APIs have: each row of it in docs/rest-apis.md has tests, and they stand here."""

import ast
import json
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "rest-apis.md"
CASES = "test_rest_cases.test_aws_answered_the_same"

TESTS = {
    "functions with an event": ["test_http_api.test_a_handler_is_given_the_event_of_payload_format_two", CASES],
    "other servers (HTTP proxy)": ["test_http_api.test_another_server_is_behind_a_proxy_route", CASES],
    "other servers with mappings": [CASES],
    "functions with mappings": [CASES],
    "mock integrations": ["test_rest_api.test_a_document_is_imported_deployed_and_exported", CASES],
    "SQS, SNS, Kinesis": [CASES],
    "JWT authorisers": ["test_authorizers.test_a_token_lets_its_bearer_in"],
    "Lambda authorisers": [
        "test_authorizers.test_a_function_says_who_is_let_in_and_is_asked_once",
        "test_rest_api.test_a_lambda_authoriser_lets_in_or_not",
    ],
    "IAM authorisation": [
        "test_signatures.test_a_method_with_aws_iam_lets_in_who_signs_with_a_key",
        "test_signatures.test_http_apis_and_urls_let_in_who_signs",
    ],
    "Cognito user pools": ["test_signatures.test_a_token_of_a_user_pool_lets_in"],
    "CORS": ["test_http_api.test_cors_is_the_gateways_where_it_is_declared", CASES],
    "automatic deployment": ["test_http_api.test_a_route_that_is_added_while_the_app_runs_is_served"],
    "stages with variables": ["test_http_api.test_a_stage_is_the_first_segment_and_has_variables", CASES],
    "API keys, usage plans": [
        "test_rest_api.test_a_client_needs_its_key_and_keeps_to_its_plan",
        "test_usage.test_a_quota_goes_on_after_a_restart",
    ],
    "response cache": ["test_rest_api.test_an_answer_is_kept_where_the_stage_has_a_cache"],
    "validation of requests": [CASES],
    "templates (VTL)": [CASES],
    "test of a method": ["test_rest_api.test_a_method_is_tested_with_its_log"],
    "resource policies": ["test_rows.test_a_resource_policy_says_who_is_let_in"],
    "certificates of clients": ["test_client_certificates.test_an_api_knows_its_clients_by_their_certificates"],
    "certificates for servers": ["test_client_certificates.test_a_stage_shows_its_certificate_to_the_server_behind_it"],
    "OpenAPI documents": [
        "test_openapi.test_what_a_document_declares_is_served",
        "test_openapi.test_what_is_served_is_written_and_read_again",
        "test_rest_api.test_a_document_is_imported_deployed_and_exported",
    ],
    "WAF, X-Ray": ["test_rows.test_what_is_not_there_is_refused_when_it_is_asked_for"],
}


def rows():
    table = (
        PAGE.read_text(encoding="utf-8").partition("## What HTTP APIs and REST APIs have\n")[2].partition("\n## ")[0]
    )
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [line.split("|")[1].strip() for line in lines if line.split("|")[1].strip()]


def test_each_row_of_the_table_has_its_tests():
    known = {
        f"{path.stem}.{one.name}"
        for path in HERE.glob("test_*.py")
        for one in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for row in rows():
        tests = [tests for begin, tests in TESTS.items() if row.startswith(begin)]
        assert len(tests) == 1, f"the row {row!r} has no tests in TESTS"
        assert set(tests[0]) <= known, (row, set(tests[0]) - known)
    assert len(rows()) == len(TESTS)


async def test_a_resource_policy_says_who_is_let_in(app, serve):
    rest = app.rest_api("pets")

    async def pets(event, context):
        return {"statusCode": 200}

    handler = rest.method("GET", "/pets")(pets)
    rest.method("GET", "/secret")(handler)
    client = await serve()
    statement = {"Principal": "*", "Action": "execute-api:Invoke"}
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {**statement, "Effect": "Allow", "Resource": "execute-api:/*"},
            {**statement, "Effect": "Deny", "Resource": "execute-api:/prod/GET/secret"},
        ],
    }
    patch = [{"op": "replace", "path": "/policy", "value": json.dumps(policy)}]
    await rest.call("UpdateRestApi", patchOperations=patch)
    await rest.deploy("prod")
    assert (await client.ask("GET", "/_apis/pets/prod/pets")).status == 200
    # However its path is written: each of these reaches the same method.
    for path in ("secret", "secret/", "%73ecret", "/secret"):
        refused = await client.ask("GET", f"/_apis/pets/prod/{path}")
        assert (refused.status, refused["x-amzn-errortype"]) == (403, "AccessDeniedException"), path


async def test_what_is_not_there_is_refused_when_it_is_asked_for(app, serve):
    await serve()
    for operation in ("CreateDomainName", "CreateVpcLink", "GetSdk"):
        told = await app._caller.ask("rest.call", operation=operation, params={})
        assert told["status"] >= 400 and told["body"]["message"], operation
