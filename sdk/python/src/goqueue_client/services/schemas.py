"""``client.schemas``: the schema registry."""

from __future__ import annotations

from typing import Union

from ..transport import path_of
from ..types import (
    CompatibilityConfig,
    RegisterSchemaRequest,
    RegisterSchemaResponse,
    Schema,
    SchemaConfig,
    SchemaStats,
    SchemaVersion,
)
from ._service import Service


class SchemasService(Service):
    """JSON Schemas by subject.

    The subject ``<topic>-value`` governs the values published to a topic, ``<topic>-key`` the keys.
    """

    async def list_subjects(self) -> list[str]:
        """Return the subjects that have a schema, sorted (``GET /schemas/subjects``).

        Returns:
            The names, as a plain list.
        """
        reply: list[str] = await self._get(path_of("schemas", "subjects"))
        return reply

    async def list_versions(self, subject: str) -> list[int]:
        """Return the version numbers of a subject (``GET /schemas/subjects/{subject}/versions``).

        Args:
            subject: The subject.

        Returns:
            The numbers in ascending order, as a plain list.

        Raises:
            GoQueueError: 404 ``subject_not_found``.
        """
        reply: list[int] = await self._get(path_of("schemas", "subjects", subject, "versions"))
        return reply

    async def register(
        self, subject: str, request: RegisterSchemaRequest
    ) -> RegisterSchemaResponse:
        """Add a version to a subject (``POST /schemas/subjects/{subject}/versions``).

        Registering a schema the subject already has returns the id it has.

        Args:
            subject: The subject, created by its first schema.
            request: ``schema``, the JSON Schema as a text, and optionally ``schemaType`` "JSON".

        Returns:
            ``id``, the number of this schema in the whole registry.

        Raises:
            GoQueueError: 409 ``schema_incompatible`` with earlier versions; 422
                ``invalid_schema``; 400 without a text.
        """
        reply: RegisterSchemaResponse = await self._post(
            path_of("schemas", "subjects", subject, "versions"), request
        )
        return reply

    async def get_version(self, subject: str, version: Union[int, str]) -> SchemaVersion:
        """Return one version (``GET /schemas/subjects/{subject}/versions/{version}``).

        Args:
            subject: The subject.
            version: Its number, or "latest".

        Returns:
            ``subject``, ``version``, ``id``, and ``schema``, the text as it was registered.

        Raises:
            GoQueueError: 404 ``subject_not_found`` or ``version_not_found``; 400 for a version
                that is neither a number nor "latest".
        """
        reply: SchemaVersion = await self._get(
            path_of("schemas", "subjects", subject, "versions", version)
        )
        return reply

    async def delete_version(self, subject: str, version: Union[int, str]) -> int:
        """Delete one version (``DELETE /schemas/subjects/{subject}/versions/{version}``).

        Its number is never used again, and its id stays readable.

        Args:
            subject: The subject.
            version: Its number, or "latest".

        Returns:
            The number of the deleted version, as a plain integer.

        Raises:
            GoQueueError: 404 ``subject_not_found`` or ``version_not_found``.
        """
        reply: int = await self._delete(
            path_of("schemas", "subjects", subject, "versions", version)
        )
        return reply

    async def get_by_id(self, schema_id: int) -> Schema:
        """Return a schema by its id (``GET /schemas/ids/{schema_id}``).

        Args:
            schema_id: From ``register`` or ``get_version``.

        Returns:
            ``schema``, the text.

        Raises:
            GoQueueError: 404 ``schema_not_found``.
        """
        reply: Schema = await self._get(path_of("schemas", "ids", schema_id))
        return reply

    async def get_config(self) -> SchemaConfig:
        """Return which changes of a schema are allowed (``GET /schemas/config``).

        Returns:
            ``compatibilityLevel``.
        """
        reply: SchemaConfig = await self._get(path_of("schemas", "config"))
        return reply

    async def set_config(self, config: CompatibilityConfig) -> SchemaConfig:
        """Set which changes of a schema are allowed (``PUT /schemas/config``).

        Args:
            config: ``compatibilityLevel``: NONE, BACKWARD, FORWARD, FULL, or one of the latter
                three with _TRANSITIVE.

        Returns:
            The configuration now in force.

        Raises:
            GoQueueError: 400 for an unknown level.
        """
        reply: SchemaConfig = await self._put(path_of("schemas", "config"), config)
        return reply

    async def stats(self) -> SchemaStats:
        """Return the size of the registry (``GET /schemas/stats``).

        Returns:
            ``subjects``, ``schemas`` (different ones) and ``versions``.
        """
        reply: SchemaStats = await self._get(path_of("schemas", "stats"))
        return reply
