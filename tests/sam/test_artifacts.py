"""Code that is taken into a store: the same code has the same key, and a zip file is not trusted."""

import os
import stat
import zipfile
from pathlib import Path

import pytest

from forebay._sam.errors import TemplateRefused
from forebay._stacks import artifacts
from forebay._stacks.artifacts import Artifacts


def zip_of(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def test_the_same_code_has_the_same_key_whatever_form_it_comes_in(tmp_path):
    folder = tmp_path / "src"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "app.pyc").write_bytes(b"x")
    (folder / "app.py").write_text("x = 1\n")
    kept = Artifacts(tmp_path / "store")
    key = kept.add(folder)
    assert (kept.path(key) / "app.py").read_text() == "x = 1\n"
    assert not (kept.path(key) / "__pycache__").exists()
    assert kept.add(zip_of(tmp_path / "src.zip", ("app.py", "x = 1\n", 0o644))) == key
    (folder / "app.py").write_text("x = 2\n")
    assert kept.add(folder) != key


@pytest.mark.parametrize(
    "entry",
    [
        ("../evil.py", "x", 0o644),
        ("a/../../evil.py", "x", 0o644),
        ("/evil.py", "x", 0o644),
        ("..\\evil.py", "x", 0o644),
        ("link", "/etc/passwd", stat.S_IFLNK | 0o777),
        ("device", "", stat.S_IFCHR | 0o666),
    ],
)
def test_a_zip_file_that_leads_outside_is_refused_and_nothing_is_written(tmp_path, entry):
    source = zip_of(tmp_path / "evil.zip", ("app.py", "x", 0o644), entry)
    kept = Artifacts(tmp_path / "store")
    with pytest.raises(TemplateRefused, match=r"outside of it|is a link or a device"):
        kept.add(source)
    assert list((tmp_path / "store" / "stacks").iterdir()) == []
    assert not list(tmp_path.rglob("evil.py"))


def test_a_zip_file_that_grows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "BYTES_MAX", 1 << 20)
    source = zip_of(tmp_path / "bomb.zip", ("zeros", b"\0" * (1 << 21), 0o644))
    assert source.stat().st_size < 1 << 14
    with pytest.raises(TemplateRefused, match="unpacked it has more than 1,048,576 bytes"):
        Artifacts(tmp_path / "store").add(source)


def test_a_zip_file_with_too_many_entries_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "ENTRIES_MAX", 10)
    source = zip_of(tmp_path / "many.zip", *((f"f{n}", "", 0o644) for n in range(11)))
    with pytest.raises(TemplateRefused, match="more than 10 files"):
        Artifacts(tmp_path / "store").add(source)


def test_code_that_no_stack_has_goes_after_an_hour(tmp_path):
    (tmp_path / "a.py").write_text("a")
    (tmp_path / "b.py").write_text("b")
    kept = Artifacts(tmp_path / "store")
    used, unused, inline = kept.add(tmp_path / "a.py"), kept.add(tmp_path / "b.py"), kept.add_text("c")
    kept.sweep(used)
    assert all(kept.path(key).exists() for key in (used, unused, inline))
    for key in (used, unused, inline):
        os.utime(kept.path(key), (0, 0))
    kept.sweep(f'{{"S3Key": "{used}"}}')
    assert [kept.path(key).exists() for key in (used, unused, inline)] == [True, False, True]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(TemplateRefused, match="there is no such directory or file"):
        Artifacts(tmp_path / "store").add(tmp_path / "nothing")


def test_two_zip_files_that_differ_in_what_tools_keep_are_not_the_same_code(tmp_path):
    """The change was not deployed: "No changes to deploy"."""
    kept = Artifacts(tmp_path / "store")
    keys = {
        kept.add(zip_of(tmp_path / f"{at}.zip", ("app.py", "x = 1\n", 0o644), (".venv/lib.py", f"x = {at}\n", 0o644)))
        for at in range(2)
    }
    assert len(keys) == 2


def test_a_zip_file_with_too_many_directories_is_refused(tmp_path, monkeypatch):
    """A name of a few letters made a directory for each second of them."""
    monkeypatch.setattr(artifacts, "ENTRIES_MAX", 100)
    source = zip_of(tmp_path / "deep.zip", *((f"{at}/" + "a/" * 60 + "f", "", 0o644) for at in range(2)))
    with pytest.raises(TemplateRefused, match="more than 100 files or directories"):
        Artifacts(tmp_path / "store").add(source)
    assert list((tmp_path / "store" / "stacks").iterdir()) == []
    fine = zip_of(tmp_path / "fine.zip", *(("a/" * 60 + f"{at}", "", 0o644) for at in range(30)))
    assert Artifacts(tmp_path / "store").add(fine)


def test_code_that_is_too_large_or_no_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "BYTES_MAX", 10)
    (tmp_path / "app.py").write_text("x = 'eleven letters and more'\n")
    with pytest.raises(TemplateRefused, match="more than 10 bytes"):
        Artifacts(tmp_path / "store").add(tmp_path / "app.py")
    with pytest.raises(TemplateRefused, match="it is neither a file nor a directory"):
        Artifacts(tmp_path / "store").add(Path("/dev/zero"))


def test_code_that_a_deploy_takes_from_functions_stays_for_what_they_still_load(tmp_path):
    """An invocation that was under way lost its code as soon as the next version served."""
    (tmp_path / "old.py").write_text("old")
    kept = Artifacts(tmp_path / "store")
    old = kept.add(tmp_path / "old.py")
    os.utime(kept.path(old), (0, 0))
    kept.keep(f'{{"S3Key": "{old}"}}')
    kept.sweep("")
    assert kept.path(old).exists()
    os.utime(kept.path(old), (0, 0))
    assert kept.add(tmp_path / "old.py") == old  # somebody is about to deploy it again
    kept.sweep("")
    assert kept.path(old).exists()
