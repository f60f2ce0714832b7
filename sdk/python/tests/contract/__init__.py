"""The 56 calls as the HTTP contract has them: what is sent, and a reply with every member."""

from .call import Call
from .core import DELAYED_CALLS, HEALTH, MESSAGES, TOPICS
from .features import ADMIN, SCHEMAS, TRACING, TRANSACTIONS
from .groups import GROUPS, PRIORITY

JSON_CALLS = [
    *HEALTH,
    *TOPICS,
    *MESSAGES,
    *DELAYED_CALLS,
    *GROUPS,
    *PRIORITY,
    *SCHEMAS,
    *TRANSACTIONS,
    *TRACING,
    *ADMIN,
]
"""All calls but ``health.metrics``, whose reply is text."""

__all__ = ["JSON_CALLS", "Call"]
