"""A type is one story: its `impl` blocks stand in few files, else it is several types that share their fields."""

import re
from collections import Counter, defaultdict
from pathlib import Path

RUST = Path(__file__).parents[2] / "rust"
FILES_MAX = 3
# These were built as fragments of one struct, in so many files. A number may shrink here, and a line may go; none is added.
FRAGMENTS = {
    # The control calls of REST APIs, a kind of thing to a file.
    "core Control": 18,
    "core Execution": 9,
    "core ShardMachine": 5,
    # The operations of AWS's services, a service to a file.
    "doors Call": 10,
    "doors Decoder": 4,
    "doors Gateway": 7,
    "engine BusRoom": 9,
    "engine Dispatch": 7,
    "engine DispatchRoom": 6,
    "engine FailureRoom": 4,
    "engine InvocationRoom": 7,
    "engine QueueRoom": 17,
    "engine Queues": 10,
    "engine Rooms": 15,
    "engine StreamRoom": 15,
    "engine Streams": 9,
    "engine TopicRoom": 4,
}
DEFINED = re.compile(r"^(?:pub(?:\([^)]*\))? )?(?:struct|enum) (\w+)", re.MULTILINE)
# `impl` of a type itself; that of a trait may stand where the trait does.
IMPL = re.compile(r"^impl(?:<[^{]*?>)? +(?!.*\bfor\b)(?:\w+::)*(\w+)[^{\n]*\{", re.MULTILINE)


def product(path: Path) -> str:
    """Give a file without its tests; of one that is for tests alone, nothing."""
    if path.stem in {"tests", "test_engine"} or "tests" in path.parts:
        return ""
    return path.read_text().split("\n#[cfg(test)]\nmod tests {")[0]


def spread(sources: Path) -> dict[str, int]:
    """Count the files that have `impl` blocks of each type. Of a name that several types have, each stands in one folder."""
    texts = {path: text for path in sorted(sources.rglob("*.rs")) if (text := product(path))}
    defined = Counter(name for text in texts.values() for name in DEFINED.findall(text))
    files: dict[tuple[str, Path | None], set[Path]] = defaultdict(set)
    for path, text in texts.items():
        for name in IMPL.findall(text):
            files[name, path.parent if defined[name] > 1 else None].add(path)
    found: Counter[str] = Counter()
    for (name, _), paths in files.items():
        found[name] = max(found[name], len(paths))
    return found


def test_no_type_is_spread_over_more_files_than_it_was():
    crates = [path for path in RUST.iterdir() if (path / "src").is_dir()]
    counted = {f"{path.name} {name}": count for path in crates for name, count in spread(path / "src").items()}
    assert len(counted) > 300, "it looks at the product"
    assert {name: count for name, count in counted.items() if count > FRAGMENTS.get(name, FILES_MAX)} == {}


def test_a_type_in_too_many_files_is_found(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mod.rs").write_text("pub struct Wide;\nstruct Same;\nimpl Same {\n}\n")
    (tmp_path / "same.rs").write_text("enum Same {}\nimpl Same {\n}\n")
    for number in range(4):
        text = "impl Wide {\n}\nimpl<'a> fmt::Debug for Wide {\n}\n#[cfg(test)]\nmod tests {\n}\n"
        (tmp_path / f"{number}.rs").write_text(text)
    assert spread(tmp_path) == {"Wide": 4, "Same": 1}
