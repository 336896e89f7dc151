"""Where the proxy gets a database user's name and password. Nothing here is ever printed, logged or put in an error."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from forebay.errors import DBProxyError, InvalidParameterValue

SECRET_SIZE_BYTES_MAX = 65_536
SECRET_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A database user's name and password; the password never shows in ``repr``.

    Attributes:
        username: name of the database user.
        password: its password; empty when the server asks for none.

    """

    username: str
    password: str = field(repr=False, default="")


@runtime_checkable
class Secret(Protocol):
    """Anything that can be asked for credentials; asked again for every new database connection."""

    async def get(self) -> Any:
        """Return ``{"username": …, "password": …}`` or a ``Credentials``. Called for every connection: cache what is slow."""
        ...


async def credentials_of(secret: Secret, default_username: str) -> Credentials:
    """Ask a secret and check the answer's shape.

    Raises:
        DBProxyError: the secret could not be read or has no password; the text never holds its content.

    """
    try:
        async with asyncio.timeout(SECRET_SECONDS_MAX) as limit:
            answer = await secret.get()
    except DBProxyError:
        raise
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        if limit.expired():
            raise DBProxyError(
                f"secret {type(secret).__name__} did not answer within {SECRET_SECONDS_MAX:g} s"
            ) from None
        raise DBProxyError(f"secret {type(secret).__name__} could not be read: {type(error).__name__}") from None
    if isinstance(answer, Credentials):
        return answer
    if not isinstance(answer, dict) or not isinstance(answer.get("password"), str):
        raise DBProxyError(
            f'secret {type(secret).__name__} must give {{"password": …}}, and "username" if the URL has no user'
        )
    username = answer.get("username", default_username)
    if not isinstance(username, str) or not username:
        raise DBProxyError(f"secret {type(secret).__name__} has no username, and the URL has none either")
    return Credentials(username, answer["password"])


class FixedSecret:
    """Credentials that were part of the URL."""

    __slots__ = ("_credentials",)

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def get(self) -> Credentials:
        """Return the credentials."""
        return self._credentials


class EnvSecret:
    """Credentials from environment variables, read again for every new connection.

    Args:
        password: name of the variable that holds the password, or the whole JSON ``{"username", "password"}``.
        username: name of the variable that holds the user name; without it the URL's user is taken.

    """

    __slots__ = ("_password", "_username")

    def __init__(self, password: str, username: str | None = None) -> None:
        self._password = password
        self._username = username

    def __repr__(self) -> str:
        return f"EnvSecret({self._password!r})"

    async def get(self) -> dict[str, str]:
        """Read the variables.

        Raises:
            DBProxyError: a variable is not set.

        """
        for name in (self._password, self._username):
            if name is not None and name not in os.environ:
                raise DBProxyError(f"environment variable {name} is not set")
        value = os.environ[self._password]
        if self._username is None and value.lstrip().startswith("{"):
            return _parse(value, f"environment variable {self._password}")
        secret = {"password": value}
        if self._username is not None:
            secret["username"] = os.environ[self._username]
        return secret


class FileSecret:
    """Credentials from a JSON file ``{"username": …, "password": …}`` (other keys are ignored, as RDS Proxy does).

    The file is read again when it changes, so a rotation needs no restart: mounted Kubernetes and Docker secrets work as
    they are.
    """

    __slots__ = ("_cached", "_path", "_stamp")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int] | None = None
        self._cached: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"FileSecret({str(self._path)!r})"

    async def get(self) -> dict[str, str]:
        """Read the file if it has changed.

        Raises:
            DBProxyError: the file is missing, too large, or not the JSON object it should be.

        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> dict[str, str]:
        try:
            stat = self._path.stat()
            stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if stamp != self._stamp:
                if stat.st_size > SECRET_SIZE_BYTES_MAX:
                    raise DBProxyError(f"secret file {self._path} is larger than {SECRET_SIZE_BYTES_MAX} bytes")
                self._cached = _parse(self._path.read_text(encoding="utf-8"), f"secret file {self._path}")
                self._stamp = stamp
        except OSError as error:
            raise DBProxyError(f"secret file {self._path} could not be read: {error.strerror}") from None
        return self._cached


class SecretsManagerSecret:
    """Credentials from AWS Secrets Manager through boto3 (extra ``forebay[aws]``).

    Args:
        secret_id: name or ARN of the secret.
        client: a boto3 ``secretsmanager`` client; one is made with the default session when it is left out.
        max_age: seconds an answer is kept before the service is asked again.

    Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html

    """

    __slots__ = ("_answer", "_asked_at", "_client", "_max_age", "_secret_id")

    def __init__(self, secret_id: str, client: Any = None, *, max_age: float = 300.0) -> None:
        if not 0 <= max_age <= 86_400:  # noqa: PLR2004 - one day, in seconds
            raise InvalidParameterValue(f"max_age={max_age!r}: must be 0 to 86400 seconds")
        self._secret_id = secret_id
        self._client = client
        self._max_age = max_age
        self._answer: dict[str, str] = {}
        self._asked_at = float("-inf")

    def __repr__(self) -> str:
        return f"SecretsManagerSecret({self._secret_id!r})"

    def forget(self) -> None:
        """Drop the cached answer: the server has refused it."""
        self._asked_at = float("-inf")

    async def get(self) -> dict[str, str]:
        """Ask the service, at most once per ``max_age``.

        Raises:
            DBProxyError: boto3 is not installed, or the service refused.

        """
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= self._max_age:
            self._answer = await asyncio.to_thread(self._ask)
            self._asked_at = now
        return self._answer

    def _ask(self) -> dict[str, str]:
        if self._client is None:
            try:
                import boto3  # noqa: PLC0415 - an optional extra
            except ImportError:
                raise DBProxyError("AWS Secrets Manager needs boto3: pip install 'forebay[aws]'") from None
            self._client = boto3.client("secretsmanager")
        try:
            answer = self._client.get_secret_value(SecretId=self._secret_id)
        except Exception as error:  # noqa: BLE001 - botocore's errors are made at run time; only their kind is told
            raise DBProxyError(
                f"AWS Secrets Manager refused secret {self._secret_id}: {type(error).__name__}"
            ) from None
        return _parse(answer.get("SecretString", ""), f"secret {self._secret_id}")


def _parse(text: str, where: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except ValueError:
        raise DBProxyError(f"{where} is not JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("password"), str):
        raise DBProxyError(f'{where} must be a JSON object with "password", and with "username" if the URL has no user')
    return {key: value[key] for key in ("username", "password") if isinstance(value.get(key), str)}
