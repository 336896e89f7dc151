"""`samconfig.toml`: it is edited and not rewritten, and parameters are read as AWS's command line writes them."""

import tomllib
from pathlib import Path

import pytest

from forebay._sam import samconfig
from forebay._sam.errors import TemplateRefused

BEFORE = """\
# what the team agreed on
version = 0.1
[default.global.parameters]
stack_name = "common"  # everywhere
[default.deploy.parameters]
capabilities = "CAPABILITY_IAM"
image_repositories = []
resolve_s3 = true
[production.deploy.parameters]
region = "eu-west-1"
[default.local_start_api.parameters]
port = 3000
"""


def test_options_of_a_command_stand_before_those_of_all(tmp_path):
    path = tmp_path / "samconfig.toml"
    path.write_text(BEFORE)
    assert samconfig.read(path, "deploy") == {
        "stack_name": "common",
        "capabilities": "CAPABILITY_IAM",
        "image_repositories": [],
        "resolve_s3": True,
    }
    assert samconfig.read(path, "deploy", "production") == {"region": "eu-west-1"}
    assert samconfig.read(tmp_path / "nothing.toml", "deploy") == {}


def test_what_is_not_ours_stays_as_it_is(tmp_path):
    path = tmp_path / "samconfig.toml"
    path.write_text(BEFORE)
    samconfig.write(
        path, "deploy", {"stack_name": "common", "region": "us-east-1", "confirm_changeset": True, "capabilities": None}
    )
    text = path.read_text()
    assert "# what the team agreed on" in text
    assert 'stack_name = "common"  # everywhere' in text
    whole = tomllib.loads(text)
    assert whole["default"]["deploy"]["parameters"] == {
        "image_repositories": [],
        "resolve_s3": True,
        "region": "us-east-1",
        "confirm_changeset": True,
    }
    assert whole["production"] == {"deploy": {"parameters": {"region": "eu-west-1"}}}
    assert whole["default"]["local_start_api"] == {"parameters": {"port": 3000}}


def test_a_new_file_is_in_sams_form(tmp_path):
    path = tmp_path / "samconfig.toml"
    samconfig.write(path, "deploy", {"stack_name": "shop"})
    assert tomllib.loads(path.read_text()) == {
        "version": 0.1,
        "default": {"deploy": {"parameters": {"stack_name": "shop"}}},
    }
    assert path.read_text().endswith('"shop"\n')


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "samconfig.toml"
    path.write_text("[default")
    for act in (lambda: samconfig.read(path, "deploy"), lambda: samconfig.write(path, "deploy", {})):
        with pytest.raises(TemplateRefused, match=r"samconfig\.toml"):
            act()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1 B=two", {"A": "1", "B": "two"}),
        ('A="two words" B="with \\"quotes\\""', {"A": "two words", "B": 'with "quotes"'}),
        ("ParameterKey=A,ParameterValue=x", {"A": "x"}),
        ("A='single'", {"A": "single"}),
        ("", {}),
    ],
)
def test_parameters_are_read_as_the_command_line_has_them(text, values):
    assert samconfig.overrides(text) == values
    assert samconfig.overrides(samconfig.overrides_text(values)) == values


def test_what_is_no_parameter_is_named():
    with pytest.raises(TemplateRefused, match="no Key=Value stands behind the value of A"):
        samconfig.overrides("A=1 what")
    with pytest.raises(TemplateRefused, match="no Key=Value stands at the beginning"):
        samconfig.overrides("what")


def test_the_second_word_of_a_secret_is_not_shown():
    with pytest.raises(TemplateRefused) as refused:
        samconfig.overrides("Password=open sesame")
    assert "sesame" not in str(refused.value)


def test_what_should_be_a_table_is_named(tmp_path):
    path = tmp_path / "samconfig.toml"
    path.write_text('[default]\ndeploy = "now"\n')
    with pytest.raises(TemplateRefused, match=r"\[default\.deploy\.parameters\]: deploy is not a table"):
        samconfig.read(path, "deploy")


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path, monkeypatch):
    kept = tmp_path / "shared.toml"
    kept.write_text(BEFORE)
    kept.chmod(0o640)
    path = tmp_path / "samconfig.toml"
    path.symlink_to(kept)
    samconfig.write(path, "deploy", {"region": "eu-west-1"})
    assert path.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640
    before = kept.read_text()
    assert 'region = "eu-west-1"' in before

    def fails(*_):
        raise OSError

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError):
        samconfig.write(path, "deploy", {"region": "us-west-2"})
    assert kept.read_text() == before


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ('"false"', False),
        ('"Yes"', True),
        ("false", False),
        ('"on"', True),
        ('"N"', False),
        ('" t "', True),
    ],
)
def test_a_truth_value_may_be_a_text_as_for_sam(tmp_path, text, value):
    path = tmp_path / "samconfig.toml"
    path.write_text(f"[default.deploy.parameters]\nconfirm_changeset = {text}\n")
    assert samconfig.read(path, "deploy") == {"confirm_changeset": value}


@pytest.mark.parametrize("text", ['"maybe"', "7", "[]"])
def test_what_is_not_a_truth_value_is_refused(tmp_path, text):
    path = tmp_path / "samconfig.toml"
    path.write_text(f"[default.deploy.parameters]\ndisable_rollback = {text}\n")
    with pytest.raises(TemplateRefused, match=r"disable_rollback = .*: allowed are true and false"):
        samconfig.read(path, "deploy")


def test_a_new_table_has_a_blank_line_around_it(tmp_path):
    path = tmp_path / "samconfig.toml"
    path.write_text("version = 0.1\n\n[default.build.parameters]\ncached = true\n\n[tool.other]\nx = 1\n")
    samconfig.write(path, "deploy", {"region": "us-east-1"})
    assert path.read_text() == (
        "version = 0.1\n\n[default.build.parameters]\ncached = true\n\n"
        '[default.deploy.parameters]\nregion = "us-east-1"\n\n[tool.other]\nx = 1\n'
    )
