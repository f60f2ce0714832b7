"""The package as a whole: exports, durations, types, and the examples of the README."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import goqueue_client
from goqueue_client import parse_duration, types
from shape import get_type_hints, is_typeddict
from test_calls import public_calls

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_all_types_are_exported() -> None:
    assert {"PartitionInfo", "Message", "OffsetCommit"} <= set(types.__all__)
    assert set(types.__all__) <= set(goqueue_client.__all__)
    for name in goqueue_client.__all__:
        assert hasattr(goqueue_client, name)


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(goqueue_client.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("name", types.__all__)
def test_types_resolve_at_run_time(name: str) -> None:
    declared = getattr(types, name)
    if is_typeddict(declared):
        assert get_type_hints(declared)


@pytest.mark.parametrize("module", sorted(Path(types.__file__).parent.glob("*.py")), ids=str)
def test_types_are_documented(module: Path) -> None:
    for node in ast.parse(module.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            text = ast.get_docstring(node)
            assert text, node.name
            # A record without a list of members says that they are all alike.
            for member in node.body if "Attributes:" in text else []:
                if isinstance(member, ast.AnnAssign):
                    assert f"{ast.unparse(member.target)}:" in text, node.name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1h", 3600),
        ("24h", 86400),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("0", 0),
        ("0s", 0),
        ("+5s", 5),
        ("-1.5h", -5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("100us", 1e-4),
        ("850\u00b5s", 8.5e-4),
        ("850\u03bcs", 8.5e-4),
        ("1ns", 1e-9),
        ("1m1ms", 60.001),
        ("26h0m5s", 93605),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "", "30", "1d", "5 s", " 5s", "1h-5m", "s", ".s", "-", "1.2.3s", "1e3s", "00",
        "\u0663s", "5S", "300000000h", "9" * 5000 + "s", "1s\n",
    ],
)  # fmt: skip
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's own for 5000 digits
        parse_duration(text)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_compile_and_use_existing_calls(example: str) -> None:
    compile(example, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    used = set(re.findall(r"client\.([a-z]+\.[a-z_]+)\(", example))
    assert used <= public_calls().keys()


def test_readme_lists_all_calls() -> None:
    rows = re.findall(r"^\| `client\.(\w+)` \| (.*) \|$", README.read_text("utf-8"), re.MULTILINE)
    listed = {
        f"{service}.{name}" for service, names in rows for name in names.strip("`").split("` `")
    }
    assert listed == public_calls().keys()
