#!/usr/bin/env bash
# The database proxy and the metrics are tested against real servers. Install them under CI; on a person's machine say how, and let
# their tests fail.
set -euo pipefail

PATH=$PATH:/usr/sbin:/usr/local/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')
missing=()
command -v mariadbd >/dev/null || missing+=(mariadb-server)
command -v postgres >/dev/null || missing+=(postgresql)
command -v promtool >/dev/null || missing+=(prometheus)
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ ${CI:-} == true ]]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
else
    echo "Missing: ${missing[*]}. Their tests will fail; to install: sudo apt-get install -y ${missing[*]}" >&2
fi
