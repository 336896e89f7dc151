"""A process that died with a long backlog is followed by one that works at once, whatever waits, and that misses nothing of it.

`FOREBAY_COUNT` says how much waits in a stream and in each of two queues; a million are to be ready within two seconds.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ORDINARY = 5_000
READY_WITHIN_MS = 2_000
# The ordinary run is of a build that is optimised little, on a machine with other work.
ORDINARY_WITHIN_MS = 10_000


def test_a_long_backlog_is_ready_at_once_and_whole_after_a_crash(tmp_path):
    count = int(os.environ.get("FOREBAY_COUNT", ORDINARY))
    program = [sys.executable, "-W", "ignore", str(HERE / "backlog.py")]
    ended = subprocess.run([*program, "fill", str(tmp_path / "data"), str(count)], check=False)
    assert ended.returncode == -signal.SIGKILL
    said = subprocess.run(
        [*program, "open", str(tmp_path / "data"), str(count)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    print(said)
    figures = json.loads(re.search(r"figures (\{.*\})", said)[1])
    waits = {figures[f"ms_until_{what}_most"] for what in ("the_app_runs", "stream", "queue", "fifo")}
    assert max(waits) <= (ORDINARY_WITHIN_MS if count <= ORDINARY else READY_WITHIN_MS), figures
    assert figures["missing"] == 0, figures
