"""What `make deep` is made of: each part, how much of it makes it whole, and the command that runs a piece of it.

A piece is told how much to do and where to begin by FOREBAY_COUNT and FOREBAY_SEED. What it did it says in a line of its own,
`figures {"kills": 100, ...}`; the simulator says it in an object with `counts` and `faults`. Figures of several lines are
added up, but for those whose name ends in `_most`. A piece with one whose name begins with `skipped` was not run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

SIMULATOR = ["cargo", "run", "--locked", "--release", "-p", "forebay-simulator", "--"]
CARGO = ["cargo", "test", "--locked", "--profile", "ci"]


@dataclass(frozen=True)
class Part:
    """One kind of run.

    Attributes:
        name: how it is called on the command line.
        title: what it is, for the table.
        unit: what is counted.
        goal: so many of them make the part whole.
        piece: so many are run at once; an interruption loses no more than this.
        command: the words of the command.
        alone: whether it needs the machine for itself, since it holds times or levels to bounds, or uses every core.
        tests: the paths of what it tests, if it is not everything: what changes elsewhere does not begin it anew.
        variables: what the command finds in its environment; `{count}` and `{seed}` stand for this piece's.

    """

    name: str
    title: str
    unit: str
    goal: int
    piece: int
    command: list[str]
    alone: bool = field(default=False, kw_only=True)
    tests: tuple[str, ...] = field(default=(), kw_only=True)
    variables: dict[str, str] = field(default_factory=lambda: {"FOREBAY_COUNT": "{count}", "FOREBAY_SEED": "{seed}"})

    def words(self, count: int, seed: int) -> tuple[list[str], dict[str, str]]:
        """Give the command and the variables of a piece."""

        def filled(word: str) -> str:
            numbers = {"{count}": count, "{seed}": seed, "{end}": seed + count}
            for name, number in numbers.items():
                word = word.replace(name, str(number))
            return word

        return [filled(word) for word in self.command], {name: filled(value) for name, value in self.variables.items()}


def pytest(test: str, *more: str) -> list[str]:
    """Run tests with nothing kept from the eye; how long they take is not judged."""
    return [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "--timeout", "3600", f"tests/{test}", *more]


def cargo(package: str, test: str, *names: str) -> list[str]:
    """Run tests of a crate, one after the other; those of the core, which do nothing but compute, side by side."""
    chosen = ["-p", f"forebay-{package}", "--test", test]
    if package == "core":
        return [*CARGO, *chosen, "--", "--nocapture", *names]
    return [*CARGO, *chosen, "--features", "forebay-store/failpoints", "--", "--nocapture", "--test-threads=1", *names]


def crashes(name: str) -> list[str]:
    """Run one of the crash tests."""
    return pytest("reliability/test_crashes.py", "-k", name)


PROXY = (
    "Cargo.lock",
    "pyproject.toml",
    "python/forebay/dbproxy",
    "python/forebay/errors.py",
    "rust/bindings/src/session.rs",
    "rust/core/src/session",
    *(f"tests/dbproxy/{name}.py" for name in ("conftest", "db_chaos", "db_servers")),
)
SESSIONS = tuple(
    f"tests/dbproxy/{name}.py" for name in ("session_grammar", "session_programs", "test_session_programs")
)
CASES = {"PROPTEST_CASES": "{count}"}
CORE = ("Cargo.lock", "rust/core", "tests/cases")
PARTS = [
    Part("kill", "kill -9 under load, then a restart", "cycles", 2_000, 100, crashes("kills_lose_nothing")),
    Part(
        "workflow kills",
        "kill -9 while workflows run, then a restart: transitions and what they send happen once",
        "kills",
        1_000,
        100,
        pytest("reliability/test_workflow_kills.py"),
    ),
    Part(
        "door kills",
        "kill -9 of an app whose wire API takes messages and records: what a client got 200 for is there, once",
        "kills",
        500,
        50,
        pytest("wire/test_kill.py"),
    ),
    Part(
        "cluster",
        "the owner of a store on PostgreSQL is killed, stopped and cut off, among processes of three machines",
        "faults of each kind",
        200,
        10,
        pytest("cluster/test_faults.py"),
    ),
    Part(
        "links",
        "links between three machines and the server: far while the owner dies, losing half of all packets, cut and healed "
        "soon and late",
        "faults of each kind",
        50,
        5,
        pytest("cluster/test_links.py"),
    ),
    Part(
        "clocks",
        "the owners of a store on PostgreSQL die in turn, with clocks an hour ahead and an hour behind",
        "deaths of each",
        25,
        5,
        pytest("cluster/test_clocks.py"),
    ),
    Part(
        "server full",
        "the disk of a PostgreSQL server is full, and has room again, with the server going on and crashing",
        "times each",
        25,
        5,
        pytest("cluster/test_full_server.py"),
    ),
    Part(
        "releases",
        "owners of this release and of another one (FOREBAY_OTHER_PYTHON) are killed, with processes of both on one store",
        "times two",
        25,
        5,
        pytest("cluster/test_releases.py"),
    ),
    Part(
        "machines",
        "a record kills the processes of two machines in turn until it is given up",
        "records",
        5,
        1,
        pytest("cluster/test_poison.py"),
    ),
    Part(
        "failover",
        "a PostgreSQL server is lost, and its synchronous standby is promoted 1 s and 6 s later",
        "promotions of each",
        20,
        5,
        pytest("cluster/test_failover.py"),
        alone=True,
    ),
    Part("term", "SIGTERM under load", "stops", 200, 20, crashes("told_to_stop")),
    Part("freeze", "SIGSTOP past every deadline under load, then SIGCONT", "freezes", 20, 5, crashes("frozen_owner")),
    Part("starve", "out of memory under load, then a restart", "lives", 60, 3, crashes("lack_of_memory")),
    Part(
        "powercut",
        "power-cut images of the real store, with syncs and without",
        "images of each",
        20_000,
        1_000,
        cargo("powercut", "images"),
    ),
    Part("bits", "flipped bits", "flips", 2_000, 200, cargo("store", "sqlite", "no_flipped_bit")),
    Part("doctor", "flipped bits, and the doctor", "flips", 600, 60, cargo("salvage", "doctor", "whatever_bit")),
    Part(
        "failpoints",
        "every failpoint is hit, and the process goes down, or fails, or finds the disk full there",
        "runs",
        1,
        1,
        cargo("store", "failpoints"),
        {},
    ),
    Part(
        "io",
        "every write, sync and read of 12 operations of the store fails in turn, once and for ever",
        "rounds",
        1,
        1,
        cargo("powercut", "errors"),
        {"FOREBAY_IO_ERRORS": "all"},
    ),
    Part(
        "full",
        "a file system that is full: filled, drained, and filled again, over restarts",
        "runs",
        1,
        1,
        cargo("store", "sqlite", "a_full_disk_refuses_puts"),
        {},
    ),
    Part(
        "stacks",
        "stacks of 50 resources that are made, changed, rolled back and deleted: killed at each step, then carried on",
        "runs",
        1,
        1,
        pytest("sam/test_killed.py", "-k", "killed_at_each_step"),
        {"FOREBAY_STEPS": "all"},
    ),
    Part(
        "poison",
        "handlers that break their process, 14 ways",
        "times each",
        100,
        10,
        pytest("runtime/test_process_faults.py"),
    ),
    Part(
        "memory",
        "`memory=` kept by the kernel, where a control group is delegated",
        "runs",
        1,
        1,
        pytest("runtime/test_memory.py", "-k", "the_kernel_ends"),
        {},
    ),
    Part(
        "needle",
        "one poison among 1,600 records in flight",
        "times",
        10,
        1,
        crashes("one_poison_among_1600"),
    ),
    Part(
        "simulate",
        "simulated lives of the engine",
        "seeds",
        100_000,
        500,
        [*SIMULATOR, "--seeds", "{seed}..{end}", "--json"],
    ),
    Part(
        "units",
        "lives of units that tell each other things over a broker whose commits are atomic in one stream alone",
        "lives",
        2_000,
        250,
        cargo("simulator", "units", "nothing_that_was_acknowledged"),
    ),
    Part(
        "workflows",
        "lives of executions of workflows: kills, power cuts, full and broken disks",
        "seeds",
        2_000,
        250,
        [*SIMULATOR, "--room", "workflows", "--steps", "600", "--seeds", "{seed}..{end}", "--json"],
    ),
    # Two kinds of FIFO sequences and four of a shard's: ten million.
    Part(
        "fifo",
        "FIFO sequences of up to 60 steps, each fiftieth longer: the batcher against a model, a queue against its promises",
        "sequences of each",
        2_500_000,
        250_000,
        cargo("core", "queue", "the_batcher_does", "a_fifo_queue_keeps"),
        CASES,
        tests=CORE,
    ),
    Part(
        "queues",
        "lives of a standard queue of up to 60 steps, each fiftieth longer, against its promises",
        "lives",
        1_000_000,
        250_000,
        cargo("core", "queue", "a_standard_queue_keeps"),
        CASES,
        tests=CORE,
    ),
    Part(
        "streams",
        "four kinds of lives of a shard of up to 16 records, each tenth longer, against its promises",
        "lives of each",
        1_250_000,
        250_000,
        cargo("core", "stream", "promises"),
        CASES,
        tests=CORE,
    ),
    Part(
        "mutants",
        "faults planted in the core, each of which a test must find or `equivalents.toml` must name",
        "faults",
        400,
        100,
        [sys.executable, "scripts/mutants.py", "{count}", "--seed", "{seed}"],
        variables={},
        tests=(*CORE, "tests/reliability/equivalents.toml"),
    ),
    Part(
        "model",
        "streams, queues and events against a model, by the public face",
        "lives of each",
        2_000,
        100,
        pytest("reliability", "-k", "test_model", "--hypothesis-seed", "{seed}"),
    ),
    Part(
        "json",
        "texts and values: both parsers take, refuse and read the same",
        "examples of each",
        20_000,
        2_000,
        pytest("reliability/test_json.py", "--hypothesis-seed", "{seed}"),
    ),
    Part(
        "backlog",
        "a kill with so much waiting in a stream, a queue and a FIFO queue, then a restart",
        "waiting in each",
        1_000_000,
        1_000_000,
        pytest("reliability/test_backlog.py"),
        alone=True,
    ),
    Part(
        "stopped",
        "memory while records of 4 KB are put to handlers that never end, then as many messages",
        "records and messages each",
        500_000,
        500_000,
        pytest("reliability/test_stopped.py"),
    ),
    Part(
        "queries",
        "tagged queries to each database, some cancelled",
        "queries",
        1_000_000,
        100_000,
        pytest("dbproxy/test_cancellation.py", "-k", "never_answers"),
        tests=(*PROXY, "tests/dbproxy/test_cancellation.py"),
    ),
    Part(
        "bad network",
        "tagged queries to each database over a network that stalls, splits, repeats and cuts, some cancelled",
        "queries",
        1_000_000,
        50_000,
        pytest("dbproxy/test_answers.py", "-k", "bad_network"),
        tests=(*PROXY, "tests/dbproxy/test_answers.py"),
    ),
    *(
        Part(
            f"{name} sessions",
            f"programs of two clients that change their sessions on one connection of {title}, against bare connections",
            "programs",
            100_000,
            5_000,
            pytest("dbproxy/test_session_programs.py", "-k", engine),
            tests=(*PROXY, *SESSIONS),
        )
        for name, title, engine in (("postgresql", "PostgreSQL", "postgresql"), ("mariadb", "MariaDB", "mysql"))
    ),
    Part(
        "soak",
        "at half load: memory, descriptors, threads, tasks",
        "seconds",
        1_200,
        1_200,
        [sys.executable, "-W", "ignore", "tests/reliability/soak.py", "{count}"],
        {},
        alone=True,
    ),
    Part(
        "fuzz",
        "libFuzzer at every parser of foreign bytes",
        "seconds each",
        600,
        60,
        [sys.executable, "scripts/fuzz.py", "{count}", "--seed", "{seed}"],
        {},
        alone=True,
    ),
    Part(
        "coverage",
        "how much of the product the ordinary run runs: lines, and the core's regions",
        "runs",
        1,
        1,
        [sys.executable, "scripts/covered.py"],
        {},
        alone=True,
    ),
]
