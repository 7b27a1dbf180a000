#!/bin/sh
# Writes .tools/uv, which is uv with the Python that this project gets on this machine.
#
# uv is the machine's own; where there is none, it is put into .tools, for this project alone. The Python is that of
# .python-version, which uv fetches where it may; otherwise the newest one here that pyproject.toml allows, and one
# line says so. Exit code 1 when there is none, or no uv.
set -eu

fetch_uv() {
    echo "Fetching uv into .tools"
    here=$(pwd)
    # From another folder, since pyenv's python3 obeys .python-version.
    (cd / && python3 -m venv "$here/.tools") || {
        echo "Python's venv module is missing: install it (Debian: apt install python3-venv), or install uv." >&2
        exit 1
    }
    .tools/bin/python -m pip install --quiet --disable-pip-version-check uv
}

# Sets `python` to what takes the place of the Python that is wanted; to nothing where uv has that one.
choose_python() {
    python=
    if [ -n "${UV_PYTHON:-}" ] || "$uv" python find --system >/dev/null 2>&1; then return; fi
    printf 'Python %s is not here. ' "$wanted"
    if said=$("$uv" run --no-project --isolated python --version 2>&1); then
        echo "uv has fetched it."
        return
    fi
    allowed=$(sed -n 's/^requires-python = "\(.*\)".*/\1/p' pyproject.toml)
    # Newest first. Not the previews, and not those without a global lock, which have a `+` there.
    python=$("$uv" python list --only-installed "$allowed" 2>/dev/null |
        sed -n 's/^cpython-\([0-9]*\.[0-9]*\)\.[0-9]*-.*/\1/p' | head -n 1)
    if [ -z "$python" ]; then
        echo "No other one will do (allowed is $allowed), and uv does not fetch it:"
        printf '%s\n' "$said" "Install it, for example by: $uv python install $wanted" >&2
        exit 1
    fi
    echo "Python $python takes its place, the newest one here that will do."
}

mkdir -p .tools
wanted=$(cat .python-version)
uv=uv
# Asked here, since pyenv may have put a uv in the way that is of another version's Python.
if ! uv --version >/dev/null 2>&1; then
    uv=.tools/bin/uv
    [ -x $uv ] || fetch_uv
fi
choose_python
{
    echo '#!/bin/sh'
    if [ -n "$python" ]; then echo "export UV_PYTHON=\"\${UV_PYTHON:-$python}\""; fi
    if [ "$uv" = uv ]; then echo 'exec uv "$@"'; else echo 'exec "${0%/*}/bin/uv" "$@"'; fi
} >.tools/uv
chmod +x .tools/uv
