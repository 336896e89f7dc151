"""The page that says where each rule is decided: each file that it names is there, and defines what the page names of it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "internals" / "rules.md"
HEAD = "| rule | file | name |"
ROW = re.compile(r"\| ([^|]+) \| `([^`|]+)` \| `(\w+)` \|")
# A function, a type or a constant of Rust or Python, or a function of a store's SQL.
DEFINED = r"\b(?:fn|const|static|struct|enum|trait|type|def|class|FUNCTION) +(?:@\.)?{name}\b|^{name}(?:: [^=\n]+)? = "


def rows(page: str) -> list[str]:
    """Give the lines of a page's tables, without their heads."""
    return [line for line in page.splitlines() if line.startswith("|") and line not in {HEAD, "|---|---|---|"}]


def wrong(row: str) -> str | None:
    """Tell what is wrong with a row, if anything is."""
    if not (read := ROW.fullmatch(row)):
        return "it is not a rule, a file and a name"
    path = ROOT / read[2]
    if not path.is_file():
        return "there is no such file"
    if not re.search(DEFINED.format(name=read[3]), path.read_text(), re.MULTILINE):
        return "its file defines nothing of this name"
    return None


def test_each_file_defines_what_the_page_names_of_it():
    found = rows(PAGE.read_text())
    assert found, "the page has no row"
    assert {row: why for row in found if (why := wrong(row))} == {}


def test_each_rule_stands_there_once():
    rules = [row.split(" | ")[0] for row in rows(PAGE.read_text())]
    assert sorted(rule for rule in set(rules) if rules.count(rule) > 1) == []


def test_a_wrong_row_is_found():
    settle = "rust/core/src/queue/settle.rs"
    assert wrong(f"| how long a failed message stays hidden | `{settle}` | `retry_at` |") is None
    assert wrong(f"| how long it stays hidden | `{settle}` | `retry` |") == "its file defines nothing of this name"
    assert wrong("| how long it stays hidden | `rust/core/src/queue/gone.rs` | `retry_at` |") == "there is no such file"
    assert wrong(f"| how long it stays hidden | `{settle}` |") == "it is not a rule, a file and a name"


def test_only_lines_of_tables_are_rows():
    assert rows(f"# Rules\n\n{HEAD}\n|---|---|---|\n| a | `b` | `c` |\n\ntext\n") == ["| a | `b` | `c` |"]
