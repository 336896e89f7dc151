"""What somebody types who tries the commands for the first time: names that cannot be, files that are not there, ARNs of outputs."""

import json

import pytest
from click.testing import CliRunner

from forebay._sam import starters
from forebay.cli.root import main


def run(*words, status=0):
    """Run a command; give what it says."""
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done.output


@pytest.fixture(autouse=True)
def _stand_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["build"], "there is no template.yaml here: name a template with --template-file"),
        (["deploy", "--config-file", "prod.toml"], "--config-file prod.toml: there is no such file"),
        (["init", "--name", "../up", "--app-template", "hello-world"], "'../up' is not a project's name"),
        (["init", "--name", "a b", "--app-template", "hello-world"], "'a b' is not a project's name"),
        (
            ["init", "--name", "a", "--location", "https://github.com/somebody/template"],
            "nothing is fetched: clone it first",
        ),
    ],
)
def test_what_cannot_be_made_is_told_with_the_next_step(tmp_path, words, told):
    assert told in " ".join(run(*words, status=2).split())
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_project_is_told_of(tmp_path):
    (tmp_path / "shop").touch()
    assert "shop already exists: name another project" in run(
        "init", "--name", "shop", "--app-template", "workflow", "--no-interactive", status=1
    )


def test_what_an_output_names_by_its_arn_is_found(tmp_path):
    starters.write("workflow", tmp_path, "workflow")
    run("deploy", "--stack-name", "w", "--capabilities", "CAPABILITY_IAM")
    [output] = json.loads(run("stack", "outputs", "w", "--output", "json"))
    arn = output["value"]
    assert run("workflow", "describe", arn) == run("workflow", "describe", arn.rpartition(":")[2])
    assert f"{arn} is not the ARN of a function: arn:aws:lambda:" in run("function", "describe", arn, status=2)


@pytest.mark.parametrize(
    "name",
    ["orders", "arn:aws:sqs:us-east-1:000000000000:orders", "http://127.0.0.1:4566/000000000000/orders"],
)
def test_a_queue_is_named_by_its_arn_and_its_url(tmp_path, name):
    (tmp_path / "template.yaml").write_text("Resources: {Q: {Type: AWS::SQS::Queue, Properties: {QueueName: orders}}}")
    run("deploy", "--stack-name", "q")
    assert run("queue", "send", name, "a book").endswith(" to orders\n")
