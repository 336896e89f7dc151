#!/usr/bin/env bash
# Install the servers that the tests are run against. Usage: scripts/servers.sh [--missing]
#
# Root on a machine with apt gets them, under CI or not. Anybody else is told what is missing; the tests that need it are skipped and named
# at the end of the run. Under CI no test may be skipped for want of a server, so this fails. `--missing` only prints the missing packages, in one line.
set -euo pipefail

for folder in /usr/sbin /usr/local/sbin /usr/lib/postgresql/*/bin; do
    PATH=$PATH:$folder
done
missing=()
# The package, and every program of it that the tests start: of PostgreSQL, the client alone may be there.
while read -r package programs; do
    for program in $programs; do
        command -v "$program" >/dev/null || { missing+=("$package"); break; }
    done
done <<'END'
mariadb-server mariadbd mariadb-install-db mariadb
postgresql postgres initdb pg_basebackup psql
prometheus prometheus promtool
openssl openssl
wrk wrk
END

if [[ ${1:-} == --missing ]]; then
    echo "${missing[*]-}"
    exit
fi
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" && exit
    why="could not be installed"
else
    why="missing, and only root on a machine with apt installs them here"
fi
echo "Servers for the tests: ${missing[*]} $why. To install: sudo apt-get install -y ${missing[*]}" >&2
[[ ${CI:-false} == false ]] || exit 1
echo "Their tests are skipped; the end of the run names them." >&2
