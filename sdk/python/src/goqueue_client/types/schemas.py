"""Types of ``client.schemas``."""

from typing import Literal

from ._required import NotRequired, TypedDict

CompatibilityLevel = Literal[
    "NONE",
    "BACKWARD",
    "FORWARD",
    "FULL",
    "BACKWARD_TRANSITIVE",
    "FORWARD_TRANSITIVE",
    "FULL_TRANSITIVE",
]
"""Which changes of a schema are allowed.

BACKWARD: what was valid stays valid. FORWARD: what is valid now was valid before. FULL: both.
_TRANSITIVE: compared with all earlier versions, not only with the latest. NONE: any change.
"""


class RegisterSchemaRequest(TypedDict):
    """Argument of ``schemas.register``.

    Attributes:
        schema: The JSON Schema, as a JSON text.
        schemaType: "JSON", the default and only type.
    """

    schema: str
    schemaType: NotRequired[str]


class RegisterSchemaResponse(TypedDict):
    """Reply of ``schemas.register``.

    Attributes:
        id: Number of the schema in the whole registry, from 1.
        version: Its version under the subject.
        subject: The subject.
    """

    id: int
    version: NotRequired[int]
    subject: NotRequired[str]


class SchemaVersion(TypedDict):
    """Reply of ``schemas.get_version``.

    Attributes:
        subject: The subject.
        version: The version.
        id: Number of the schema in the whole registry.
        schema: The text as it was registered.
        schemaType: "JSON".
    """

    subject: str
    version: int
    id: int
    schema: str
    schemaType: NotRequired[str]


class Schema(TypedDict):
    """Reply of ``schemas.get_by_id``.

    Attributes:
        schema: The text as it was registered.
        schemaType: "JSON".
        subject: The subject it was first registered under.
        version: Its version there.
        id: Number of the schema in the whole registry.
    """

    schema: str
    schemaType: NotRequired[str]
    subject: NotRequired[str]
    version: NotRequired[int]
    id: NotRequired[int]


class CompatibilityConfig(TypedDict):
    """Argument of ``schemas.set_config``.

    Attributes:
        compatibilityLevel: Which changes are allowed.
        validation_enabled: Whether published messages are checked against their schema.
    """

    compatibilityLevel: CompatibilityLevel
    validation_enabled: NotRequired[bool]


class SchemaConfig(CompatibilityConfig):
    """Reply of ``schemas.get_config`` and ``schemas.set_config``.

    Attributes:
        compatibility: The same as ``compatibilityLevel``.
    """

    compatibility: NotRequired[CompatibilityLevel]


class SubjectStats(TypedDict, total=False):
    """One subject in :class:`SchemaStats`.

    Attributes:
        subject: The subject.
        versionCount: How many versions it has.
        latestVersion: The latest one.
        latestSchemaId: Its schema.
        compatibility: Which changes are allowed.
        validationEnabled: Whether messages are checked.
    """

    subject: str
    versionCount: int
    latestVersion: int
    latestSchemaId: int
    compatibility: CompatibilityLevel
    validationEnabled: bool


class SchemaStats(TypedDict):
    """Reply of ``schemas.stats``.

    Attributes:
        subjects: Number of subjects.
        schemas: Number of different schemas.
        versions: Number of versions of all subjects.
        subjectCount: The same as ``subjects``.
        totalSchemas: The same as ``schemas``.
        globalCompatibility: Which changes are allowed where a subject does not say otherwise.
        validationEnabled: Whether messages are checked.
        cachedValidators: Number of schemas kept ready for checking.
        subject_stats: By subject.
    """

    subjects: int
    schemas: int
    versions: int
    subjectCount: NotRequired[int]
    totalSchemas: NotRequired[int]
    globalCompatibility: NotRequired[CompatibilityLevel]
    validationEnabled: NotRequired[bool]
    cachedValidators: NotRequired[int]
    subject_stats: NotRequired[list[SubjectStats]]
