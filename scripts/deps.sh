#!/usr/bin/env bash
# Installs the Debian packages that are missing, and only those; asks for nothing when all are there.
# Usage: scripts/deps.sh build|test
set -euo pipefail

build="gcc libc6-dev make pkg-config git ca-certificates libmicrohttpd-dev libjansson-dev libroaring-dev libsodium-dev libxxhash-dev"
test="$build check clang-14 clang-format-14 clang-tidy-14 cppcheck libclang-rt-14-dev llvm-14 python3 python3-venv curl"
case "${1:-build}" in
    build) wanted=$build ;;
    test) wanted=$test ;;
    *) echo "usage: scripts/deps.sh build|test" >&2; exit 2 ;;
esac

missing=()
for package in $wanted; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
