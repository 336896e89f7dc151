"""AWS's calls about tags, policies, connections and API destinations, and those of other services in recorded scenarios."""

from __future__ import annotations

import json
import re

from event_calls import ACCOUNT, Calls, Refused, tag_notes

from forebay.errors import ResourceNotFound

KINDS = ("BASIC", "OAUTH_CLIENT_CREDENTIALS", "API_KEY")


class AdminCalls(Calls):
    """One scenario's calls, with these."""

    def of_arn(self, arn):
        kind, _, path = arn.split(":", 5)[5].partition("/")
        if kind == "event-bus":
            return "bus", {"name": path}
        bus, _, name = path.rpartition("/")
        return "rule", {"bus": bus or "default", "name": name}

    async def tag_resource(self, params):
        verb, named = self.of_arn(params["ResourceARN"])
        await self.ask(f"{verb}.annotate", **named, notes=tag_notes(params))
        return {}

    async def untag_resource(self, params):
        verb, named = self.of_arn(params["ResourceARN"])
        await self.ask(f"{verb}.annotate", **named, notes={f"tag:{key}": None for key in params["TagKeys"]})
        return {}

    async def list_tags_for_resource(self, params):
        verb, named = self.of_arn(params["ResourceARN"])
        notes = (await self.ask(f"{verb}.describe", **named))["notes"]
        tags = [(name.removeprefix("tag:"), text) for name, text in notes.items() if name.startswith("tag:")]
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags]}

    async def policy(self, params):
        name = self.bus(params)
        described = await self.ask("bus.describe", name=name)
        policy = json.loads(described["notes"].get("policy") or '{"Version": "2012-10-17", "Statement": []}')
        return name, described["arn"], policy

    async def put_permission(self, params):
        name, arn, policy = await self.policy(params)
        if "Policy" in params:
            policy = json.loads(params["Policy"])
        else:
            principal = params["Principal"]
            principal = "*" if principal == "*" else {"AWS": f"arn:aws:iam::{principal}:root"}
            sid = params["StatementId"]
            new = {"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": params["Action"], "Resource": arn}
            policy["Statement"] = [*(one for one in policy["Statement"] if one["Sid"] != sid), new]
        await self.ask("bus.annotate", name=name, notes={"policy": json.dumps(policy)})
        return {}

    async def remove_permission(self, params):
        name, _, policy = await self.policy(params)
        left = []
        if not params.get("RemoveAllPermissions"):
            left = [one for one in policy["Statement"] if one["Sid"] != params["StatementId"]]
            if len(left) == len(policy["Statement"]):
                raise Refused("ResourceNotFoundException", "Statement with the provided id does not exist.")
        text = json.dumps({**policy, "Statement": left}) if left else None
        await self.ask("bus.annotate", name=name, notes={"policy": text})
        return {}

    # --- connections and API destinations

    async def create_connection(self, params):
        kind = params["AuthorizationType"]
        if kind not in KINDS:
            told = f"1 validation error detected: Value '{kind}' at 'authorizationType' failed to satisfy constraint"
            raise Refused("ValidationException", f"{told}: Member must satisfy enum value set: [{', '.join(KINDS)}]")
        given = params["AuthParameters"]
        authorization = {"kind": kind, "parameters": given, "shown": without_secrets(given)}
        return self.shown_connection(
            await self.ask("http_connection.put", name=params["Name"], authorization=authorization)
        )

    @staticmethod
    def shown_connection(one):
        last = {} if one["authorized_ms"] is None else {"LastAuthorizedTime": one["authorized_ms"]}
        return {
            "Name": one["name"],
            "ConnectionArn": one["arn"],
            "ConnectionState": one["state"],
            "SecretArn": one["secret_arn"],
            "AuthorizationType": one["kind"],
            "AuthParameters": one["shown"],
            "CreationTime": one["created_ms"],
            "LastModifiedTime": one["modified_ms"],
            **last,
        }

    async def failed_to(self, doing, what, verb, params, **more):
        try:
            return await self.ask(verb, name=params["Name"], **more)
        except ResourceNotFound as error:
            raise Refused("ResourceNotFoundException", f"Failed to {doing} the {what}(s). {error}") from error

    async def describe_connection(self, params):
        return self.shown_connection(await self.failed_to("describe", "connection", "http_connection.describe", params))

    async def delete_connection(self, params):
        deleted = await self.failed_to("delete", "connection", "http_connection.delete", params)
        return self.shown_connection({**deleted, "state": "DELETING"})

    async def create_api_destination(self, params):
        await self.clock.settle()
        asked = {
            "connection": params["ConnectionArn"].split(":connection/")[1].split("/")[0],
            "endpoint": params["InvocationEndpoint"],
            "method": params["HttpMethod"],
            "invocations_per_second": params.get("InvocationRateLimitPerSecond", 300),
            "description": params.get("Description", ""),
        }
        return self.shown_destination(await self.ask("api_destination.put", name=params["Name"], **asked))

    update_api_destination = create_api_destination

    @staticmethod
    def shown_destination(one):
        described = {"Description": one["description"]} if one["description"] else {}
        return {
            "ApiDestinationArn": one["arn"],
            "Name": one["name"],
            "ApiDestinationState": "ACTIVE" if one["is_active"] else "INACTIVE",
            "ConnectionArn": one["connection_arn"],
            "InvocationEndpoint": one["endpoint"],
            "HttpMethod": one["method"],
            "InvocationRateLimitPerSecond": one["invocations_per_second"],
            "CreationTime": one["created_ms"],
            "LastModifiedTime": one["modified_ms"],
            **described,
        }

    async def describe_api_destination(self, params):
        return self.shown_destination(
            await self.failed_to("describe", "api-destination", "api_destination.describe", params)
        )

    async def list_api_destinations(self, params):
        found = [one for one in await self.ask("api_destination.list") if one["name"].startswith(params["NamePrefix"])]
        return {"ApiDestinations": [self.shown_destination(one) for one in found]}

    async def delete_api_destination(self, params):
        await self.failed_to("delete", "api-destination", "api_destination.delete", params)
        return {}

    # --- beside EventBridge

    async def describe_secret(self, params):
        return {"ARN": (await self.connection_of(params["SecretId"]))["secret_arn"]}

    async def connection_of(self, secret):
        for one in await self.ask("http_connection.list"):
            if one["secret_arn"] == secret:
                return one
        raise Refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")

    async def get_secret_value(self, params):
        one = await self.connection_of(params["SecretId"])
        secret = await self.ask("http_connection.secret", name=one["name"])
        [given] = secret.values()
        names = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): text for name, text in given.items()}
        return {
            "ARN": one["secret_arn"],
            "Name": one["secret_arn"].split(":secret:")[-1].rsplit("-", 1)[0],
            "CreatedDate": one["created_ms"],
            "VersionId": one["arn"].rsplit("/", 1)[-1],
            "VersionStages": ["AWSCURRENT"],
            "SecretString": json.dumps(names),
        }

    async def create_role(self, params):
        return {"Role": {"Arn": f"arn:aws:iam::{ACCOUNT}:role/{params['RoleName']}"}}

    async def create_role_event_bus_source_to_bus_target(self, _params):
        return f"arn:aws:iam::{ACCOUNT}:role/buses"

    async def put_role_policy(self, _params):
        return {}

    async def set_queue_attributes(self, _params):
        return {}

    async def set_topic_attributes(self, _params):
        return {}

    async def sns_create_topic(self, params):
        topic = self.app.topic(params["Name"])
        return {"TopicArn": topic.arn}

    async def sns_subscription(self, params):
        topic, queue = params["TopicArn"].rsplit(":", 1)[-1], params["Endpoint"].rsplit(":", 1)[-1]
        await self.ask("topic.subscribe", name=topic, queue=queue)
        return {"SubscriptionArn": f"{params['TopicArn']}:1"}


def without_secrets(given):
    if isinstance(given, dict):
        hidden = ("Password", "ApiKeyValue", "ClientSecret")
        return {name: without_secrets(one) for name, one in given.items() if name not in hidden}
    return [without_secrets(one) for one in given] if isinstance(given, list) else given
