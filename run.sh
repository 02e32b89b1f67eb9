#!/usr/bin/env bash
# Set up once in .venv, then: no arguments, stylize the example; `blog`, make the figures of it, into
# the folder blog; `test`, run the tests; anything else goes to the program (`./run.sh --help`).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${NEURAL_STYLE_VENV:-$here/.venv}

fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

# Sets up for running, or with $1 = dev for testing; at once when that has been done already.
set_up() {
    local extras=audio,plot${1:+,$1} stamp="$venv/.installed${1:+-$1}"
    if [[ -e $stamp && $stamp -nt $here/setup.py && $stamp -nt $here/pyproject.toml ]]; then
        return
    fi
    local python=${PYTHON:-python3}
    command -v "$python" >/dev/null || fail "expected Python 3.10 or newer, found no $python: install it, or set PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "expected Python 3.10 or newer, got $("$python" --version 2>&1): install it, or set PYTHON"
    # Not whether there is a Python: what was broken off, or failed, has one and no pip.
    if ! "$venv/bin/python" -m pip --version &>/dev/null; then
        "$python" -m venv "$venv" ||
            fail "could not make a virtual environment in $venv (on Debian or Ubuntu: apt install python3-venv)"
    fi
    echo "Setting up in $venv (once; TensorFlow is a large download) …" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$here[$extras]" ||
        fail "the packages could not be installed: see above; run this again to go on"
    touch "$stamp"
}

# Runs the program. Linux gives pages of 2 MiB to who asks, and the C library asks if it is told to
# (glibc 2.35; others take no notice): 3 % of the time, a third where memory is given back as it is freed.
program() {
    export GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.hugetlb=1}
    exec "$venv/bin/python" -m neural_style_tf "$@"
}

case ${1-} in
    test)
        set_up dev
        shift
        cd "$here"
        # Of each file the tests stay together: they share what they have made. -n 0: all in turn.
        exec "$venv/bin/python" -m pytest -n auto --maxprocesses 4 --dist loadfile \
            --no-loadscope-reorder "$@"
        ;;
    blog)
        set_up
        shift
        # What is named again behind these wins.
        program figures --content "$here/examples/content.jpg" \
            --style "$here/examples/style.jpg" "$here/examples/style2.jpg" --output-dir blog "$@"
        ;;
    *)
        set_up
        if (($# == 0)); then
            set -- --content "$here/examples/content.jpg" --styles "$here/examples/style.jpg" \
                --width 512 --output example.png --overwrite
            echo "The example: neural-style-tf $*" >&2
        fi
        program "$@"
        ;;
esac
