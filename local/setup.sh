#!/bin/sh
# Makes the Python environment .venv from requirements.txt, and makes it anew when that changed.
# Everything else that the local stack needs is set up by the Python code in this folder.
set -eu
cd "$(dirname "$0")/.."

environment=.venv
stamp=$environment/requirements.cksum
wanted=$(cksum <requirements.txt)

fail() {
    echo "error: $1" >&2
    exit 1
}

# A Python that has what environments are made with, which Debian keeps in packages of their own.
find_python() {
    for python in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
        if "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
        then
            echo "$python"
            return
        fi
    done
}

install_python() {
    how="install Python 3.11 or newer with venv (on Debian: sudo apt-get install python3-venv)"
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || fail "Python is missing; $how."
    echo "Installing python3-venv with apt …"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends python3 python3-venv ca-certificates; } >/dev/null ||
        fail "apt-get can't install python3-venv; $how."
}

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$environment/bin/python" -c '' 2>/dev/null
then
    exit 0
fi

python=$(find_python)
if [ -z "$python" ]; then
    install_python
    python=$(find_python)
    [ -n "$python" ] || fail "This system's Python is older than 3.11; install a newer one and set PYTHON to its command."
fi

start=$(date +%s)
echo "Installing the Python packages of requirements.txt into $environment, about a minute …"
rm -f "$stamp"
"$environment/bin/python" -c '' 2>/dev/null || rm -rf "$environment"
[ -d "$environment" ] || "$python" -m venv "$environment" || fail "$python can't make $environment."
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement requirements.txt || fail "pip can't install requirements.txt; see above."
echo "$wanted" >"$stamp"
echo "Installed the Python packages ($(($(date +%s) - start)) s)."
