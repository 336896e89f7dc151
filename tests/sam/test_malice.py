"""Templates that are meant to do harm: they lead nowhere outside, take no time or memory without end, and show no secret."""

import asyncio
import json
import os
import shutil
import time
import zipfile

import pytest
from deploying import PLACE, Killed, asked, deploy, deployer, forebay

from forebay._sam import secret
from forebay._sam.errors import TemplateRefused
from forebay._stacks import host as stacks_host
from forebay._stacks.artifacts import NEW_SECONDS, Artifacts
from forebay._stacks.host import Host
from forebay._stacks.table import BUCKET_STACK
from forebay._stacks.wire import Wire
from forebay.clock import SystemClock

FUNCTION = """
Resources:
  F:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: f, Handler: app.handler, Runtime: python3.11, Role: x, Code: CODE}
"""


def refused(text, store, **more):
    """Give the reasons for which a template is refused; nothing is stored."""
    with deployer(store) as (service, _, _connection):
        with pytest.raises(TemplateRefused) as error:
            service.begin(asked(text, store, **more))
        assert service.store.stacks() == []
        return "\n".join(error.value.reasons)


def test_a_resource_whose_name_is_a_path_is_refused(tmp_path):
    """`forebay build` wrote its code to wherever the name led."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("def handler(event, context):\n    pass\n")
    text = FUNCTION.replace("F:", "../../../escaped:").replace("CODE", "src")
    (tmp_path / "template.yaml").write_text(text)
    built = forebay("build", cwd=tmp_path, check=False)
    assert built.returncode == 1
    assert "Resource name ../../../escaped is non alphanumeric." in built.stderr
    assert not (tmp_path / "escaped").exists()
    assert "Resource name ../../../escaped is non alphanumeric." in refused(text, tmp_path)


@pytest.mark.parametrize("name", ["..", ".", "../../outside", "a/b", "UPPER", "a", "x" * 64, "a..b"])
def test_a_bucket_is_named_as_s3_allows(tmp_path, name):
    """A bucket named `..` was the store's own directory: with its stack, everything would have gone."""
    text = json.dumps({"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}}})
    assert "a bucket's name has 3 to 63" in refused(text, tmp_path, stack=BUCKET_STACK)


@pytest.mark.parametrize("key", ["..", ".", "/", "a/..", "code", "0" * 31, "inline-" + "0" * 33])
def test_code_is_named_by_a_key_of_the_store(tmp_path, key):
    """Code named `..` was the store's own directory."""
    code = json.dumps({"S3Bucket": "forebay-artifacts", "S3Key": key})
    assert "is not code of this store" in refused(FUNCTION.replace("CODE", code), tmp_path)


def test_values_that_double_with_each_resource_are_refused_soon(tmp_path):
    doubles = "".join(
        f"  P{at}: {{Type: AWS::SSM::Parameter, Properties: {{Type: String, Value: !Sub '${{P{at - 1}.Value}}${{P{at - 1}.Value}}'}}}}\n"
        for at in range(1, 60)
    )
    first = "Resources:\n  P0: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: 'twice'}}\n"
    began = time.monotonic()
    assert "its values have more than 16,000,000 characters" in refused(first + doubles, tmp_path)
    assert time.monotonic() - began < 20


def test_a_pattern_that_takes_for_ever_is_refused_soon(tmp_path):
    """It would have stopped the app, whose loop matched it."""
    text = """
Parameters: {P: {Type: String, AllowedPattern: "(a+)+$"}}
Resources: {Q: {Type: AWS::SQS::Queue}}
"""
    began = time.monotonic()
    said = refused(text, tmp_path, parameters={"P": "a" * 60 + "!"})
    assert "Parameter 'P' has an AllowedPattern that was not matched within 2 s" in said
    assert time.monotonic() - began < 20
    assert "must match pattern (a+)+$" in refused(text, tmp_path, parameters={"P": "b"})
    assert deploy(text, tmp_path, parameters={"P": "aa"}) == "CREATE_COMPLETE"


def test_patterns_have_their_time_together(tmp_path):
    """Each had its own two seconds, for which the app stood still."""
    declared = "\n".join(f'  P{at}: {{Type: String, AllowedPattern: "(a+)+$"}}' for at in range(100))
    text = f"Parameters:\n  Fine: {{Type: String, AllowedPattern: '[a-z]+'}}\n{declared}\nResources: {{Q: {{Type: AWS::SQS::Queue}}}}\n"
    given = {"Fine": "UPPER", **{f"P{at}": "a" * 60 + "!" for at in range(100)}}
    began = time.monotonic()
    said = refused(text, tmp_path, parameters=given)
    assert time.monotonic() - began < 60
    assert "Parameter 'Fine' must match pattern [a-z]+" in said
    assert "Parameter 'P0' has an AllowedPattern that was not matched within 2 s" in said


def test_a_limit_of_a_parameter_that_is_no_number_is_refused(tmp_path):
    text = "Parameters: {P: {Type: String, MinLength: null}}\nResources: {Q: {Type: AWS::SQS::Queue}}\n"
    assert "Parameter 'P' has a limit that is not a number" in refused(text, tmp_path, parameters={"P": "b"})


SECRET = """
Parameters: {Word: {Type: String, NoEcho: true}}
Resources:
  Kept: {Type: AWS::SecretsManager::Secret, Properties: {Name: kept, SecretString: !Ref Word}}
  Works:
    Type: AWS::Lambda::Function
    DependsOn: Kept
    Properties: {FunctionName: works, Handler: index.handler, Runtime: python3.11, Role: x,
      Code: {ZipFile: "def handler(event, context):\\n    pass\\n"}, Environment: {Variables: {WORD: !Ref Word}}}
  Fails:
    Type: AWS::Lambda::Function
    DependsOn: Works
    Properties: {FunctionName: fails, Handler: index.handler, Runtime: python3.11, Role: x,
      Code: {ZipFile: "import os\\nraise ValueError('no entry with ' + os.environ['WORD'])\\n"},
      Environment: {Variables: {WORD: !Ref Word}}}
"""


def test_an_error_of_a_functions_code_does_not_show_the_secret_in_it(tmp_path):
    with deployer(tmp_path) as (service, target, _):
        service.begin(asked(SECRET, tmp_path, parameters={"Word": "open-sesame"}))
        assert asyncio.run(service.run("shop", target)) == "ROLLBACK_COMPLETE"
        stack = service.store.stack("shop")
        assert "no entry with ****" in stack.reason
        events = service.store.events(stack.id)
        assert "open-sesame" not in json.dumps([one.reason for one in events])
        assert any("no entry with ****" in (one.reason or "") for one in events)


def test_what_a_failed_deploy_leaves_has_its_secrets(tmp_path):
    """Functions that were kept got the mark of a secret instead of it, once the app had started again."""
    with deployer(tmp_path) as (service, target, _):
        service.begin(asked(SECRET, tmp_path, parameters={"Word": "open-sesame"}, disable_rollback=True))
        assert asyncio.run(service.run("shop", target)) == "CREATE_FAILED"
    with deployer(tmp_path) as (service, _, _connection):
        assert service.store.secrets("shop")["Word"] == "open-sesame"
        assert service.store.stack("shop").parameters.secrets["Word"] == "open-sesame"
        assert service.secret_value("kept") == "open-sesame"


def test_a_secret_can_be_read_while_its_stack_is_made(tmp_path):
    """A function that read it as it was loaded was given the mark of it."""

    def passed(name):
        if name == "done 1":
            raise Killed

    with deployer(tmp_path, passed) as (service, target, _):
        service.begin(asked(SECRET, tmp_path, parameters={"Word": "open-sesame"}))
        with pytest.raises(Killed):
            asyncio.run(service.run("shop", target))
        wire = Wire(lambda: service, tmp_path, lambda _: None)
        answer = asyncio.run(wire.answer("secretsmanager", "GetSecretValue", {"SecretId": "kept"}))
        assert answer["answer"]["SecretString"] == "open-sesame"


def test_an_operation_that_a_full_disk_stops_goes_on_when_there_is_room(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(stacks_host, "AGAIN_SECONDS", 0.05)
    queues = "\n".join(f"  Q{at}: {{Type: AWS::SQS::Queue}}" for at in range(20))

    async def live(service, target):
        database = service.store._db
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count={pages}")
        host = Host(tmp_path, PLACE, None, SystemClock())
        running = asyncio.create_task(host._run(service, "shop", target))
        async with asyncio.timeout(60):
            while "database or disk is full: its operation goes on" not in caplog.text:  # noqa: ASYNC110  only the log tells
                await asyncio.sleep(0.01)
            database.execute("PRAGMA max_page_count=1000000")
            await running

    with deployer(tmp_path) as (service, target, connection):
        service.begin(asked(f"Resources:\n{queues}\n", tmp_path))
        asyncio.run(live(service, target))
        assert service.store.stack("shop").status == "CREATE_COMPLETE"
        assert len(connection.ask("queue.list")) == 20


def test_a_zip_file_whose_names_are_too_long_is_refused(tmp_path):
    path = tmp_path / "code.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x" * 300, "")
    with pytest.raises(TemplateRefused, match="it cannot be unpacked: File name too long"):
        Artifacts(tmp_path / "data").add(path)


def test_what_a_killed_program_was_sending_is_swept(tmp_path):
    artifacts = Artifacts(tmp_path)
    key = artifacts.add_text("x = 1\n")
    left = tmp_path / "stacks" / ".body-1-1"
    left.write_text("part of a zip")
    old = time.time() - NEW_SECONDS - 1
    os.utime(left, (old, old))
    artifacts.sweep("")
    assert not left.exists()
    assert artifacts.path(key).is_dir()


def test_code_that_is_gone_fails_the_deploy(tmp_path):
    """It left the stack in the middle of its operation for ever."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("def handler(event, context):\n    pass\n")
    store = tmp_path / "data"
    with deployer(store) as (service, target, _):
        service.begin(asked(FUNCTION.replace("CODE", "src"), store, tmp_path))
        for folder in (store / "stacks").iterdir():
            shutil.rmtree(folder)
        assert asyncio.run(service.run("shop", target)) == "ROLLBACK_COMPLETE"
        assert "Runtime.InvalidEntrypoint: it cannot be started" in service.store.stack("shop").reason


SIDECAR = """
Resources:
  F:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: f
      Handler: index.handler
      Runtime: python3.11
      Role: x
      Code: {ZipFile: "BEGINS\\ndef handler(event, context):\\n    pass\\n"}
"""


def test_what_code_starts_as_it_is_loaded_holds_no_deploy_up(tmp_path):
    """It kept the end of a pipe open that the deploy read to its end: neither ended."""
    begins = "import subprocess\\nsubprocess.Popen(['sleep', '3600'])"
    assert deploy(SIDECAR.replace("BEGINS", begins), tmp_path) == "CREATE_COMPLETE"


def test_code_that_says_much_as_it_is_loaded_is_deployed(tmp_path):
    """Nobody read the pipe, and so it "did not start within 10 s"."""
    begins = "import sys\\nsys.stderr.write('x' * 1000000)"
    assert deploy(SIDECAR.replace("BEGINS", begins), tmp_path) == "CREATE_COMPLETE"
    with deployer(tmp_path) as (service, target, _):
        fails = "import sys, os\\nsys.stderr.write('x' * 1000000 + chr(10) + 'the last words')\\nsys.stderr.flush()\\nos._exit(1)"
        service.begin(asked(SIDECAR.replace("BEGINS", fails), tmp_path))
        assert asyncio.run(service.run("shop", target)) == "UPDATE_ROLLBACK_COMPLETE"
        assert "Runtime.ExitError: the last words" in service.store.stack("shop").reason


@pytest.mark.parametrize("word", ["it's\nopen", 'say "open"', "caf\u00e9\\open"])
def test_a_secret_is_not_shown_as_python_or_json_writes_it(word):
    said = [f"no entry with {word}", f"no entry with {word!r}", json.dumps({"word": word})]
    for text in said:
        assert "open" not in secret.concealed(text, [word])


def test_a_step_that_breaks_rolls_back_and_its_stack_can_be_deployed_again(tmp_path, monkeypatch):
    """The operation stayed under way for ever, and each command on the store ended in the same error."""
    text = "Resources: {Q: {Type: AWS::SQS::Queue}, T: {Type: AWS::SNS::Topic, DependsOn: Q}}"
    with deployer(tmp_path) as (service, target, _):
        service.begin(asked(text, tmp_path))
        request = target.request

        async def breaks(one):
            if one.verb == "topic.declare":
                raise KeyError("Endpoint")
            return await request(one)

        monkeypatch.setattr(target, "request", breaks)
        assert asyncio.run(service.run("shop", target)) == "ROLLBACK_COMPLETE"
        assert (
            "[T]. a property has another form than it should: KeyError('Endpoint')"
            in service.store.stack("shop").reason
        )
        assert service.store.operations() == []
    assert deploy(text, tmp_path) == "CREATE_COMPLETE"
