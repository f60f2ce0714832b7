#!/bin/bash
# Measures the broker next to what bounds it on this machine, in one run: a bare libmicrohttpd
# server (no broker can answer more requests) and durable appends to the disk (no broker can store
# faster).
#
#     bench/run.sh PROGRAM REFERENCES
#
# `make bench` calls it; REFERENCES is the folder of echo_server and raw_disk. DURATION=5s is the
# time of each measurement, TMPDIR where the broker's data goes (default: build/). The table goes to
# stdout and to bench/results/<date>.md, or to RESULT=file.
# The client runs on the same machine and shares its cores with the broker, as the table says.
set -euo pipefail

program=$(realpath "$1")
references=$(realpath "$2")
cd "$(dirname "$0")/.."
duration=${DURATION:-5s}
result=${RESULT:-bench/results/$(date +%F).md}
mkdir -p build "$(dirname "$result")"
work=$(mktemp -d "${TMPDIR:-$PWD/build}/bench.XXXXXX")
processes=()

finish() {
    for pid in "${processes[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

say() { printf '%s\n' "$*" >&2; }

free_port() {
    python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# measure NAME ARGUMENTS... runs one load; its JSON is what the table is made of. Errors are part of
# the result and reported there, so that one bad row does not hide the others.
measure() {
    local name=$1
    shift
    say "  $name: goqueue bench $*"
    "$program" bench "$@" --json >"$work/$name.json" || say "  $name: not clean, see the table"
}

start_echo() {
    "$references/echo_server" 0 >"$work/echo.log" &
    processes+=($!)
    for _ in $(seq 100); do
        echo_url=$(sed -n 's|^listening on |http://|p' "$work/echo.log")
        if [ -n "$echo_url" ]; then return; fi
        sleep 0.05
    done
    say "the echo server did not start"
    exit 1
}

# Starts the broker on the data in this folder and waits until it is ready; gives the milliseconds that
# took in $ready_ms.
start_broker() {
    local data=$1 before
    before=$(date +%s%N)
    GOQUEUE_LISTENERS_HTTP=127.0.0.1:$port GOQUEUE_BROKER_DATADIR=$data \
        GOQUEUE_LOG_LEVEL=warn "$program" serve >>"$work/broker.log" 2>&1 &
    broker=$!
    processes+=("$broker")
    for _ in $(seq 3000); do
        if [ "$(curl -s -o /dev/null -w '%{http_code}' "$broker_url/readyz")" = 200 ]; then
            ready_ms=$((($(date +%s%N) - before) / 1000000))
            return
        fi
        if ! kill -0 "$broker" 2>/dev/null; then break; fi
        sleep 0.01
    done
    say "the broker did not become ready:"
    cat "$work/broker.log" >&2
    exit 1
}

resident_kib() { awk '/^VmRSS/ {print $2}' "/proc/$broker/status"; }

cp /proc/loadavg "$work/loadavg" # before our own load
say "references: raw disk, echo server"
"$references/raw_disk" "$work" 4 2 >"$work/disk_4k.json"
"$references/raw_disk" "$work" 1024 2 >"$work/disk_1m.json"
start_echo
load=(--url "$echo_url" --path /echo --duration "$duration")
measure echo_bulk echo "${load[@]}" --connections 4 --batch 1000
measure echo_single echo "${load[@]}" --connections 64 --batch 1
kill "${processes[0]}"

say "broker"
port=$(free_port)
broker_url=http://127.0.0.1:$port
start_broker "$work/data"
load=(--url "$broker_url" --duration "$duration")
measure latency latency "${load[@]}" --topic idle
measure publish_bulk publish "${load[@]}" --topic bulk --partitions 6 --connections 4 --batch 1000
measure publish_single publish "${load[@]}" --topic single --partitions 64 --connections 64 --batch 1
measure transaction transaction "${load[@]}" --topic single --connections 64 --batch 100
measure consume consume "${load[@]}" --topic bulk --connections 4 --batch 1000
measure poll_1000 poll "${load[@]}" --topic bulk --group thousand --connections 4 --batch 1000
measure poll_100 poll "${load[@]}" --topic bulk --group hundred --connections 4 --batch 100
# The acks below must not run dry.
measure refill publish --url "$broker_url" --topic single --batch 1000 --messages 600000
measure ack_single poll "${load[@]}" --topic single --connections 64 --batch 100 --single-ack
# Delivery in a crowd: 1 M messages of the topic wait for their time, among the others, and 100,000 are
# in flight in the group that is measured.
say "  busy: 1 M delayed, 100,000 in flight"
fill=(publish --url "$broker_url" --topic busy --batch 1000)
"$program" bench "${fill[@]}" --partitions 64 --messages 3000000 >/dev/null
"$program" bench "${fill[@]}" --messages 1000000 --delay 1h >/dev/null
"$program" bench "${fill[@]}" --messages 5000000 >/dev/null
hold=(poll --url "$broker_url" --topic busy --group crowd --batch 1000)
"$program" bench "${hold[@]}" --connections 1 --hold --messages 100000 >/dev/null
measure poll_busy poll "${load[@]}" --topic busy --group crowd --connections 4 --batch 1000
curl -s "$broker_url/delay/stats" >"$work/delay_stats.json"
curl -s "$broker_url/topics/busy/inflight" >"$work/in_flight.json"
# The same work on the same topic without the crowd: its own group, and nothing delayed in it.
"$program" bench publish --url "$broker_url" --topic calm --batch 1000 --partitions 64 \
    --messages 8000000 >/dev/null
measure poll_calm poll "${load[@]}" --topic calm --group crowd --connections 4 --batch 1000
say "  due: 100,000 delayed messages at one moment"
python3 bench/due.py "$broker_url" 100000 >"$work/due.json"
loaded_kib=$(resident_kib)

say "restart"
kill "$broker"
wait "$broker" || say "the broker's exit code was $?"
start_broker "$work/data"
curl -s "$broker_url/stats" >"$work/stats.json"
printf '{"ready_ms": %s, "resident_kib": %s, "loaded_kib": %s}\n' \
    "$ready_ms" "$(resident_kib)" "$loaded_kib" >"$work/restart.json"

# Each on a broker of its own, whose memory is theirs. First one group for each topic, so that a message
# ends one poll; then ten.
say "parked polls"
for groups in 1 10; do
    kill "$broker"
    wait "$broker" || say "the broker's exit code was $?"
    start_broker "$work/parked_$groups"
    load=(--url "$broker_url" --pid "$broker" --idle 3s --duration 3s)
    measure "parked_$groups" parked "${load[@]}" --topics $((100 / groups)) --rate $((500 / groups))
done

python3 bench/report.py "$work" | tee "$result"
say "written to $result"
