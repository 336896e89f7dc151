"""Projects from templates in sam's own form: placeholders and conditions are filled in, and nothing is run."""

import json
import resource
import zipfile

import pytest

from forebay._sam.errors import TemplateRefused
from forebay._stacks import location


def source(folder, files, values):
    (folder / "cookiecutter.json").write_text(json.dumps(values))
    root = folder / "{{cookiecutter.project_name}}"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (folder / "hooks").mkdir()
    (folder / "hooks" / "post_gen_project.py").write_text("raise SystemExit('a hook was run')\n")
    return folder


FILES = {
    "README.md": "# {{ cookiecutter.project_name }} by {{cookiecutter['runtime']}}\n",
    "{{cookiecutter.folder}}/app.py": "{%- if cookiecutter.size == 'big' %}big{% else %}small{% endif %}\n",
    "plain.txt": "{{ not ours }}",
}
VALUES = {"project_name": "sam-app", "runtime": ["python3.11", "python3.12"], "folder": "src", "size": "big"}


def test_a_directory_becomes_a_project(tmp_path):
    (tmp_path / "in").mkdir()
    folder = location.write(source(tmp_path / "in", FILES, VALUES), "shop", tmp_path / "out")
    there = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert there == {"README.md": "# shop by python3.11\n", "src/app.py": "big\n", "plain.txt": "{{ not ours }}"}


def test_lists_are_written_out_as_in_the_templates_of_sam(tmp_path):
    """`sam init`'s own hello-world lists its architectures so, and was refused."""
    text = (
        "Runtime: {{ cookiecutter.runtime }}\n"
        "      Architectures:\n"
        "      {%- for arch in cookiecutter.architectures.value %}\n"
        "        - {{arch}}\n"
        "      {%- endfor %}\n"
        "      Events: {}\n"
    )
    values = {"project_name": "x", "runtime": "python3.11", "architectures": {"value": ["x86_64", "arm64"]}}
    (tmp_path / "in").mkdir()
    folder = location.write(source(tmp_path / "in", {"template.yaml": text}, values), "shop", tmp_path / "out")
    assert (folder / "template.yaml").read_text() == (
        "Runtime: python3.11\n      Architectures:\n        - x86_64\n        - arm64\n      Events: {}\n"
    )


def test_a_list_that_repeats_itself_does_not_grow_without_end(tmp_path):
    text = "{% for a in cookiecutter.many %}{% for b in cookiecutter.many %}" + "x" * 200 + "{% endfor %}{% endfor %}"
    (tmp_path / "in").mkdir()
    with pytest.raises(TemplateRefused, match="filled in it has more than"):
        location.write(source(tmp_path / "in", {"a.txt": text}, {"many": ["y"] * 5000}), "shop", tmp_path / "out")


@pytest.mark.parametrize(
    "text", ["{{cookiecutter.long}}" * 10_000, "{% for a in cookiecutter.many %}" + "{{a}}" * 10_000 + "{% endfor %}"]
)
def test_a_long_value_in_many_places_takes_no_memory(tmp_path, text):
    (tmp_path / "in").mkdir()
    values = {"long": "y" * 1_000_000, "many": ["y" * 100_000] * 10}
    with pytest.raises(TemplateRefused, match="filled in it has more than"):
        location.write(source(tmp_path / "in", {"a.txt": text}, values), "shop", tmp_path / "out")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4_000_000  # it would have been 10 GB


def test_nothing_is_written_of_a_template_that_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    files = {"a.txt": "fine", "b.txt": "{% for x in y %}{% endfor %}"}
    with pytest.raises(TemplateRefused):
        location.write(source(tmp_path / "in", files, VALUES), "shop", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_file_does_too(tmp_path):
    (tmp_path / "in").mkdir()
    whole = source(tmp_path / "in", FILES, {**VALUES, "size": "other"})
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in whole.rglob("*"):
            archive.write(path, path.relative_to(whole))
    folder = location.write(tmp_path / "in.zip", "shop", tmp_path / "out")
    assert (folder / "src" / "app.py").read_text() == "small\n"


@pytest.mark.parametrize(
    ("files", "values", "text"),
    [
        ({"a.txt": "{% for x in y %}{% endfor %}"}, VALUES, "a condition or a filter that is not understood"),
        (
            {"a.txt": "{{ cookiecutter.project_name | upper }}"},
            VALUES,
            "a condition or a filter that is not understood",
        ),
        ({"{{cookiecutter.folder}}/a.txt": "x"}, {**VALUES, "folder": ".."}, "its name leads outside"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, files, values, text):
    (tmp_path / "in").mkdir()
    with pytest.raises(TemplateRefused) as refused:
        location.write(source(tmp_path / "in", files, values), "shop", tmp_path / "out")
    assert text in str(refused.value)
    assert not (tmp_path / "a.txt").exists()


def test_a_directory_that_is_no_template_is_refused(tmp_path):
    with pytest.raises(TemplateRefused, match=r"there is no cookiecutter\.json"):
        location.write(tmp_path, "shop", tmp_path / "out")
