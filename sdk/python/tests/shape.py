"""Checks a JSON value against a type of :mod:`goqueue_client.types`."""

from __future__ import annotations

import sys
from typing import Any, Literal, Union, get_args, get_origin

if sys.version_info >= (3, 11):
    from typing import get_type_hints, is_typeddict
else:
    from typing_extensions import get_type_hints, is_typeddict

__all__ = ["check_shape", "get_type_hints", "is_typeddict"]


def check_shape(value: Any, expected: Any, where: str = "reply") -> None:
    """Fail unless the value is of the type and has no member the type does not name."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return
    if is_typeddict(expected):
        _check_record(value, expected, where)
    elif origin is Literal:
        assert value in arguments, f"{where}: {value!r} is none of {arguments}"
    elif origin is list:
        assert isinstance(value, list), f"{where}: not a list"
        for index, item in enumerate(value):
            check_shape(item, arguments[0], f"{where}[{index}]")
    elif origin is dict:
        assert isinstance(value, dict), f"{where}: not an object"
        for name, item in value.items():
            check_shape(name, arguments[0], f"{where} key")
            check_shape(item, arguments[1], f"{where}.{name}")
    elif origin is Union:
        if value is not None:
            (present,) = (argument for argument in arguments if argument is not type(None))
            check_shape(value, present, where)
    elif expected is float:
        assert isinstance(value, (int, float)), f"{where}: {value!r} is not a number"
    else:
        assert type(value) is expected, f"{where}: {value!r} is not {expected}"


def _check_record(value: Any, record: Any, where: str) -> None:
    assert isinstance(value, dict), f"{where}: not an object"
    members = get_type_hints(record)
    unknown = value.keys() - members.keys()
    assert not unknown, f"{where}: {record.__name__} lacks {unknown}"
    missing = record.__required_keys__ - value.keys()
    assert not missing, f"{where}: {record.__name__} requires {missing}"
    for name, item in value.items():
        check_shape(item, members[name], f"{where}.{name}")
