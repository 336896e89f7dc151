"""AWS's own `sam` against the wire API: build, deploy, again, changed, list, remote invoke, logs, delete.

`FOREBAY_SAM_CLI` names the `sam` to use. Without it, the newest one comes from PyPI into an environment of its own in `target`.
"""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "sam"))
from deploying import forebay, get, serving, until  # noqa: E402
from ports import free_port  # noqa: E402
from test_rest_apis import CODE, HELLO  # noqa: E402

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def sam():
    named = os.environ.get("FOREBAY_SAM_CLI")
    if named:
        return named
    folder = ROOT / "target" / "sam-cli"
    if not (folder / "bin" / "sam").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", "aws-sam-cli"], check=True)
    return str(folder / "bin" / "sam")


class Sam:
    """`sam`, sent to a port of this machine."""

    def __init__(self, program, folder, port):
        self._program = program
        self._folder = folder
        self._environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "forebay",
            "AWS_SECRET_ACCESS_KEY": "forebay",
            "AWS_DEFAULT_REGION": "us-east-1",
            "SAM_CLI_TELEMETRY": "0",
            "HOME": str(folder),
        }
        self._environment.pop("AWS_PROFILE", None)

    def __call__(self, *arguments, code=0):
        command = [self._program, *arguments]
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def output(said, key):
    """Give an output's value out of the table that `sam` prints."""
    block = said.split(f"{key} ", 1)[1]
    return re.search(r"Value\s+(\S+)", block)[1]


def test_the_life_of_a_stack(tmp_path, sam, record_testsuite_property):
    version = subprocess.run([sam, "--version"], capture_output=True, text=True, check=True).stdout
    record_testsuite_property("aws-sam-cli", version.split()[-1])
    (tmp_path / "template.yaml").write_text(HELLO)
    code = tmp_path / "hello_world" / "app.py"
    code.parent.mkdir()
    logs = "    logging.getLogger().warning('asked for %s', event['requestContext']['stage'])\n    return"
    code.write_text("import logging\n" + CODE.replace("    return", logs))
    (code.parent / "requirements.txt").write_text("")
    store, http, aws = tmp_path / "data", free_port(), free_port()
    store.mkdir()
    deploy = [
        "deploy",
        "--stack-name",
        "hello",
        "--resolve-s3",
        "--capabilities",
        "CAPABILITY_IAM",
        "--no-confirm-changeset",
    ]
    with serving(store, http, "--aws-port", str(aws), cwd=tmp_path):
        run = Sam(sam, tmp_path, aws)
        run("validate")
        run("build")
        said = run(*deploy)
        assert "Successfully created/updated stack - hello in us-east-1" in said
        assert re.search(r"\+ Add\s+HelloWorldFunction\s+AWS::Lambda::Function\s+N/A", said)
        assert re.search(r"CREATE_COMPLETE\s+AWS::CloudFormation::S\s*", said)
        url = output(said, "HelloWorldApi")
        assert get(url) == (200, '{"message": "hello world", "stage": "Prod"}')
        again = run(*deploy, code=1)
        assert "No changes to deploy. Stack hello is up to date" in again
        code.write_text(code.read_text().replace("hello world", "good day"))
        run("build")
        changed = run(*deploy)
        assert re.search(r"\* Modify\s+HelloWorldFunction\s+AWS::Lambda::Function\s+False", changed)
        assert get(url)[1] == '{"message": "good day", "stage": "Prod"}'
        listed = json.loads(run("list", "resources", "--stack-name", "hello", "--output", "json").split("\n", 0)[0])
        assert {"HelloWorldFunction", "ServerlessRestApi"} <= {one["LogicalResourceId"] for one in listed}
        endpoints = json.loads(run("list", "endpoints", "--stack-name", "hello", "--output", "json"))
        (api,) = [one for one in endpoints if one["LogicalResourceId"] == "ServerlessRestApi"]
        # SAM's deployment makes a stage of its own, named Stage.
        assert [one.rsplit("/", 1)[1] for one in api["CloudEndpoint"]] == ["Prod", "Stage"]
        assert api["Methods"] == ["/hello['get']"]
        outputs = json.loads(run("list", "stack-outputs", "--stack-name", "hello", "--output", "json"))
        assert url in {one["OutputValue"] for one in outputs}
        event = json.dumps({"requestContext": {"stage": "none"}})
        told = run("remote", "invoke", "HelloWorldFunction", "--stack-name", "hello", "--event", event)
        assert "good day" in told
        until(lambda: "asked for none" in run("logs", "-n", "HelloWorldFunction", "--stack-name", "hello"), 60)
        run("delete", "--stack-name", "hello", "--no-prompts")
        assert get(url)[0] == 404
        assert "does not exist" in run("list", "resources", "--stack-name", "hello", code=1)


def test_code_that_cannot_be_loaded_rolls_back_and_says_why(tmp_path, sam):
    (tmp_path / "template.yaml").write_text(HELLO)
    (tmp_path / "hello_world").mkdir()
    (tmp_path / "hello_world" / "app.py").write_text("import nothing_of_that_name\n")
    store, http, aws = tmp_path / "data", free_port(), free_port()
    store.mkdir()
    deploy = [
        "deploy",
        "--stack-name",
        "hello",
        "--resolve-s3",
        "--capabilities",
        "CAPABILITY_IAM",
        "--no-confirm-changeset",
    ]
    with serving(store, http, "--aws-port", str(aws), cwd=tmp_path):
        run = Sam(sam, tmp_path, aws)
        said = run(*deploy, code=1)
        assert "nothing_of_that_name" in re.sub(r"\s+", "", said)
        assert "ROLLBACK_COMPLETE" in re.sub(r"\s+", "", said)
        bare = ["deploy", "--stack-name", "other", "--resolve-s3", "--no-confirm-changeset"]
        refused = run(*bare, code=1)
        assert "Requires capabilities : [CAPABILITY_IAM]" in refused


def test_the_starters_of_sam_init_are_deployed_or_refused_by_their_runtime(tmp_path, sam):
    """`sam` has its hello-worlds with it; the one for Python answers, the others name what runs them."""
    folders = sorted(Path(sam).parents[1].glob("lib/python*/site-packages/samcli/lib/init/templates/cookiecutter-*"))
    assert folders
    deployed = []
    for folder in folders:
        forebay("init", "--name", folder.name, "--location", folder, "--no-interactive", cwd=tmp_path)
        project = tmp_path / folder.name
        done = forebay("deploy", "--stack-name", "hello", "--capabilities", "CAPABILITY_IAM", cwd=project, check=False)
        if done.returncode == 0:
            deployed.append(folder.name)
        else:
            assert re.search(r"HelloWorldFunction\.Runtime: \S+ is not run here", done.stderr), done.stderr
            assert json.loads(forebay("stack", "list", "--output", "json", cwd=project).stdout) == []
    assert deployed == ["cookiecutter-aws-sam-hello-python"]
    project, port = tmp_path / deployed[0], free_port()
    with serving(project / "data", port, cwd=project):
        told = json.loads(forebay("stack", "outputs", "hello", "--output", "json", cwd=project).stdout)
        address = next(one["served_at"] for one in told if one["key"] == "HelloWorldApi")
        assert json.loads(get(address)[1])["message"] == "hello world"
