"""Finishes a new project: removes what does not belong to it, and links it to its template.

Runs twice on every `cruft update`, so it asks nothing of network, clock or chance, and writes nothing else.
"""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

# The answers, in their order, as JSON inside a string literal: nothing in an answer can end it.
ANSWERS = dict(json.loads({{cookiecutter.items() | list | tojson | tojson}}))

# Folders that hold only files of conditional name, inner ones first. Others may be empty on purpose.
CONDITIONAL_FOLDERS = (".github/workflows", ".github", "deploy/helm", "deploy")

# What of the template decides about a project, for git.
STATUS = ("status", "--porcelain", "--untracked-files=all", "--no-renames", "-z")
RENDERED = ("cookiecutter.json", "hooks", ":(glob)*cookiecutter.*/**")

# What only cookiecutter knows, and cruft does not keep.
COOKIECUTTER_ONLY = ("_template", "_commit", "_output_dir", "_repo_dir", "_checkout")


# The example pipelines but the first, where each and its test lie, and what they read. By name: whoever bakes
# over a project has pipelines and data of their own.
EXAMPLES = (
    "meter_readings",
    "orders",
    "pictures",
    "price_list",
    "sensor_archive",
    "shared_report",
    "time_zones",
    "web_logs",
)
PLACES = (("dags", ""), ("tests", "test_"))
EXAMPLE_DATA = (
    "iso3166.tab",
    "meter_readings.csv",
    "pictures",
    "price_list.csv",
    "shop.db",
    "web_requests.jsonl.gz",
    "zone.tab",
)

# What Python and tools leave in packages/ of a clone that somebody works in: it is copied as it lies.
LEFTOVERS = (
    ".DS_Store",
    ".coverage",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "build",
    "dist",
    "uv.lock",
)
ENDINGS = (".egg-info", ".pyc")


class NotLinkableError(Exception):
    """The template is nothing that `cruft update` could fetch again."""


def remove_examples():
    """Remove the pipelines that were not asked for, with tests and data, as `make start-clean` does."""
    if ANSWERS["examples"] == "all":
        return
    names = EXAMPLES if ANSWERS["examples"] == "one" else ("first_pipeline", *EXAMPLES)
    unwanted = [Path(folder, start + name + ".py") for name in names for folder, start in PLACES]
    for path in unwanted + [Path("data", name) for name in EXAMPLE_DATA]:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():  # not that of a backend that was not chosen
            path.unlink()


def remove_engine():
    """Leave of an engine that comes from an index its documentation, to which the project's README leads."""
    if ANSWERS["engine"] == "installed":
        for path in Path("packages/exclusive-xcom").iterdir():
            if path.is_dir() and path.name != "docs":
                shutil.rmtree(path)
            elif path.is_file() and path.suffix != ".md":
                path.unlink()


def remove_empty_folders():
    """Remove what is left of a folder when the answers dropped all its files."""
    for folder in map(Path, CONDITIONAL_FOLDERS):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def remove_leftovers():
    """Remove from packages/ what is no file of the template."""
    for path in sorted(Path("packages").rglob("*")):
        if path.name in LEFTOVERS or path.name.endswith(ENDINGS):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.is_symlink() or path.exists():  # not yet gone with its folder
                path.unlink()


def git(folder, *arguments):
    """What git says of a folder, as text. Raises NotLinkableError when it refuses or is not there."""
    # A git hook that calls cookiecutter sets such, and they name its own repository.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "CONFIG" in name
    }
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise NotLinkableError("git cannot be run: " + str(error)) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise NotLinkableError("git says: " + said.replace("fatal: ", "", 1).rstrip("."))
    return done.stdout.strip()


def template_folder():
    """The folder that cookiecutter renders from, as an absolute path.

    A relative one counts from where cookiecutter was started. It has moved since, into that very folder, as
    Linux shows; the shell's own $PWD still tells where it was.
    """
    given = Path(ANSWERS["_repo_dir"])
    if given.is_absolute():
        return given
    moved_to = Path("/proc", str(os.getppid()), "cwd")
    started_in = Path(os.environ.get("PWD", ""), given)
    for candidate in (moved_to, started_in):
        if candidate.is_absolute() and (candidate / "cookiecutter.json").is_file():
            return Path(os.path.realpath(candidate))
    raise NotLinkableError("its relative path " + str(given) + " cannot be followed; give the absolute one")


def is_a_change(line):
    """True for what git's status lists, but for what is removed from the project anyway."""
    parts = line[3:].split("/")
    left = line.startswith("??") and any(part in LEFTOVERS or part.endswith(ENDINGS) for part in parts)
    return bool(line) and not left


def is_own_folder():
    """True for a template in a folder of the user's, and not in a clone that cookiecutter made."""
    given = ANSWERS["_template"].rstrip("/")
    return ANSWERS["_repo_dir"].rstrip("/") == given or ANSWERS["_repo_dir"].startswith(given + "/")


def without_password(address):
    """The address without a user name and password: .cruft.json is committed."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return address


def link():
    """What `cruft create` writes into .cruft.json for the same template, commit and answers.

    Raises NotLinkableError when the template is a zip file or a folder that git does not keep.
    """
    folder = template_folder()
    # Asks for a file, since a folder that git does not keep may lie inside somebody else's repository.
    git(folder, "cat-file", "-e", "HEAD:./cookiecutter.json")
    commit = git(folder, "rev-parse", "HEAD")
    inside = git(folder, "rev-parse", "--show-prefix").rstrip("/")
    if is_own_folder():  # rendered as it lies there
        if any(map(is_a_change, git(folder, *STATUS, "--", *RENDERED).split("\0"))):
            raise NotLinkableError(
                "the template in "
                + str(folder)
                + " has changes that are not committed, so no commit of it is this "
                "project. Commit them there and make the project again"
            )
        address = git(folder, "rev-parse", "--show-toplevel") if inside else str(folder)
        checkout = None
    else:  # cookiecutter's own clone
        address = without_password(git(folder, "config", "--get", "remote.origin.url"))
        local = urlsplit(address).path
        if address.startswith("file:") and Path(local).exists():  # as cruft spells it
            address = local
        checkout = ANSWERS["_checkout"]
    context = {name: value for name, value in ANSWERS.items() if name not in COOKIECUTTER_ONLY}
    context.update(_template=address, _commit=commit)
    return {
        "template": address,
        "commit": commit,
        "checkout": checkout,
        "context": {"cookiecutter": context},
        "directory": inside or None,
    }


def say(*lines):
    """Show lines to whoever runs cookiecutter. Nobody need read them (`| head`): that undoes no project."""
    with contextlib.suppress(OSError):
        os.write(1, "".join(line + "\n" for line in lines).encode("utf-8", "backslashreplace"))


def main():
    """Tidy the folder; with plain cookiecutter, also link it and say what comes next."""
    remove_examples()
    remove_empty_folders()
    remove_leftovers()
    remove_engine()
    if "_commit" in ANSWERS:  # cruft renders: it keeps .cruft.json itself, and an update wants no talk
        return
    here = str(Path.cwd())
    say("", "The project is in " + here)
    try:
        linked = link()
        text = json.dumps(linked, ensure_ascii=False, indent=2, separators=(",", ": ")) + "\n"
    except NotLinkableError as reason:
        say(
            "It is not linked to its template, so `make update` will not work: " + str(reason) + ".",
            "To link it later, run in it: make install",
            "                             .tools/uv tool run cruft link ADDRESS-OF-THE-TEMPLATE",
        )
    else:
        Path(".cruft.json").write_bytes(text.encode("utf-8"))
        if Path(linked["template"]).is_absolute():
            say(
                "`make update` will look for the template in "
                + linked["template"]
                + ", on this machine alone.",
                'For others, write the address of its git repository into "template" in .cruft.json.',
            )
    first = "make run      installs it, runs every example once, shows what was handed over"
    if ANSWERS["examples"] == "none":
        first = "make new DAG=shipments      installs it, writes a first pipeline, its Variables, its test"
    say("", "Next:  cd " + here, "       " + first, "       make help     the other commands")


if __name__ == "__main__":
    main()
