"""A declared registry of schemas: what events look like, in versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from forebay._model import checks
from forebay._model.registry import RegistrySettings
from forebay._runtime.store_resource import StoreResource
from forebay._runtime.sync_twins import sync_twin

if TYPE_CHECKING:
    from collections.abc import Mapping

SchemaType = Literal["OpenApi3", "JSONSchemaDraft4"]


class SchemaVersion(NamedTuple):
    """A version of a schema.

    Attributes:
        name: the schema's name, such as "shop.orders@OrderPlaced".
        version: its number.
        schema_type: "OpenApi3" or "JSONSchemaDraft4".
        content: the schema, a JSON text.
        created: when the version was added, seconds since 1970.
        versions: the numbers of all versions, the latest last.

    """

    name: str
    version: int
    schema_type: SchemaType
    content: str
    created: float
    versions: tuple[int, ...]


class Registry(StoreResource[RegistrySettings]):
    """A registry of schemas. `App.registry` makes it."""

    async def put(
        self,
        name: str,
        content: Mapping[str, Any] | str,
        *,
        schema_type: SchemaType | None = None,
        description: str | None = None,
    ) -> SchemaVersion:
        """Create a schema, or add a version to one that exists. What its latest version says already is no new one.

        Args:
            name: 1 to 385 letters, digits, '.', '-', '_' and '@'. A bus that enforces schemas holds an event against the one
                called `source@DetailType`, with the detail-type in PascalCase.
            content: the schema of the whole event, a dict or its JSON text of at most 100,000 characters.
            schema_type: "OpenApi3" or "JSONSchemaDraft4"; None: OpenAPI where the content has the key "openapi".
            description: for people; None: it stays as it is.

        Returns:
            The latest version.

        Raises:
            InvalidParameterValue: the content is not a schema, with the place; or there are 100 versions already.
            ResourceConflict: the schema has the other type.
            ResourceNotFound: there is no such registry.
            AppClosed: the app is not running.

        """
        text = content if isinstance(content, str) else checks.json_text("content", content)
        if schema_type is None:
            schema_type = "OpenApi3" if '"openapi"' in text else "JSONSchemaDraft4"
        await self._declared()
        fields = {"registry": self.name, "name": name, "schema_type": schema_type, "content": text}
        return _version(await self._caller.ask("schema.put", **fields, description=description))

    put_sync = sync_twin(put)

    async def get(self, name: str, version: int | None = None) -> SchemaVersion:
        """Give a version of a schema; None: the latest.

        Raises:
            ResourceNotFound: there is no such registry, schema or version.
            AppClosed: the app is not running.

        """
        await self._declared()
        return _version(await self._caller.ask("schema.describe", registry=self.name, name=name, version=version))

    get_sync = sync_twin(get)

    async def export(
        self, name: str, version: int | None = None, *, schema_type: SchemaType = "JSONSchemaDraft4"
    ) -> SchemaVersion:
        """Give a version of a schema as JSON Schema Draft 4, or as OpenAPI 3 if it is that.

        Raises:
            InvalidParameterValue: the schema has no such form.
            ResourceNotFound: there is no such registry, schema or version.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-schema.html

        """
        await self._declared()
        fields = {"registry": self.name, "name": name, "version": version, "schema_type": schema_type}
        return _version(await self._caller.ask("schema.export", **fields))

    export_sync = sync_twin(export)

    async def names(self, prefix: str = "", *, keywords: str = "") -> list[str]:
        """List the names of schemas.

        Args:
            prefix: only names that begin so.
            keywords: words, all of which the name, the description or the latest content has, in whatever letters.

        Raises:
            ResourceNotFound: there is no such registry.
            AppClosed: the app is not running.

        """
        await self._declared()
        found: list[str] = []
        after = None
        while True:
            page = await self._caller.ask(
                "schema.list", registry=self.name, prefix=prefix, keywords=keywords, after=after
            )
            found.extend(schema["name"] for schema in page["schemas"])
            after = page["next"]
            if after is None:
                return found

    names_sync = sync_twin(names)

    async def delete(self, name: str, version: int | None = None) -> None:
        """Delete a schema with its versions, or one version of several.

        Raises:
            InvalidParameterValue: forebay itself writes the registry.
            ResourceConflict: it is the schema's only version.
            ResourceNotFound: there is no such registry, schema or version.
            AppClosed: the app is not running.

        """
        await self._declared()
        if version is None:
            await self._caller.ask("schema.delete", registry=self.name, name=name)
        else:
            await self._caller.ask("schema.delete_version", registry=self.name, name=name, version=version)

    delete_sync = sync_twin(delete)


def _version(answer: dict[str, Any]) -> SchemaVersion:
    return SchemaVersion(
        name=answer["name"],
        version=answer["version"],
        schema_type=answer["schema_type"],
        content=answer["content"],
        created=answer["version_created_ms"] / 1000,
        versions=tuple(answer["versions"]),
    )
