"""A process that died with a long backlog is followed by one that works at once, whatever waits.

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


def test_a_long_backlog_is_ready_at_once_after_a_crash(tmp_path):
    count = int(os.environ.get("FOREBAY_COUNT", ORDINARY))
    program = [sys.executable, "-W", "ignore", str(HERE / "backlog.py")]
    ended = subprocess.run([*program, "fill", str(tmp_path / "data"), str(count)], check=False)
    assert ended.returncode == -signal.SIGKILL
    said = subprocess.run(
        [*program, "open", str(tmp_path / "data")], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    print(said)
    figures = json.loads(re.search(r"figures (\{.*\})", said)[1])
    waits = {figures[f"ms_until_{what}_most"] for what in ("the_app_runs", "stream", "queue", "fifo")}
    if count > ORDINARY:  # how long it takes is judged by the deep run alone
        assert max(waits) <= READY_WITHIN_MS, figures
