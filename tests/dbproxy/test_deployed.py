"""Database proxies of templates: functions find them by their endpoints, and share one maximum over all of their processes.

The servers are real, and so are the app and the functions' processes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from db_servers import PASSWORD, View

sys.path.insert(0, str(Path(__file__).parents[1] / "sam"))
from deploying import ENVIRONMENT, PLACE, forebay, serving, until
from ports import free_port

if TYPE_CHECKING:
    from db_servers import Server

pytestmark = pytest.mark.timeout(300)  # commands are programs, and each deploy starts several

FUNCTION = """
  {name}:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: {name}
      Handler: app.handler
      Runtime: python3.11
      Role: "arn:aws:iam::000000000000:role/x"
      Timeout: 60
      Code: src
      Environment: {{Variables: {{DB: !GetAtt Proxy.Endpoint, ANSWER: "{answer}"}}}}
"""
TEMPLATE = """
Parameters: {{Password: {{Type: String, NoEcho: true}}}}
Resources:
  Login:
    Type: AWS::SecretsManager::Secret
    Properties:
      Name: login
      SecretString: !Sub '{{"username": "app", "password": "${{Password}}", "host": "127.0.0.1", "port": {port}, "dbname": "app"}}'
  Proxy:
    Type: AWS::RDS::DBProxy
    Properties:
      DBProxyName: orders
      EngineFamily: {family}
      RoleArn: "arn:aws:iam::000000000000:role/x"
      VpcSubnetIds: [subnet-1]
      Auth: [{{AuthScheme: SECRETS, IAMAuth: DISABLED, SecretArn: !Ref Login}}]
  Targets:
    Type: AWS::RDS::DBProxyTargetGroup
    Properties:
      DBProxyName: !Ref Proxy
      TargetGroupName: default
      DBInstanceIdentifiers: [orders]
      ConnectionPoolConfigurationInfo: {{MaxConnectionsPercent: 5, MaxIdleConnectionsPercent: 5, ConnectionBorrowTimeout: 30}}
  Plain: {{Type: AWS::Lambda::Function, Properties: {{FunctionName: plain, Handler: index.handler, Runtime: python3.11, Role: x,
    Code: {{ZipFile: "import os\\n\\ndef handler(event, context):\\n    return 'FOREBAY_ATTACHMENTS' in os.environ\\n"}}}}}}
{functions}
Outputs: {{Endpoint: {{Value: !GetAtt Proxy.Endpoint}}}}
"""
CODE = """
import os

from forebay.dbproxy import attached

proxy = attached(os.environ["DB"])


async def handler(event, context):
    async with proxy.connect() as client, client.transaction():
        found = await client.fetch_value("SELECT {nap}")
    return [os.environ["ANSWER"], found is not None, os.getpid()]
"""
NAPS = {"postgresql": "pg_sleep(0.2)::text", "mysql": "SLEEP(0.2)"}


class Shop:
    """A folder with a template, and the app that serves what it deploys."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder = folder
        self._server = server
        self.store = folder / "data"
        self.store.mkdir()
        (folder / "src").mkdir()
        (folder / "src" / "app.py").write_text(CODE.format(nap=NAPS[server.engine]))

    def deploy(self, *, names=("one", "two"), answer="first", port=None, password=PASSWORD, check=True):
        functions = "".join(FUNCTION.format(name=name, answer=answer) for name in names)
        family = "POSTGRESQL" if self._server.engine == "postgresql" else "MYSQL"
        text = TEMPLATE.format(port=port or self._server.port, family=family, functions=functions)
        (self._folder / "template.yaml").write_text(text)
        options = ["--stack-name", "shop", "--parameter-overrides", f"Password={password}"]
        done = forebay("deploy", *options, cwd=self._folder, check=check)
        assert PASSWORD not in done.stdout + done.stderr
        return done

    def invoke(self, name):
        return json.loads(forebay("invoke", name, "{}", "--output", "json", cwd=self._folder).stdout)

    def invoke_many(self, names, times):
        command = [sys.executable, "-m", "forebay.cli", "invoke"]
        started = [
            subprocess.Popen(
                [*command, name, "{}", "--output", "json"], cwd=self._folder, env=ENVIRONMENT, stdout=subprocess.PIPE
            )
            for name in names
            for _ in range(times)
        ]
        return [json.loads(one.communicate(timeout=120)[0]) for one in started]


@pytest.fixture
def shop(tmp_path, server):
    return Shop(tmp_path, server)


def peak_while(server, work):
    """Do some work; give what it gives, and the most connections that the server had meanwhile."""

    async def watched():
        async with View(server) as view:
            done, peak = asyncio.create_task(asyncio.to_thread(work)), 0
            while not done.done():
                peak = max(peak, await view.connections())
                await asyncio.sleep(0.01)
            return done.result(), peak

    return asyncio.run(watched())


def test_functions_of_a_stack_share_its_proxy(shop, server, tmp_path):
    with serving(shop.store, cwd=tmp_path):
        said = shop.deploy()
        assert "orders.proxy.forebay.invalid" in said.stdout
        assert "DBInstanceIdentifiers: the host in the proxy's secret is the database" in said.stderr
        answers, peak = peak_while(server, lambda: shop.invoke_many(("one", "two"), 8))
        assert len({pid for _, _, pid in answers}) > 6
        assert [answer[:2] for answer in answers] == [["first", True]] * 16
        assert 4 <= peak <= 6, "5 % of 120 connections, over all processes of both functions"
        assert shop.invoke("plain") is False, "its variables do not name the proxy"
        arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert PASSWORD not in arguments
    with serving(shop.store, cwd=tmp_path):
        assert shop.invoke("one")[:2] == ["first", True], "the next app opens it again"


def test_what_cannot_be_attached_fails_the_deploy_and_the_old_configuration_serves(shop, tmp_path):
    with serving(shop.store, cwd=tmp_path):
        refused = shop.deploy(password="wrong", check=False)
        assert refused.returncode == 1
        assert "function one: database proxy orders: " in refused.stderr, refused.stderr
        assert "ROLLBACK_COMPLETE" in refused.stderr, refused.stderr
        shop.deploy()
        assert shop.invoke("one")[0] == "first"
        closed = shop.deploy(answer="second", port=free_port(), check=False)
        assert closed.returncode == 1
        assert "UPDATE_ROLLBACK_COMPLETE" in closed.stderr
        assert shop.invoke("one")[:2] == ["first", True]
        shop.deploy(answer="third")
        assert shop.invoke("two")[:2] == ["third", True]


def test_another_password_holds_from_the_next_connection_on(shop, server, tmp_path):
    with serving(shop.store, cwd=tmp_path):
        shop.deploy(names=("one",))
        assert shop.invoke("one")[1] is True
        user = "app" if server.engine == "postgresql" else "app@'%'"
        change = "ALTER USER {} {} '{}'"
        word = "PASSWORD" if server.engine == "postgresql" else "IDENTIFIED BY"
        server.sql(change.format(user, word, "another"))
        try:
            shop.deploy(names=("one",), password="another")
            assert shop.invoke("one")[1] is True
        finally:
            server.sql(change.format(user, word, PASSWORD))


def test_a_store_that_no_app_runs_on_takes_it_and_the_next_app_serves_it(shop, tmp_path):
    shop.deploy()
    with serving(shop.store, cwd=tmp_path):
        assert shop.invoke("two")[:2] == ["first", True]
        forebay("stack", "delete", "shop", "--yes", cwd=tmp_path)
        until(lambda: "shop" not in forebay("stack", "list", cwd=tmp_path).stdout)


def test_an_attachment_is_opened_once_and_is_idle_after_fourteen_days(server, tmp_path):
    from forebay._stacks.attachments import Attachments
    from forebay._stacks.functions import Code, Deployed
    from forebay._stacks.host import AppTarget
    from forebay._stacks.proxies import Attachment
    from forebay.dbproxy.attached import proxy_of
    from forebay.testing import VirtualClock

    login = {"username": "app", "password": PASSWORD, "host": "127.0.0.1", "port": server.port, "dbname": "app"}

    def deployed(name, version):
        attachment = Attachment(
            name="orders",
            endpoint="orders.proxy.forebay.invalid",
            arn="arn",
            engine=server.engine,
            secrets=("login",),
            settings=(("maximum_connections_percent", 5),),
            version=version,
        )
        return Deployed(
            name=name,
            version="$LATEST",
            handler="app.handler",
            runtime="python3.11",
            code=Code(),
            layers=(),
            variables={},
            timeout=3,
            memory=128,
            reserved=None,
            provisioned=0,
            asynchronous={},
            attachments=(attachment,),
        )

    async def live():
        clock = VirtualClock()
        attachments = Attachments(lambda _: json.dumps(login), clock)
        for name, version in (("one", "a"), ("two", "b")):
            function = deployed(name, version)
            await attachments.open(function)
            attachments.use(function)
        (told,), (again,) = (attachments.share(deployed(name, "c")) for name in ("one", "two"))
        assert told["address"] == again["address"]
        assert PASSWORD not in json.dumps(told)
        async with View(server) as view:
            assert await view.connections() == 1, "the app has tried it once, for both"
            await clock.advance(14 * 86_400 - 7_200)
            assert not attachments.is_idle("one")
            await clock.advance(7_200)
            target = AppTarget(None, tmp_path, PLACE, {}, attachments)
            assert target.state("one")["State"] == "Inactive"
            assert target.state("two")["StateReasonCode"] == "Idle"
            assert target.state("three") is None, "it is attached to nothing"
            ends = time.monotonic() + 5
            while await view.connections():
                assert time.monotonic() < ends
                await asyncio.sleep(0.01)
        joining = proxy_of(told, lambda _: Fixed())
        joining.join(told["address"])
        async with joining, joining.connect() as client:
            assert await client.fetch_value("SELECT 1") == 1
            assert not attachments.is_idle("one"), "whoever uses it makes it active"
        attachments.forget("one")
        attachments.forget("two")
        await attachments.close()
        return told["address"]

    class Fixed:
        async def get(self):
            return login

    assert not Path(asyncio.run(live())).exists()
