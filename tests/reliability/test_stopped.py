"""What is put to handlers that do not go on lies on the disk: memory holds the buffers that there are, however much waits.

`FOREBAY_COUNT` says how many records are put; a tenth as many messages are sent to a queue.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ORDINARY = 300_000
# The newest chunks of streams, those of queues, and what each of four shards has at hand: 32 + 32 + 4 * 16. The records alone are
# 143 MiB, so what is kept of all of them is over it.
MEBIBYTES_MOST = 128


def test_what_waits_for_handlers_that_never_end_takes_no_more_memory_than_the_buffers(tmp_path):
    count = int(os.environ.get("FOREBAY_COUNT", ORDINARY))
    program = Path(__file__).with_name("stopped.py")
    words = [sys.executable, "-W", "ignore", str(program), str(tmp_path / "data"), str(count)]
    said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(said)
    figures = json.loads(re.search(r"figures (\{.*\})", said)[1])
    assert figures["MiB_more_most"] <= MEBIBYTES_MOST, figures
