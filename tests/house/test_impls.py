"""A type is one story: its `impl` blocks stand in few files, else it is several types that share their fields."""

import re
from collections import Counter, defaultdict
from pathlib import Path

RUST = Path(__file__).parents[2] / "rust"
FILES_MAX = 3
DEFINED = re.compile(r"^(?:pub(?:\([^)]*\))? )?(?:struct|enum) (\w+)", re.MULTILINE)
# `impl` of a type itself; that of a trait may stand where the trait does.
IMPL = re.compile(r"^impl(?:<[^{]*?>)? +(?!.*\bfor\b)(?:\w+::)*(\w+)[^{\n]*\{", re.MULTILINE)


def product(path: Path) -> str:
    """Give a file without its tests; of one that is for tests alone, nothing."""
    if path.stem in {"tests", "test_engine"} or "tests" in path.parts:
        return ""
    return path.read_text().split("\n#[cfg(test)]\nmod tests {")[0]


def spread(sources: Path) -> dict[str, int]:
    """Count the files that have `impl` blocks of each type.

    A type is named by its own file where that file defines it, else by the folder where several types have its name.
    """
    texts = {path: text for path in sorted(sources.rglob("*.rs")) if (text := product(path))}
    owners: dict[str, set[Path]] = defaultdict(set)
    for path, text in texts.items():
        for name in DEFINED.findall(text):
            owners[name].add(path)
    files: dict[tuple[str, Path | None], set[Path]] = defaultdict(set)
    for path, text in texts.items():
        for name in IMPL.findall(text):
            own = path if path in owners[name] else path.parent
            files[name, own if len(owners[name]) > 1 else None].add(path)
    found: Counter[str] = Counter()
    for (name, _), paths in files.items():
        found[name] = max(found[name], len(paths))
    return found


def test_no_type_is_spread_over_many_files():
    crates = [path for path in RUST.iterdir() if (path / "src").is_dir()]
    counted = {f"{path.name} {name}": count for path in crates for name, count in spread(path / "src").items()}
    assert len(counted) > 300, "it looks at the product"
    assert {name: count for name, count in counted.items() if count > FILES_MAX} == {}


def test_a_type_in_too_many_files_is_found(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mod.rs").write_text("pub struct Wide;\nstruct Same;\nimpl Same {\n}\n")
    (tmp_path / "same.rs").write_text("enum Same {}\nimpl Same {\n}\n")
    for number in range(4):
        text = "impl Wide {\n}\nimpl<'a> fmt::Debug for Wide {\n}\n#[cfg(test)]\nmod tests {\n}\n"
        (tmp_path / f"{number}.rs").write_text(text)
    assert spread(tmp_path) == {"Wide": 4, "Same": 1}
