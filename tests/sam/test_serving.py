"""Deploys into an app that runs, by the commands as they are typed."""

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest
from deploying import ENVIRONMENT, deployer, forebay, get, serving, until
from ports import free_port

from forebay import App
from forebay._sam import starters

pytestmark = pytest.mark.timeout(300)  # commands are programs, and each deploy starts several


def test_the_three_steps_answer_over_http_and_a_change_is_served_at_once(tmp_path):
    shop, port = tmp_path / "shop", free_port()
    forebay("init", "--name", "shop", "--app-template", "hello-world", "--no-interactive", cwd=tmp_path)
    forebay("build", cwd=shop)
    # Stack name, region, confirm, role creation, disable rollback, no authentication, save, file, environment.
    guided = forebay("deploy", "--guided", cwd=shop, given="shop\n\ny\n\n\ny\n\n\n\ny\n")
    assert "Successfully created stack - shop in us-east-1" in guided.stdout
    asked = [line for line in guided.stdout.splitlines() if ":" in line]
    order = [
        "Stack Name",
        "AWS Region",
        "Confirm changes",
        "Allow SAM CLI IAM",
        "Disable rollback",
        "has no authentication",
        "Save arguments",
    ]
    places = [next(at for at, line in enumerate(asked) if words in line) for words in order]
    assert places == sorted(places)
    assert "+ Add                    HelloWorldFunction" in guided.stdout
    with serving(shop / "data", port, cwd=shop):
        unchanged = forebay("deploy", "--no-confirm-changeset", cwd=shop, check=False)
        assert (unchanged.returncode, "No changes to deploy. Stack shop is up to date" in unchanged.stdout) == (1, True)
        told = json.loads(forebay("stack", "outputs", "shop", "--output", "json", cwd=shop).stdout)
        url = next(one["value"] for one in told if one["key"] == "HelloWorldApi")
        assert get(f"{url}?name=ann") == (200, '{"message": "hello ann"}')
        code = shop / "src" / "app.py"
        code.write_text(code.read_text().replace("hello {name}", "good day {name}"))
        forebay("build", cwd=shop)
        changed = forebay("deploy", cwd=shop, given="y\n")
        assert "* Modify                 HelloWorldFunction" in changed.stdout
        assert get(f"{url}?name=ann") == (200, '{"message": "good day ann"}')
        code.write_text("import nothing_of_that_name\n")
        forebay("build", cwd=shop)
        broken = forebay("deploy", cwd=shop, given="y\n", check=False)
        assert broken.returncode == 1
        assert "No module named 'nothing_of_that_name'" in broken.stderr
        assert get(f"{url}?name=ann") == (200, '{"message": "good day ann"}')  # the old code serves on
        assert "shop  UPDATE_ROLLBACK_COMPLETE" in forebay("stack", "list", cwd=shop).stdout
        forebay("stack", "delete", "shop", "--yes", cwd=shop)
        assert get(url)[0] == 404
        assert json.loads(forebay("function", "list", "--output", "json", cwd=shop).stdout) == []


def test_what_a_killed_app_had_deployed_is_served_again(tmp_path):
    worker, port = tmp_path / "worker", free_port()
    forebay("init", "--name", "worker", "--app-template", "fifo-worker", "--no-interactive", cwd=tmp_path)
    forebay("deploy", "--stack-name", "worker", "--capabilities", "CAPABILITY_IAM", cwd=worker)
    told = json.loads(forebay("stack", "outputs", "worker", "--output", "json", cwd=worker).stdout)
    queue = told[0]["value"]
    with serving(worker / "data", port, cwd=worker) as log:
        forebay("queue", "send", queue, '{"item": "a book"}', "--group-id", "ann", cwd=worker)
        until(lambda: "packed a book" in log.read_text())
    with serving(worker / "data", port, cwd=worker) as log:
        forebay("queue", "send", queue, '{"item": "a pen"}', "--group-id", "ann", cwd=worker)
        until(lambda: "packed a pen" in log.read_text())


def test_versions_aliases_and_a_function_url(tmp_path):
    port = free_port()
    (tmp_path / "src").mkdir()
    code = tmp_path / "src" / "app.py"
    code.write_text(
        "def handler(event, context):\n    return {'statusCode': 200, 'body': 'one ' + context.function_version}\n"
    )
    (tmp_path / "template.yaml").write_text(
        """
Transform: AWS::Serverless-2016-10-31
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: price
      CodeUri: src
      Handler: app.handler
      Runtime: python3.11
      AutoPublishAlias: live
      FunctionUrlConfig: {AuthType: NONE}
      Environment: {Variables: {GREETING: hello}}
Outputs:
  Url: {Value: !GetAtt FUrl.FunctionUrl}
"""
    )
    command = ["deploy", "--stack-name", "price", "--capabilities", "CAPABILITY_IAM"]
    store = tmp_path / "data"
    store.mkdir()
    with serving(store, port, cwd=tmp_path):
        printed = forebay(*command, cwd=tmp_path).stdout
        assert "Output" in printed
        assert invoked("price", tmp_path, "live") == "one 1"
        code.write_text(code.read_text().replace("one", "two"))
        forebay(*command, cwd=tmp_path)
        assert invoked("price", tmp_path, "live") == "two 2"
        assert invoked("price", tmp_path, None) == "two $LATEST"
        told = json.loads(forebay("stack", "outputs", "price", "--output", "json", cwd=tmp_path).stdout)
        assert get(told[0]["value"])[1].startswith("two")


def invoked(function, cwd, qualifier):
    more = [] if qualifier is None else ["--qualifier", qualifier]
    return json.loads(forebay("invoke", function, "{}", *more, "--output", "json", cwd=cwd).stdout)["body"]


@pytest.mark.parametrize("name", starters.NAMES)
def test_a_starter_is_deployed_and_its_own_tests_pass(tmp_path, name):
    project = tmp_path / "project"
    forebay("init", "--name", "project", "--app-template", name, "--no-interactive", cwd=tmp_path)
    forebay("build", cwd=project)
    deployed = forebay("deploy", "--stack-name", "project", "--capabilities", "CAPABILITY_IAM", cwd=project)
    assert "Successfully created stack" in deployed.stdout
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "tests"]
    done = subprocess.run(command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


async def test_an_app_that_takes_no_stacks_is_told_of(tmp_path):
    async with App("other", store=tmp_path / "data"):
        told = await asyncio.to_thread(forebay, "stack", "list", cwd=tmp_path, check=False)
    assert told.returncode == 1
    assert "another program has" in told.stderr
    assert "deploys no stacks" in told.stderr


def test_of_two_deploys_at_once_each_ends_or_says_who_is_at_work(tmp_path):
    queues = "".join(f"  Q{at}: {{Type: AWS::SQS::Queue}}\n" for at in range(40))
    (tmp_path / "template.yaml").write_text(f"Resources:\n{queues}")
    command = [sys.executable, "-m", "forebay.cli", "deploy", "--stack-name", "shop", "--no-fail-on-empty-changeset"]
    deploys = [
        subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(3)
    ]
    said = [(deploying.communicate(timeout=200)[0], deploying.returncode) for deploying in deploys]
    assert any("Successfully created stack" in text for text, _ in said), said
    for text, code in said:
        assert code == 0 or "another program has" in text, text
    assert "CREATE_COMPLETE" in forebay("stack", "list", cwd=tmp_path).stdout
    assert len(json.loads(forebay("queue", "list", "--output", "json", cwd=tmp_path).stdout)) == 40


def test_a_template_that_was_changed_and_not_built_is_told_of(tmp_path):
    text = "Resources: {Q: {Type: AWS::SQS::Queue}}\n"
    (tmp_path / "template.yaml").write_text(text)
    forebay("build", cwd=tmp_path)
    assert "is newer" not in forebay("deploy", "--stack-name", "shop", cwd=tmp_path).stderr
    later = time.time() + 60
    os.utime(tmp_path / "template.yaml", (later, later))
    told = forebay("stack", "diff", "shop", cwd=tmp_path)
    assert "template.yaml is newer than what was built: `forebay build` takes it over" in told.stderr


def test_a_directory_without_a_store_gets_none(tmp_path):
    """A wrong directory had a store from then on, and the command said that it has no stacks."""
    for words in (["list"], ["outputs", "shop"], ["delete", "shop", "--yes"]):
        told = forebay("stack", *words, cwd=tmp_path, check=False)
        assert told.stderr.startswith(f"Error: there is no store in {tmp_path / 'data'}: `forebay deploy` makes one"), (
            told
        )
        assert (told.returncode, list(tmp_path.iterdir())) == (1, [])


def test_options_take_several_values_as_those_of_sam(tmp_path):
    text = "Parameters: {A: {Type: String}, B: {Type: String}}\nResources: {Q: {Type: AWS::SQS::Queue}}\n"
    (tmp_path / "template.yaml").write_text(text + "Outputs: {Both: {Value: !Sub '${A} ${B}'}}\n")
    words = ["--parameter-overrides", "A=1", "B=two", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]
    told = forebay("deploy", *words, "--stack-name", "shop", cwd=tmp_path).stdout
    assert '["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]' in told
    assert "1 two" in told


def test_a_store_without_stacks_has_none(tmp_path):
    with deployer(tmp_path / "data"):
        pass
    answer = forebay("stack", "list", cwd=tmp_path)
    assert answer.stdout == "(none)\n"
    missing = forebay("stack", "outputs", "nothing", cwd=tmp_path, check=False)
    assert (missing.returncode, "Stack with id nothing does not exist" in missing.stderr) == (1, True)


def test_a_template_that_is_refused_names_the_line(tmp_path):
    (tmp_path / "template.yaml").write_text(
        "Resources:\n  Good:\n    Type: AWS::SQS::Queue\n  Table:\n    Type: AWS::DynamoDB::Table\n"
    )
    done = forebay("deploy", "--stack-name", "x", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "template.yaml:4: Table: AWS::DynamoDB::Table is not served" in done.stderr
    sam = "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {Events: []}\n"
    (tmp_path / "template.yaml").write_text(sam)
    done = forebay("deploy", "--stack-name", "x", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "template.yaml:3: Resource with id [F] is invalid" in done.stderr


def test_the_events_of_a_deploy_without_an_app_are_told_as_they_happen(tmp_path):
    """They came all at once at the end, and a deploy that takes long seemed to stand still."""
    (tmp_path / "src").mkdir()
    code = "import pathlib, time\nwhile not pathlib.Path({!r}).exists():\n    time.sleep(0.02)\ndef handler(event, context): ...\n"
    (tmp_path / "src" / "app.py").write_text(code.format(str(tmp_path / "go")))
    (tmp_path / "template.yaml").write_text(
        "Resources:\n  F:\n    Type: AWS::Lambda::Function\n"
        "    Properties: {Code: src, Handler: app.handler, Runtime: python3.11, Role: any, Timeout: 60}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "forebay.cli", "deploy", "--stack-name", "shop"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
    ) as process:
        lines = []
        while not lines or not lines[-1].startswith("CREATE_IN_PROGRESS       AWS::Lambda::Function"):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        (tmp_path / "go").touch()
        assert "Successfully created stack - shop" in process.stdout.read()
    assert process.returncode == 0
