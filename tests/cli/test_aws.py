"""`forebay aws`: what a shell takes from it, and where a key goes."""

import asyncio
import json

from click.testing import CliRunner

from forebay import App
from forebay.cli.aws import aws
from forebay.cli.doctor import doctor


async def started(app):
    async with app:
        pass


def said(*arguments):
    done = CliRunner().invoke(aws, arguments)
    assert done.exit_code == 0, done.output
    return done


def test_a_shell_is_told_all_that_boto3_needs(tmp_path):
    lines = said("env", "--port", "4570", "--region", "eu-west-1", "--store", str(tmp_path)).stdout.splitlines()
    assert lines == [
        "export AWS_ENDPOINT_URL=http://127.0.0.1:4570",
        "export AWS_REGION=eu-west-1",
        "export AWS_DEFAULT_REGION=eu-west-1",
        "export AWS_DISABLE_HOST_PREFIX_INJECTION=true",
        "unset AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_CREDENTIAL_EXPIRATION",
        "# any signature is taken, unless the app has had keys since it started: then nobody is let in",
        "export AWS_ACCESS_KEY_ID=forebay",
        "export AWS_SECRET_ACCESS_KEY=forebay",
        "unset AWS_PROFILE AWS_DEFAULT_PROFILE",
    ]


def test_a_key_for_a_store_that_is_not_there_is_made_and_says_so(tmp_path):
    """A key in the wrong directory let nobody in, and its maker believed that the app was shut."""
    store = tmp_path / "data"
    first = said("keys", "create", "--store", str(store), "--output", "json")
    assert f"there is no store in {store} yet" in first.stderr
    asyncio.run(started(App("shop", store=store)))
    second = said("keys", "create", "--store", str(store), "--output", "json")
    assert second.stderr == ""
    listed = json.loads(said("keys", "list", "--store", str(store), "--output", "json").stdout)
    assert [key["id"] for key in listed] == [json.loads(one.stdout)["id"] for one in (first, second)]


def test_the_last_key_can_be_revoked_and_lets_nobody_in(tmp_path):
    """It could not, so that a key that had leaked stayed; and a file without keys let everybody in."""
    place = ("--store", str(tmp_path))
    key = json.loads(said("keys", "create", *place, "--output", "json").stdout)["id"]
    assert said("keys", "revoke", key, *place).stdout.startswith(f"revoked {key}, the last key: nobody is let in until")
    assert "nobody is let in until there is one" in said("keys", "list", *place).stdout
    told = said("env", *place).stdout
    assert "AWS_ACCESS_KEY_ID=forebay" not in told
    # It spoke of a key as if it were still let in.
    assert "# every key was revoked, so nobody is let in" in told
    # A token of AWS's is refused with a right key, and a profile may have that key.
    assert ("unset AWS_SESSION_TOKEN" in told, "PROFILE" in told) == (True, False)
    (tmp_path / "aws-keys.json").unlink()
    assert "any signature is taken" in said("keys", "list", *place).stdout
    assert "export AWS_ACCESS_KEY_ID=forebay" in said("env", *place).stdout
    assert "unless the app has had keys" in said("keys", "list", *place).stdout


def test_a_damaged_file_of_keys_is_told_with_what_helps(tmp_path):
    """The log said to make a key, which was refused with the advice to delete the file; the doctor called the store whole."""
    place = ("--store", str(tmp_path))
    asyncio.run(started(App("shop", store=tmp_path)))
    said("keys", "create", *place)
    assert CliRunner().invoke(doctor, place).exit_code == 0
    (tmp_path / "aws-keys.json").write_text('{"x')
    for asked in (("keys", "create"), ("keys", "list"), ("env",)):
        told = CliRunner().invoke(aws, [*asked, *place])
        assert told.exit_code == 1
        assert "is damaged: nobody is let in. Next: put a copy of it back; or move it away" in told.stderr
    told = CliRunner().invoke(doctor, place)
    assert told.exit_code != 0
    assert "aws-keys.json is damaged" in told.stdout
    assert "is whole" in told.stdout


def test_a_store_in_memory_gets_no_key(tmp_path, monkeypatch):
    """The key stood in a directory named `:memory:`, which no app reads."""
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(aws, ["keys", "create", "--store", ":memory:"])
    assert told.exit_code == 2
    assert "has no access keys" in told.stderr
    assert list(tmp_path.iterdir()) == []
