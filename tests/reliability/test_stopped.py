"""What is put to handlers that do not go on lies on the disk: once the buffers are full, memory stays, however much waits.

`FOREBAY_COUNT` says how many records of 4 KB are put, and how many messages sent; never fewer than are ordinary.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# The first half, of 153 MiB, fills every buffer: 100 MiB for records, 60 for messages; that of fewer would not.
ORDINARY = 80_000
# The second half takes up to 6 of records and 2 of messages, and would take 153 if it were kept; a twelfth of that is told.
# The number of each message that waits is kept in memory.
MEBIBYTES_MOST = 12
BYTES_OF_EACH = {"records": 0, "messages": 32}


@pytest.mark.parametrize("kind", ["records", "messages"])
def test_what_waits_for_handlers_that_never_end_takes_no_more_memory_once_the_buffers_are_full(tmp_path, kind):
    count = max(ORDINARY, int(os.environ.get("FOREBAY_COUNT", ORDINARY)))
    program = Path(__file__).with_name("stopped.py")
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:  # pytest would keep it, of gigabytes in a deep run
        words = [sys.executable, "-W", "ignore", str(program), f"{folder}/data", kind, str(count)]
        said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(said)
    figures = json.loads(re.search(r"figures (\{.*\})", said)[1])
    assert figures[f"{kind}_put"] >= count
    known = count / 2 * BYTES_OF_EACH[kind] / (1 << 20)
    assert figures[f"{kind}_MiB_more_most"] <= MEBIBYTES_MOST + known, figures
