"""What must not be here: ways to run foreign bytes, silent failures, unfinished work, the machine it was written on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ["python", "examples", "bench", "scripts"]

# Ruff's own rules, here without configuration and without `noqa`: nobody can switch them off for one line.
RULES = {
    "S102": "exec",
    "S307": "eval",
    "S301": "pickle, marshal, shelve",
    "S302": "marshal",
    "S506": "yaml.load",
    "S602": "a process through a shell",
    "S604": "a process through a shell",
    "S605": "os.system and its like",
    "S110": "an error caught and passed over",
    "S112": "an error caught and passed over in a loop",
    "FIX": "work left for later",
}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\b(todo|unimplemented)!")
MACHINE = re.compile(
    r"(?<![\w.$}/~-])/(work|root|home|Users|opt/wheels)/\w|/\.pyenv/|--(extra-)?index-url|PIP_FIND_LINKS"
)
HOSTS = {
    "127.0.0.1",
    "localhost",
    "aws.amazon.com",
    "docs.aws.amazon.com",
    "docs.kernel.org",
    "dev.mysql.com",
    "github.com",
    "json-schema.org",  # the name of a dialect: nothing is fetched
    "keepachangelog.com",
    "prng.di.unimi.it",
    "mariadb.com",
    "opentelemetry.io",
    "prometheus.io",
    "monitoring.amazonaws.com",
    "cognito-idp.",  # of a region: who issues the tokens of a user pool, unless the app names another
    "apigateway.amazonaws.com",  # where models refer to each other: nothing is fetched
    # Of tests of the addresses that AWS tells: nothing is fetched.
    "cognito-idp.r.amazonaws.com",
    "cognito-idp.r.amazonaws.com.cn",
    "ID.execute-api.us-east-1.amazonaws.com",
    "made1.execute-api.eu-west-1.amazonaws.com",
    "sqs.eu-west-1.amazonaws.com",
    "sqs.local.amazonaws.com",  # what an integration in the region of `forebay` is told to call
    "queue.amazonaws.com",  # the names of XML namespaces: nothing is fetched
    "cloudformation.amazonaws.com",
    "s3.amazonaws.com",
    "s3.us-east-1.amazonaws.com",  # where `sam` says that a template is: it is read from the store
    "rds.amazonaws.com",
    "sns.amazonaws.com",
    "sts.amazonaws.com",
    "rustup.rs",
    "semver.org",
    "systemd.io",
    "sqlite.org",
    "www.apache.org",
    "www.postgresql.org",
    "www.sqlite.org",
    "www.w3.org",
}
URL = re.compile(r"\b(?:https?|git|ssh)://(?:[^/@\s]+@)?([A-Za-z0-9.-]+)")


def lines(*patterns: str):
    """Yield (where, text) for each line of the files under version control, this file and the licence left out."""
    names = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in filter(None, names.stdout.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file() or b"\0" in path.read_bytes()[:4096]:
            continue
        yield from ((f"{name}:{number}", line) for number, line in enumerate(path.read_text().splitlines(), 1))


def forbidden(*paths: str, text: str | None = None) -> str:
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--ignore-noqa",
        "--quiet",
        "--output-format",
        "concise",
    ]
    command += ["--select", ",".join(RULES), *paths]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True, input=text).stdout


def test_the_product_has_no_forbidden_construct():
    assert forbidden(*(folder for folder in PRODUCT if (ROOT / folder).is_dir())) == ""


@pytest.mark.parametrize(
    "planted",
    [
        "eval('1')",
        "exec('1')",
        "import pickle\npickle.loads(b'')",
        "import yaml\nyaml.load('')",
        "import os\nos.system('ls ' + x)",
        "import subprocess\nsubprocess.run(x, shell=True)",
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept Exception:  # noqa: S110\n    pass",
        "# TO" + "DO: finish this",
    ],
)
def test_each_forbidden_construct_is_found_when_planted(planted):
    assert forbidden("-", text=planted + "\n") != ""


def test_nothing_is_left_unfinished():
    prose_and_code = lines("*.py", "*.pyi", "*.rs", "*.sh", "*.toml", "*.md", "Makefile")
    assert [where for where, line in prose_and_code if UNFINISHED.search(line)] == []


def test_no_path_of_a_machine_is_in_the_project():
    assert [f"{where}: {line.strip()}" for where, line in lines() if MACHINE.search(line)] == []


def test_only_known_hosts_are_named():
    wrong = []
    for where, line in lines(":!*.lock", ":!LICENSE"):
        wrong += [
            f"{where}: {host}"
            for host in URL.findall(line)
            if host not in HOSTS
            and not host.endswith(("example.com", ".localhost"))
            and len(host) > 1  # one letter leads nowhere
        ]
    assert wrong == []
