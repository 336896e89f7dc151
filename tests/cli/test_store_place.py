"""What commands take for a store, and what they show of one that they do not take."""

from pathlib import Path

import click
import pytest
from cli_commands import forebay

from forebay.cli.store_place import ServerStore, as_text, read


def test_a_store_is_a_directory_or_a_url():
    assert read("POSTGRES://me@db/shop") == ServerStore("postgres://me@db/shop")
    assert read("./data") == Path("data")


def test_a_directory_named_like_a_url_stays_one():
    """A path forgets the ./ before it, and the app was told what it refuses."""
    assert as_text(read("./shop:a@b")) == "./shop:a@b"
    assert as_text(read("./data")) == "data"


@pytest.mark.parametrize(
    ("store", "text"),
    [
        ("jdbc:postgresql://db.example/shop?password=hidden", "jdbc:postgresql://…: a directory"),
        (" postgresql://shop:hidden@db.example/shop", "postgresql://…: it has white space around it"),
        ("postgresql://shop:hidden@db.example/shop\n", "(a file or a secret ends with a newline)"),
        ("shop:hidden@db.example/shop", "…: it reads like the URL of a server"),
    ],
)
def test_what_is_neither_is_refused_without_its_password(store, text, monkeypatch, tmp_path):
    """It became the name of a directory, and `forebay lag` showed it."""
    with pytest.raises(click.BadParameter) as caught:
        read(store)
    assert text in str(caught.value)
    monkeypatch.setenv("FOREBAY_STORE", store)
    said = forebay(tmp_path, "lag", status=2).stderr
    assert text in said
    assert "hidden" not in said
