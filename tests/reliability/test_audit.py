"""The dependency audit: a known-bad lock fails, a good one passes, and a snapshot that proves nothing passes nobody."""

import datetime as dt
import importlib
import json
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = """
version = 4

[[package]]
name = "leaky_crate"
version = "{version}"
source = "registry+https://example.com"

[[package]]
name = "ours"
version = "1.4.0"
"""


def advisory(number, name, events, ecosystem="crates.io", **more):
    return {
        "id": f"TEST-{number}",
        "modified": dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z"),
        "summary": "it leaks",
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": name},
                "ranges": [{"type": "SEMVER", "events": events}],
                **more.pop("affected", {}),
            }
        ],
        **more,
    }


@pytest.fixture
def audit(monkeypatch, tmp_path):
    """Run the audit over some advisories and so many others; give its exit status."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    program = importlib.import_module("audit")

    def run(*written, version="1.4.0", others=1_000, of=("crates.io", "PyPI"), words=()):
        snapshot, lock = tmp_path / "all.zip", tmp_path / "Cargo.lock"
        others = [
            advisory(f"{ecosystem}-{number}", f"other-{number}", [{"introduced": "0"}], ecosystem=ecosystem)
            for ecosystem in of
            for number in range(others)
        ]
        with zipfile.ZipFile(snapshot, "w") as archive:
            for one in [*others, *written]:
                archive.writestr(f"{one['id']}.json", json.dumps(one))
        lock.write_text(LOCK.format(version=version))
        return program.main([str(snapshot), "--lock", str(lock), *words])

    return run


LEAKS = [{"introduced": "1.2.0"}, {"fixed": "1.4.1"}, {"introduced": "2.0.0-rc.1"}, {"fixed": "2.1.0"}]


@pytest.mark.parametrize(
    ("version", "status"),
    [("1.1.9", 0), ("1.2.0", 1), ("1.4.0", 1), ("1.4.1", 0), ("2.0.0-0", 0), ("2.0.5", 1), ("2.1.0", 0)],
)
def test_a_lock_fails_when_a_version_lies_in_an_advisorys_ranges(audit, version, status, capsys):
    assert audit(advisory("BAD", "leaky-crate", LEAKS), version=version) == status
    assert ("TEST-BAD: leaky-crate" in capsys.readouterr().out) == bool(status)


def test_what_is_installed_is_looked_at_as_well(audit, capsys):
    everything = advisory("PY", "OrJSON", [{"introduced": "0"}], ecosystem="PyPI")
    assert audit(everything) == 1
    assert "TEST-PY: orjson" in capsys.readouterr().out


def test_withdrawn_advisories_notices_and_accepted_ones_fail_nothing(audit):
    bad = [{"introduced": "0"}]
    assert audit(advisory("W", "leaky_crate", bad, withdrawn="2020-01-01T00:00:00Z")) == 0
    assert audit(advisory("N", "leaky_crate", bad, affected={"database_specific": {"informational": "notice"}})) == 0
    assert audit(advisory("A", "leaky_crate", bad)) == 1
    assert audit(advisory("A", "leaky_crate", bad), words=["--accept", "TEST-A"]) == 0
    assert audit(advisory("O", "ours", bad)) == 0, "what is made here comes from no registry"


@pytest.mark.parametrize("of", [(), ("PyPI",), ("crates.io",)])
def test_nothing_is_proven_where_an_ecosystem_has_no_snapshot(audit, of, capsys):
    """A thousand advisories of Python were proof enough for crates, of which none was looked at."""
    assert audit(of=of) == 2
    assert "not enough to prove anything: of each ecosystem 1,000" in capsys.readouterr().out


def test_an_advisory_of_a_repository_names_no_package_and_fails_nothing(audit):
    commits = {"ranges": [{"type": "GIT", "repo": "https://example.com", "events": [{"introduced": "0"}]}]}
    assert audit({"id": "TEST-GIT", "modified": "2020-01-01T00:00:00Z", "affected": [commits]}) == 0


def test_a_snapshot_that_is_small_or_old_proves_nothing(audit, monkeypatch):
    assert audit(others=10) == 2
    assert audit(others=1_000) == 0
    monkeypatch.setattr(importlib.import_module("audit"), "OLDEST", dt.timedelta(seconds=-1))
    assert audit(others=1_000) == 2
