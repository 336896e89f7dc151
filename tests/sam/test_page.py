"""The page's table of what is honoured is the code's."""

import os
from pathlib import Path

from forebay._stacks.table import table

PAGE = Path(__file__).parents[2] / "docs" / "sam.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


def test_the_table_of_types_is_current():
    """`FOREBAY_WRITE_DOCS=1` writes it, which is what `make docs` does."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    whole = f"{before}{BEGIN}\n{table()}\n\n{END}{after}"
    if "FOREBAY_WRITE_DOCS" in os.environ:
        PAGE.write_text(whole)
    assert PAGE.read_text() == whole, "docs/sam.md is not current: `make docs`"
