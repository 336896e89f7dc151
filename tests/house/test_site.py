"""The site: it builds with every link in place, it needs no network, and it has every public name and every command."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import forebay
from forebay._app.declare_sources import DeclaresSources

ROOT = Path(__file__).parents[2]
BUILDER = ("mkdocs", "material", "mkdocstrings", "mkdocs_click")
FETCHED = re.compile(
    r"<(?:script|img|iframe)\b[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b(?=[^>]*stylesheet)[^>]*href=[\"']?(?:https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if missing := [name for name in BUILDER if not find_spec(name)]:
        pytest.skip(f"the builder of the site is not installed ({', '.join(missing)}): pip install --group docs")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=55,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_it_builds_and_nothing_in_it_is_fetched_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))
    assert [page.name for page in pages if FETCHED.search(page.read_text())] == []


def test_it_tells_every_public_name_and_what_an_app_can_do(site):
    shown = "".join(page.read_text() for page in (site / "reference").rglob("*.html"))
    names = [name for name in forebay.__all__ if not name.startswith("__")]
    names += [f"App.{name}" for name in vars(forebay.App) | vars(DeclaresSources) if not name.startswith("_")]
    assert [name for name in names if not re.search(rf'id="forebay\.(errors\.)?{re.escape(name)}"', shown)] == []


def test_it_tells_every_command(site):
    page = (site / "reference" / "commands.html").read_text()
    for command in ("forebay run", "forebay stream put", "forebay dlq redrive", "forebay doctor"):
        assert command.replace(" ", "-") in page
