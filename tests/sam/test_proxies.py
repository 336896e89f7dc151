"""Templates with database proxies that cannot be deployed are refused before any step, with the reason."""

import pytest
from deploying import asked, deployer

from forebay._sam.errors import TemplateRefused
from forebay.dbproxy import attached
from forebay.errors import InvalidParameterValue

LOGIN = '{"username": "app", "password": "p", "host": "db", "port": 5432, "dbname": "app"}'
TEMPLATE = """
Parameters: {Whole: {Type: String, NoEcho: true, Default: "{}"}}
Resources:
  Login: {Type: AWS::SecretsManager::Secret, Properties: {Name: login, SecretString: 'LOGIN'}}
  Proxy:
    Type: AWS::RDS::DBProxy
    Properties: {DBProxyName: orders, EngineFamily: POSTGRESQL, Auth: [{SecretArn: !Ref Login}]}
  Targets: {Type: AWS::RDS::DBProxyTargetGroup, Properties: {DBProxyName: !Ref Proxy}}
  F:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: f, Handler: index.handler, Runtime: python3.11, Role: x, Code: {ZipFile: x},
      Environment: {Variables: {URL: !Sub "postgresql://app@${Proxy.Endpoint}/app"}}}
"""
WHOLE = TEMPLATE.replace("LOGIN", LOGIN)
SECOND = "  More: {Type: AWS::RDS::DBProxyTargetGroup, Properties: {DBProxyName: !Ref Proxy, TargetGroupName: default}}\n  F:"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("LOGIN", '{"username": "app", "password": "p"}'), "has no host and no dbname"),
        (("LOGIN", "no JSON"), "has no username and no password"),
        (("LOGIN", LOGIN.replace("5432", '"x"')), "port is a number"),
        (("!Ref Login", "arn:aws:secretsmanager:::secret:gone"), "no stack of this store has the secret"),
        (("POSTGRESQL", "SQLSERVER"), "EngineFamily: MYSQL, POSTGRESQL are served"),
        (("python3.11", "provided.al2023"), "provided.al2023 cannot use it"),
        (("${Proxy.Endpoint}", "other.proxy.forebay.invalid"), "a database proxy of another stack"),
        (("\n  F:", "\n" + SECOND), "already exists in stack shop: Targets is it"),
        (("DBProxyName: !Ref Proxy}", "DBProxyName: other}"), "is not a proxy of this stack"),
        (("!Ref Proxy}", "!Ref Proxy, TargetGroupName: mine}"), "a proxy has one group, named default"),
        (
            ("!Ref Proxy}", "!Ref Proxy, ConnectionPoolConfigurationInfo: {MaxConnectionsPercent: 101}}"),
            "maximum_connections_percent=101: must be 1 to 100",
        ),
        (
            ("!Ref Proxy}", "!Ref Proxy, ConnectionPoolConfigurationInfo: {Unknown: 1}}"),
            "ConnectionPoolConfigurationInfo.Unknown: it is not served",
        ),
        (("{SecretArn: !Ref Login}", "{SecretArn: !Ref Login, Odd: 1}"), "Auth.0.Odd: it is not served"),
        (("orders, ", "orders, IdleClientTimeout: 999999, "), "idle_client_timeout=999999"),
        (("AWS::RDS::DBProxy\n", "AWS::RDS::DBInstance\n"), "databases are not made: run your own"),
    ],
)
def test_a_proxy_that_cannot_be_is_refused(tmp_path, change, reason):
    assert change[0] in (TEMPLATE if change[0] == "LOGIN" else WHOLE)
    text = TEMPLATE.replace(*change) if change[0] == "LOGIN" else WHOLE.replace(*change)
    with deployer(tmp_path) as (service, _, _connection):
        with pytest.raises(TemplateRefused) as refused:
            service.begin(asked(text, tmp_path))
        assert any(reason in one for one in refused.value.reasons), refused.value.reasons
        assert service.store.stacks() == []


def test_a_function_is_attached_to_what_its_variables_name_and_behind_it(tmp_path):
    with deployer(tmp_path) as (service, _, _connection):
        plan = service.preview(asked(WHOLE, tmp_path)).plan
        from forebay._stacks.assembly import assemble

        one = assemble(plan.resources)["function f"]
        (attachment,) = one.what.attachments
        assert (attachment.name, attachment.endpoint) == ("orders", "orders.proxy.forebay.invalid")
        assert one.trigger in {"Targets", "F"}
        behind = WHOLE.replace("postgresql://app@${Proxy.Endpoint}/app", "tcp://db/app")
        plan = service.preview(asked(behind, tmp_path)).plan
        assert assemble(plan.resources)["function f"].what.attachments == ()


def test_a_secret_that_is_whole_a_parameter_is_read_when_it_is_deployed(tmp_path):
    text = TEMPLATE.replace("'LOGIN'", "!Ref Whole")
    with deployer(tmp_path) as (service, _, _connection):
        assert service.preview(asked(text, tmp_path, parameters={"Whole": LOGIN})).plan.steps


def test_a_process_without_attachments_says_so():
    with pytest.raises(
        InvalidParameterValue, match=r"'orders' is not a database proxy of this function \(attached: none\)"
    ):
        attached("orders")
