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
    (cd / && python3 -c "") || {
        echo "python3 does not run here (pyenv: pyenv global VERSION): install Python $wanted, or install uv." >&2
        exit 1
    }
    (cd / && python3 -m venv "$here/.tools") || {
        echo "Python's venv module is missing: install it (Debian: apt install python3-venv), or install uv." >&2
        exit 1
    }
    .tools/bin/python -m pip install --quiet --disable-pip-version-check uv || {
        echo "uv could not be fetched. Where a proxy stands between, name its certificate, for pip and for uv:" >&2
        echo "export SSL_CERT_FILE=/path/to/ca.pem PIP_CERT=/path/to/ca.pem; or UV_SYSTEM_CERTS=1, if this system knows it." >&2
        exit 1
    }
}

# Refuses a UV_PYTHON that this project can't use: uv would say so with each command, and not whose wish it was.
check_named() {
    found=$("$uv" run --no-project --isolated python -c 'import sys; print(sys.version_info[1])' 2>/dev/null) || found=
    least=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\).*/\1/p' pyproject.toml)
    beyond=$(sed -n 's/^requires-python = ".*<3\.\([0-9]*\)".*/\1/p' pyproject.toml)
    if [ -n "$found" ] && [ "$found" -ge "${least:-0}" ] && [ "$found" -lt "${beyond:-999}" ]; then return; fi
    echo "UV_PYTHON=$UV_PYTHON is set in this shell, which is ${found:+Python 3.}${found:-not here}. This project takes $allowed:" >&2
    echo "unset UV_PYTHON, or let it name one of these." >&2
    exit 1
}

# Sets `python` to what takes the place of the Python that is wanted; to nothing where uv has that one.
choose_python() {
    python=
    allowed=$(sed -n 's/^requires-python = "\(.*\)".*/\1/p' pyproject.toml)
    if [ -n "${UV_PYTHON:-}" ]; then
        check_named
        return
    fi
    if "$uv" python find --system >/dev/null 2>&1; then return; fi
    printf 'Python %s is not here. ' "$wanted"
    if said=$("$uv" run --no-project --isolated python --version 2>&1); then
        said=$(printf '%s\n' "$said" | tail -n 1)
        case $said in
            "Python $wanted" | "Python $wanted".*) echo "uv has fetched it." ;;
            *) echo "uv takes $said in its place." ;;
        esac
        return
    fi
    # Newest first. Not the previews, and not those without a global lock, which have a `+` there.
    python=$("$uv" python list --only-installed "$allowed" 2>/dev/null |
        sed -n 's/^cpython-\([0-9]*\.[0-9]*\)\.[0-9]*-.*/\1/p' | head -n 1)
    if [ -z "$python" ]; then
        echo "No other one will do (allowed is $allowed), and uv does not fetch it:"
        printf '%s\n' "$said" "Install it, for example by: $uv python install $wanted" >&2
        if command -v pyenv >/dev/null; then echo "or by: pyenv install $wanted" >&2; fi
        exit 1
    fi
    echo "Python $python takes its place, the newest one here that will do."
}

mkdir -p .tools
wanted=$(sed -n '/^[^#]/{p;q;}' .python-version)
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
