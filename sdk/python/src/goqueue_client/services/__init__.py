"""The ten services of :class:`goqueue_client.GoQueueClient`, one module each."""

from .admin import AdminService
from .delayed import DelayedService
from .groups import GroupsService
from .health import HealthService
from .messages import MessagesService
from .priority import PriorityService
from .schemas import SchemasService
from .topics import TopicsService
from .tracing import TracingService
from .transactions import TransactionsService

__all__ = [
    "AdminService",
    "DelayedService",
    "GroupsService",
    "HealthService",
    "MessagesService",
    "PriorityService",
    "SchemasService",
    "TopicsService",
    "TracingService",
    "TransactionsService",
]
