#!/bin/sh
# Brings uv (which brings everything else, Python 3.12 included) into the folder named, with any Python 3 that has pip
# or venv. Nothing outside that folder is changed.
set -eu
folder=$1
version=0.13.9

fail() {
    echo "$1" >&2
    echo "Install pip for it (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip)," >&2
    echo "or install uv and run make again: https://docs.astral.sh/uv/getting-started/installation/" >&2
    exit 1
}

if present=$(command -v uv); then
    mkdir -p "$folder/bin"
    ln -sf "$present" "$folder/bin/uv"
    exit 0
fi
python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "There is no $python and no uv on this machine."
if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --upgrade --target "$folder" "uv==$version"
elif "$python" -m venv "$folder/venv" >/dev/null 2>&1; then
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$version"
    mkdir -p "$folder/bin"
    ln -sf ../venv/bin/uv "$folder/bin/uv"
else
    rm -rf "$folder/venv"
    fail "$(command -v "$python") has neither pip nor venv, so it cannot bring uv."
fi
