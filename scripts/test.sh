#!/usr/bin/env bash
# Every check there is; `make test` and CI run this. One line a step, the output only of what failed, and at
# the end "N passed, N failed" over all suites. GQ_STEPS="unit system" runs only steps whose names match.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=$(mktemp -d)
trap 'trap - EXIT; kill 0 2>/dev/null; rm -rf "$logs"' INT TERM
trap 'rm -rf "$logs"' EXIT
passed=0
failed=0
failed_steps=()
jobs=$(nproc)

# Counts what a step's own runner counted, else 1.
count() {
    local log=$1 status=$2 ok=0 bad=0 line
    while read -r line; do
        case "$line" in
            *%:\ Checks:*) # libcheck: "100%: Checks: 12, Failures: 0, Errors: 0"
                local total=${line##*Checks: } failures=${line##*Failures: } errors=${line##*Errors: }
                total=${total%%,*}; failures=${failures%%,*}; errors=${errors%%[!0-9]*}
                ok=$((ok + total - failures - errors)); bad=$((bad + failures + errors)) ;;
            *\ passed*\ in\ *s*|*\ failed*\ in\ *s*) # pytest: "1 failed, 12 passed in 3.4s"
                [[ $line =~ ([0-9]+)\ passed ]] && ok=$((ok + BASH_REMATCH[1]))
                [[ $line =~ ([0-9]+)\ failed ]] && bad=$((bad + BASH_REMATCH[1]))
                [[ $line =~ ([0-9]+)\ error ]] && bad=$((bad + BASH_REMATCH[1])) ;;
        esac
    done <"$log"
    [ $((ok + bad)) -eq 0 ] && [ "$status" -eq 0 ] && ok=1
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    passed=$((passed + ok))
    failed=$((failed + bad))
}

step() {
    local name=$1 log status start=$SECONDS
    shift
    [ -n "${GQ_STEPS:-}" ] && [[ ! " $GQ_STEPS " =~ \ ${name%% *}\  ]] && return
    log=$logs/${name//[^a-z0-9]/_}
    "$@" >"$log" 2>&1 </dev/null
    status=$?
    count "$log" "$status"
    if [ "$status" -eq 0 ]; then
        printf 'ok    %s (%d s)\n' "$name" $((SECONDS - start))
    else
        printf 'FAIL  %s (%d s)\n' "$name" $((SECONDS - start))
        tail -n 120 "$log" | sed 's/^/      /'
        failed_steps+=("$name")
    fi
}

build() { # mode compiler targets...
    make -s -j"$jobs" WERROR=1 MODE="$1" CC="$2" "${@:3}"
}
sanitized() { # mode target
    build "$1" gcc "$2" && "build/$1-gcc/$2"
}
fuzz() { # each parser: its corpus, then some seconds more
    build fuzz clang-14 fuzzers || return 1
    local target name corpus
    for target in build/fuzz-clang-14/fuzz_*; do
        [ -x "$target" ] && [ ! -d "$target" ] && [[ $target != *.[od] ]] || continue
        name=${target##*/fuzz_}
        corpus=$logs/corpus_$name
        mkdir -p "$corpus" "tests/fuzz/corpus/$name"
        "$target" -max_total_time="${GQ_FUZZ_SECONDS:-15}" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$logs/" \
            "$corpus" "tests/fuzz/corpus/$name" 2>&1 | tail -n 60
        [ "${PIPESTATUS[0]}" -eq 0 ] || return 1
    done
}
lint() {
    git ls-files '*.c' | grep -v '^tests/' | xargs -P "$jobs" -n 4 clang-tidy-14 --quiet -- -std=gnu11 -D_GNU_SOURCE -Isrc -I. \
        -DGQ_VERSION='""' -DGQ_COMMIT='""'
}
venv() {
    [ -x .venv/bin/pytest ] && [ -x .venv/bin/mypy ] && [ -x .venv/bin/ruff ] && return
    python3 -m venv .venv && .venv/bin/pip install -q -e 'sdk/python[test,check]'
}
system() { # binary, pytest arguments...
    GQ_BIN=$1 .venv/bin/python -m pytest -q -x --maxfail=10 tests/system "${@:2}"
}

step "build gcc" build release gcc all program
step "build clang" build release clang-14 program
step "unit release" sanitized release unit
step "unit asan" sanitized asan unit
step "unit tsan" sanitized tsan unit
step "property release" sanitized release property
step "property asan" sanitized asan property
step "format" sh -c "git ls-files '*.c' '*.h' | xargs clang-format-14 --dry-run -Werror"
step "tidy" python3 tests/tidy.py
step "cppcheck" cppcheck -q --error-exitcode=1 --inline-suppr -U__clang__ --std=c11 \
    --enable=warning,portability,performance -Isrc --suppress=missingIncludeSystem src cli
step "lint" lint
step "venv" venv
step "sdk tests" .venv/bin/python -m pytest -q sdk/python/tests
step "sdk types" .venv/bin/mypy --strict sdk/python/src
step "sdk style" .venv/bin/ruff check sdk/python
step "system release" system "$PWD/build/release-gcc/goqueue"
step "system asan" sh -c "make -s -j$jobs WERROR=1 MODE=asan program && GQ_BIN=\$PWD/build/asan-gcc/goqueue GQ_CRASH_ROUNDS=3 .venv/bin/python -m pytest -q tests/system -m 'not slow'"
step "system tsan" sh -c "make -s -j$jobs WERROR=1 MODE=tsan program && GQ_BIN=\$PWD/build/tsan-gcc/goqueue GQ_CRASH_ROUNDS=2 .venv/bin/python -m pytest -q tests/system -m 'not slow'"
step "fuzz" fuzz

[ ${#failed_steps[@]} -gt 0 ] && printf '\nfailed: %s\n' "${failed_steps[*]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
