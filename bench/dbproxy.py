"""What the database proxy costs, beside its peers, over real servers that are started here: python bench/dbproxy.py --help.

The scenarios are part of the package (forebay/bench/dbproxy.py) and take the addresses of any servers.
"""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "dbproxy"))

import db_servers as servers
from db_servers import DATABASE, PASSWORD, USER

from forebay.bench.dbproxy import main
from forebay.bench.dbproxy_peers import CONNECTIONS


@contextlib.contextmanager
def pgbouncer(port: int) -> Iterator[str | None]:
    """Put PgBouncer in front of a PostgreSQL server, if it is installed."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        yield None
        return
    folder, own = servers.new_folder(), servers.free_port()
    (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
    (folder / "ini").write_text(
        f"[databases]\n{DATABASE} = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\n"
        f"auth_type = plain\nauth_file = {folder / 'users'}\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n"
        "max_client_conn = 6000\nunix_socket_dir =\n"
    )
    servers.give_away(folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "ini")], stdout=log, stderr=log, **servers.unprivileged())
    try:
        time.sleep(1)
        yield f"postgresql://{USER}:{PASSWORD.replace('!', '%21')}@127.0.0.1:{own}/{DATABASE}"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


postgres, mariadb = servers.new_postgres(), servers.new_mariadb()
try:
    with pgbouncer(postgres.port) as bouncer:
        urls = ["--postgresql", postgres.url, "--mysql", mariadb.url, *(["--pgbouncer", bouncer] if bouncer else [])]
        main([*urls, *sys.argv[1:]])
finally:
    postgres.remove()
    mariadb.remove()
