#!/usr/bin/env bash
# Say what is missing before anything is built. Usage: scripts/tools.sh PYTHON
set -euo pipefail

python=$1
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "forebay needs Python 3.11 or newer and '$python' is not: name another one, as in: make test PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "'$python' cannot make virtual environments. On Debian and Ubuntu: sudo apt-get install -y python3-venv" >&2
    exit 1
fi
if ! command -v cargo >/dev/null; then
    echo "forebay is built with a Rust toolchain and there is no 'cargo' here: see https://rustup.rs" >&2
    exit 1
fi
