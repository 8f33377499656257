#!/bin/sh
# Makes .venv where it is not ready. `sh tools/setup.sh python` only names the Python it would use.
#
# Ready means that .venv holds a stamp whose name is a checksum of settings.ini, constraints.txt and the Python in .venv
# (its version and place). The stamp is the last thing an installation writes, so one that was interrupted is repeated
# from an empty .venv. Where only settings have changed since, .venv is brought up to date in place.
set -eu
cd "$(dirname "$0")/.."

fail() { echo "classypics: $*" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.14 python3.13 python3.12 python3.11 python3; fi
    for candidate; do
        new_enough "$candidate" || continue
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then echo "$candidate"; return; fi
        bare=$("$candidate" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    done
    [ -z "${bare:-}" ] || fail "$bare is here but cannot make a virtual environment (ensurepip is missing): install" \
        "$bare-venv, on Debian and Ubuntu with 'sudo apt-get install $bare-venv', and run this again"
    name=${PYTHON:-python3}
    found=$("$name" -c 'import platform; print(platform.python_version())' 2>/dev/null) &&
        found="$name here is $found" || found="there is no $name here"
    fail "Python 3.11 or newer is needed and $found: install one and run this again, or name it" \
        "(make setup PYTHON=/path/to/python3)"
}

identity() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2], sys.prefix)' 2>/dev/null || echo none; }

stamp() {
    { cat settings.ini constraints.txt; identity .venv/bin/python; } | cksum | awk '{ print ".venv/ready-" $1 "-" $2 }'
}

usable() {  # is the Python in .venv the one asked for by name, if one was, and did an installation ever end here?
    here=$(identity .venv/bin/python)
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || find_python >/dev/null
        asked=$(identity "$PYTHON")
        [ "${asked%% *}" = "${here%% *}" ] || return 1
    fi
    [ "$here" != none ] && cat .venv/ready-* 2>/dev/null | grep -qxF "$here"
}

if [ "${1:-}" = python ]; then find_python; exit; fi
if usable && [ -f "$(stamp)" ]; then exit 0; fi

if [ "$(uname -s)" = Linux ]; then size=6 download=3 needed=9; else size=2 download=1 needed=3; fi
if usable; then
    echo "Updating .venv: settings.ini or constraints.txt has changed."
else
    python=$(find_python)
    echo "Installing into .venv with $("$python" --version), once: about $download GB to download and $size GB on the disk" \
        "(torch and its libraries are most of it), 2 to 10 minutes."
    "$python" -m venv --clear .venv || fail "$python could not make a virtual environment in .venv"
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free" -ge "$needed" ] || fail "the installation needs about $needed GB of free disk and there is $free GB here:" \
        "make room and run this again"
fi
[ -t 1 ] && quiet= || quiet=-q  # bars are for people
.venv/bin/python -m pip install $quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' </dev/null ||
    fail "the installation did not end well (see above): run the same command again to repeat it"
.venv/bin/python -c 'import torch, torchvision' || fail "torch and torchvision were installed but do not load (see above)"
rm -f .venv/ready-*
identity .venv/bin/python >"$(stamp)"
