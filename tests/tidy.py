"""The style rules a machine can check. `make check` runs it: prints file:line: rule, exits 1 on any.

Fails on banned calls, a header without a comment, clocks, I/O or threads in machine/, includes against the
arrows, and unfinished work. Lists, without failing, what outgrew the sizes of CONTRIBUTING.md.
"""
import pathlib
import re
import sys

ARROWS = {  # each folder may include itself, std/ and what is listed here; nothing else
    "std": set(),
    "command": set(),
    "machine": {"command"},
    "journal": {"command"},
    "delivery": {"command", "machine"},
    "node": {"command", "delivery", "machine", "journal"},
    "api": {"command", "node"},
}
EXCEPTIONS = {  # pure functions and types of a lower layer that the api may see
    ("api", "delivery/receipt.h"),
    ("api", "journal/partition_log.h"),
}
BANNED = r"\b(strcpy|strcat|strncpy|strncat|sprintf|vsprintf|gets|strtok|atoi|atol|gmtime|localtime|alloca|assert)\s*\("
IMPURE = r"\b(time|clock_\w+|rand|random|randombytes_\w+|read|write|pread|pwrite|fsync|open|pthread_\w+)\s*\("
UNFINISHED = r"\b(TODO|FIXME|XXX|HACK)\b"
FILE_MAX, FUNCTION_MAX, COLUMNS_MAX = 600, 70, 100


def without_comments(text):
    """The same lines with comments and strings blanked, so that words in them do not count."""
    blank = lambda match: re.sub(r"[^\n]", " ", match[0])
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def check_arrows(path, lines, folder, fail):
    for number, line in enumerate(lines, 1):
        match = re.match(r'#include "((\w+)/[^"]+)"', line)
        if not match or folder not in ARROWS:
            continue
        allowed = ARROWS[folder] | {folder, "std"}
        if match[2] not in allowed and (folder, match[1]) not in EXCEPTIONS:
            fail(number, f"{folder}/ may not include {match[1]}")


def check(path, fail, grown):
    text = path.read_text()
    lines, code = text.splitlines(), without_comments(text).splitlines()
    folder = path.parts[path.parts.index("src") + 1] if "src" in path.parts else None
    if len(lines) > FILE_MAX:
        grown(1, f"{len(lines)} lines in the file")
    if path.suffix == ".h" and not text.startswith("/*"):
        fail(1, "a header starts with a comment that says what it is for")
    check_arrows(path, lines, folder, fail)
    start = None
    for number, line in enumerate(code, 1):
        if len(lines[number - 1]) > COLUMNS_MAX:
            grown(number, f"{len(lines[number - 1])} columns")
        if match := re.search(BANNED, line):
            fail(number, f"{match[1]}() is banned")
        if re.search(UNFINISHED, lines[number - 1]):
            fail(number, "unfinished work")
        if folder == "machine" and (match := re.search(IMPURE, line)):
            fail(number, f"{match[1]}() in the machine: it must stay deterministic")
        if re.match(r"[a-z_].*\)\s*$", line):
            start = number
        if line == "}" and start:
            if number - start + 1 > FUNCTION_MAX:
                grown(start, f"{number - start + 1} lines in the function")
            start = None


def main(roots):
    failures, sizes = [], []
    for root in roots:
        for path in sorted(pathlib.Path(root).rglob("*.[ch]")):
            check(
                path,
                lambda number, rule, p=path: failures.append(f"{p}:{number}: {rule}"),
                lambda number, what, p=path: sizes.append(f"{p}:{number}: {what}"),
            )
    if sizes:
        print("Outgrown (listed only):", *sizes, sep="\n  ")
    print("\n".join(failures) or "tidy: ok")
    return bool(failures)


sys.exit(main(sys.argv[1:] or ["src", "cli", "bench", "tests"]))
