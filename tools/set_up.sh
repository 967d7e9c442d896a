#!/usr/bin/env bash
# Make .venv and install the project in it: `tools/set_up.sh runtime`, or `dev`
# for the tools of contributors as well. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

check_python() {
    command -v "$python" >/dev/null ||
        die "No $python here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 …"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or newer is needed; $python is $("$python" -V 2>&1)." \
            "Name a newer one: make PYTHON=python3.12 …"
}

make_venv() {
    # Whatever is half made or belongs to a Python that is gone is made again.
    .venv/bin/python -m pip --version >/dev/null 2>&1 && return
    tools/install_packages.sh python3-venv
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make virtual environments (Debian: apt-get install python3-venv)."
    "$python" -m venv --clear .venv
}

# pip learnt `--group` in 25.1; the one that comes with Python 3.11 is older.
dev_requirements() {
    .venv/bin/python -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["dependency-groups"]["dev"], sep="\n")'
}

check_python
make_venv
echo "Installing into .venv ($1) …" >&2
export PIP_DISABLE_PIP_VERSION_CHECK=1
case $1 in
runtime) .venv/bin/python -m pip install --quiet --editable . ;;
dev)
    dev_requirements >.venv/dev-requirements.txt
    .venv/bin/python -m pip install --quiet --editable . -r .venv/dev-requirements.txt
    ;;
*) die "usage: tools/set_up.sh runtime|dev" ;;
esac
