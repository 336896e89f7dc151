"""An RDS-Proxy-style connection pool for MySQL, MariaDB and PostgreSQL.

Many clients wait in line for few DB connections; none of them ever sees what another left behind.
"""

from forebay.dbproxy.attached import attached
from forebay.dbproxy.client import Client
from forebay.dbproxy.driver import Result
from forebay.dbproxy.pinned import Borrowed, Pinned
from forebay.dbproxy.proxy import DBProxy
from forebay.dbproxy.secrets import Credentials, EnvSecret, FileSecret, Secret, SecretsManagerSecret
from forebay.dbproxy.settings import Address, Target

__all__ = [
    "Address",
    "Borrowed",
    "Client",
    "Credentials",
    "DBProxy",
    "EnvSecret",
    "FileSecret",
    "Pinned",
    "Result",
    "Secret",
    "SecretsManagerSecret",
    "Target",
    "attached",
]
