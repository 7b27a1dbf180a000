"""`make update` and `make switch`: fetches the template, and runs the tool of the release to be taken in."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile

HOSTS = {"gh": "github.com", "gl": "gitlab.com", "bb": "bitbucket.org"}
UNREADABLE = """Take it from an earlier commit. A project that never had one is linked by
    uvx cruft link ADDRESS-OF-THE-TEMPLATE --checkout vVERSION
and the answers it was made with (VERSION is in pyproject.toml, [tool.xcom-template]). Commit .cruft.json."""


def git(*words: str) -> str:
    """What git says, in no repository that a git hook names; nothing when it fails, which it tells itself."""
    env = {name: os.environ[name] for name in os.environ if not re.match("GIT_(DIR|WORK|IND|COM|OBJ)", name)}
    calm = ("git", "-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false")
    done = subprocess.run(
        [*calm, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
    )
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def find(clone: str, name: str) -> tuple[str, str]:
    """A name in the template, and its commit: a release (without a name, the newest), a branch, a commit."""
    tags = re.findall(r"^v(\d+)\.(\d+)\.(\d+)$", git("-C", clone, "tag"), re.MULTILINE)
    releases = ["v" + ".".join(tag) for tag in sorted(tags, key=lambda tag: [*map(int, tag)])]
    name = name or (releases or ["HEAD"])[-1]
    for ref in (f"tags/{name}", f"tags/v{name}", f"remotes/origin/{name}", name):
        wanted = ("" if ref == name else "refs/") + ref + "^{commit}"
        if commit := git("-C", clone, "rev-parse", "--quiet", "--verify", "--end-of-options", wanted):
            return name, commit
    sys.exit(
        f"{name} is no release, branch or commit of the template. Releases: {', '.join(releases) or 'none'}."
    )


def main(command: str = "update", *options: str) -> int:
    """Say which commit is about to run, and run its tools/update.py here. Returns how that ended."""
    try:
        with open(".cruft.json", encoding="utf-8") as file:
            link = json.load(file)
        given, former, tool = (
            link["template"],
            link["commit"],
            (link.get("directory") or ".") + "/tools/update.py",
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f".cruft.json cannot be read ({error}). {UNREADABLE}")
    host, _, path = given.partition(":")
    version = re.search(r"^--version[=\n](.*)", "\n".join(options), re.MULTILINE)
    print("Fetching the template:", given, flush=True)
    with tempfile.TemporaryDirectory(prefix="template-") as folder:
        address = f"https://{HOSTS[host]}/{path}.git" if host in HOSTS else given
        git("clone", "--quiet", "--no-checkout", "--", address, folder)
        if not os.path.isdir(folder + "/.git"):
            sys.exit(f"{given} cannot be fetched. If it has moved, correct and commit .cruft.json.")
        name, commit = find(folder, former if command == "switch" else version[1] if version else "")
        if not git("-C", folder, "ls-tree", "--name-only", commit, tool):
            sys.exit(f"{name} of the template is from before its tools/update.py: take a newer one.")
        print(f"Running tools/update.py of {name}: commit {commit} of {given}", flush=True)
        git("-C", folder, "checkout", "--quiet", "--detach", commit)
        signal.signal(signal.SIGINT, lambda *_: None)  # the tool gets it too, tidies up and ends with 130
        uv = os.environ.get("UV") or "uv"
        return subprocess.run(
            [uv, "run", "--no-project", "--script", f"{folder}/{tool}", command, *options]
        ).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        sys.exit(f"{error.filename or 'Updating'}: {error.strerror}.")
    except KeyboardInterrupt:
        sys.exit(130)
