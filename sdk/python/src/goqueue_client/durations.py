"""Durations as the broker reads and writes them: ``"30s"``, ``"1h30m"``, ``"1.5h"``, ``"850µs"``.

The client needs their length for one thing only, to keep the HTTP timeout above the time a long
poll may take. Programs may use :func:`parse_duration` on the durations in replies (``uptime``,
``avg_delay`` and so on).
"""

from __future__ import annotations

import re

_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
}
_PART = re.compile(r"([0-9]*)(\.([0-9]*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_NS_MAX = 2**63 - 1


def parse_duration(text: str) -> float:
    """Return the length of a duration string in seconds.

    The grammar is that of the broker: an optional sign, then ``0`` or one or more numbers, each
    with a unit out of ``ns us µs ms s m h``; the parts add up. There is no day unit, no space, and
    no number without a unit other than ``0``.

    Args:
        text: For example ``"30s"``, ``"500ms"``, ``"1h30m"``, ``"-1.5h"``, ``"0"``.

    Returns:
        Seconds; negative for a negative duration.

    Raises:
        ValueError: The text is not a duration, or exceeds 2^63 - 1 nanoseconds (about 292 years).
    """
    digits = text[1:] if text[:1] in ("+", "-") else text
    total_ns = 0
    if digits != "0":
        position = 0
        while position < len(digits) or position == 0:
            part = _PART.match(digits, position)
            if part is None or not (part[1] or part[3]):
                raise ValueError(f"invalid duration: {text!r}")
            unit_ns = _UNIT_NS[part[4]]
            fraction = part[3] or ""
            total_ns += int(part[1] or "0") * unit_ns
            total_ns += int(fraction or "0") * unit_ns // 10 ** len(fraction)
            position = part.end()
        if total_ns > _NS_MAX:
            raise ValueError(f"duration out of range: {text!r}")
    seconds = total_ns / 1_000_000_000
    return -seconds if text[:1] == "-" else seconds
