#!/usr/bin/env bash
# Every check there is; `make test` and CI run this. One line a step, the output only of what failed, and at
# the end "N passed, N failed" over all suites. GQ_STEPS="unit system" runs only steps whose names match.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=$(mktemp -d)
trap 'trap - EXIT INT TERM; rm -rf "$logs"; kill 0' INT TERM
trap 'rm -rf "$logs"' EXIT
passed=0
failed=0
skipped=0
failed_steps=()
jobs=$(nproc)

# Counts what a step's own runner counted, else 1.
count() {
    local log=$1 status=$2 ok=0 bad=0 line
    while read -r line; do
        if [[ $line =~ ^[0-9]+%:\ Checks:\ ([0-9]+),\ Failures:\ ([0-9]+),\ Errors:\ ([0-9]+) ]]; then # libcheck
            bad=$((bad + BASH_REMATCH[2] + BASH_REMATCH[3]))
            ok=$((ok + BASH_REMATCH[1] - BASH_REMATCH[2] - BASH_REMATCH[3]))
        elif [[ $line =~ ^(=+ )?[0-9]+\ [a-z]+(,\ [0-9]+\ [a-z]+)*\ in\ [0-9.]+s ]]; then # pytest
            [[ $line =~ ([0-9]+)\ passed ]] && ok=$((ok + BASH_REMATCH[1]))
            [[ $line =~ ([0-9]+)\ failed ]] && bad=$((bad + BASH_REMATCH[1]))
            [[ $line =~ ([0-9]+)\ error ]] && bad=$((bad + BASH_REMATCH[1]))
            [[ $line =~ ([0-9]+)\ skipped ]] && skipped=$((skipped + BASH_REMATCH[1]))
        elif [[ $line =~ ^[a-z0-9_]+\ (holds|FAILS):\  ]]; then # tests/property
            [ "${BASH_REMATCH[1]}" = holds ] && ok=$((ok + 1)) || bad=$((bad + 1))
        fi
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
        sed -n 's/^[0-9]* steps$/      &/p' "$log" # of the property tests: how far they went
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
    build "$1" gcc "build/$1-gcc/$2" && "build/$1-gcc/$2" # the make target of that name runs it, too
}
fuzz() { # each parser: its corpus, then its share of the seconds
    build fuzz clang-14 fuzzers || return 1
    local targets=() target name seconds
    for target in tests/fuzz/fuzz_*.c; do targets+=("$(basename "$target" .c)"); done
    seconds=$((${GQ_FUZZ_SECONDS:-120} / ${#targets[@]} + 1))
    for target in "${targets[@]}"; do
        name=${target#fuzz_}
        mkdir -p "$logs/corpus_$name" "$logs/empty"
        corpus=tests/fuzz/corpus/$name
        [ -d "$corpus" ] || corpus=$logs/empty
        "build/fuzz-clang-14/$target" -max_total_time=$seconds -timeout=10 -rss_limit_mb=2048 \
            -artifact_prefix="$logs/" "$logs/corpus_$name" "$corpus" >"$logs/fuzz_$name" 2>&1 ||
            { tail -n 60 "$logs/fuzz_$name"; return 1; }
    done
}
lint() {
    git ls-files '*.c' | grep -v '^tests/' | xargs -P "$jobs" -n 4 sh -c 'clang-tidy-14 --quiet "$@" -- \
        -std=gnu11 -D_GNU_SOURCE -Isrc -I. -DGQ_VERSION="\"\"" -DGQ_COMMIT="\"\""' lint
}
venv() {
    [ -x .venv/bin/mypy ] && [ -x .venv/bin/ruff ] && .venv/bin/python -c 'import xdist' && return
    python3 -m venv .venv && .venv/bin/pip install -q -e 'sdk/python[test,check]' pytest-xdist
}
sdk() { # a module of the venv with its arguments, in the SDK's folder
    (cd sdk/python && ../../.venv/bin/python -m "$@")
}
system() { # mode, pytest arguments...; several at a time, since they mostly wait
    build "$1" gcc program || return 1
    GQ_BIN=$PWD/build/$1-gcc/goqueue .venv/bin/python -m pytest -q -n $((jobs * 2)) --maxfail=10 \
        tests/system "${@:2}"
}

step "build gcc" build release gcc all references
step "build clang" build release clang-14 program references
step "unit release" sanitized release unit
# Check keeps memory for each test and forks for the next: with a large quarantine that takes minutes.
ASAN_OPTIONS=quarantine_size_mb=8 step "unit asan" sanitized asan unit
step "unit tsan" sanitized tsan unit
step "property release" sanitized release property
step "property asan" sanitized asan property
step "format" sh -c "git ls-files '*.c' '*.h' | xargs clang-format-14 --dry-run -Werror"
step "tidy" python3 tests/tidy.py
step "cppcheck" cppcheck -q --error-exitcode=1 --inline-suppr -U__clang__ --std=c11 \
    --enable=warning,portability,performance -Isrc -I. --suppress=missingIncludeSystem src cli
step "lint" lint
step "venv" venv
step "sdk tests" sdk pytest
step "sdk types" sdk mypy
step "sdk style" sdk ruff check .
step "sdk format" sdk ruff format --check .
step "system release" system release
GQ_CRASH_ROUNDS=3 step "system asan" system asan -m "not slow"
GQ_CRASH_ROUNDS=2 step "system tsan" system tsan -m "not slow"
step "fuzz" fuzz

[ ${#failed_steps[@]} -gt 0 ] && printf '\nfailed: %s\n' "${failed_steps[*]}"
printf '%d passed, %d failed' "$passed" "$failed"
[ "$skipped" -gt 0 ] && printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
