"""`make update` and `make switch`: fetches the template, and runs the tool of the release to be taken in."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile

# What Python is told here is not for the tool; of what git is told, only how it gets to a server.
ODD = "PYTHON|GIT_(?!SSH|SSL|HTTP|PROXY|ASKPASS|CONFIG|TERMINAL|EXEC_PATH|TRACE|CURL|ALLOW|PROTO)"
HERE = {name: value for name, value in os.environ.items() if not re.match(ODD, name)}
HOSTS = {"gh": "github.com", "gl": "gitlab.com", "bb": "bitbucket.org"}
MOVED = 'If it has moved, correct "template" in .cruft.json and commit that.'
UNLINKED = """This project is not linked to a template: there is no .cruft.json here. To link it, give the
address of the template's git repository, and the answers that the project was made with:
    .tools/uv tool run --from cruft==2.16.0 cruft link ADDRESS --checkout vVERSION
VERSION is in pyproject.toml, under [tool.xcom-template]. Then commit .cruft.json."""


def git(*words: str) -> str:
    """What git says; nothing when it fails, which it tells itself."""
    calm = ("git", "-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false")
    done = subprocess.run([*calm, *words], env=HERE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def find(clone: str, name: str) -> tuple[str, str]:
    """A name in the template, and its commit: a release (without a name, the newest), a branch, a commit."""
    # Of a fork, its own releases: those of the template that it merged are not on its own line.
    line = ("log", "--first-parent", "--decorate=full", "--decorate-refs=refs/tags/*", "--format=%D", "HEAD")
    release = re.compile(r"^refs/tags/v(\d+(?:\.\d+){2,3})$", re.MULTILINE)
    said = re.sub("tag: |, ", "\n", git("-C", clone, *line))
    tags = release.findall(said) or release.findall(git("-C", clone, "for-each-ref", "--format=%(refname)"))
    releases = ["v" + tag for tag in sorted(tags, key=lambda tag: [*map(int, tag.split("."))])]
    if not (name or releases):
        print("The template has no release yet: taking the head of its default branch.", flush=True)
    name = name or (releases or ["HEAD"])[-1]
    for ref in (f"tags/{name}", f"tags/v{name}", f"remotes/origin/{name}", name):
        wanted = ("" if ref == name else "refs/") + ref + "^{commit}"
        if commit := git("-C", clone, "rev-parse", "--quiet", "--verify", "--end-of-options", wanted):
            return name[:10] if name == commit else name, commit
    sys.exit(
        f"{name} is no release, branch or commit of the template. Releases: {', '.join(releases) or 'none'}."
    )


def main(command: str = "update", *options: str) -> int:
    """Say which commit is about to run, and run its tools/update.py here. Returns how that ended."""
    if command == "answers" or (command == "switch" and all(word.startswith("-") for word in options)):
        runpy.run_path(os.path.join(os.path.dirname(__file__), "answers.py"), run_name="__main__")
        return 0
    try:
        with open(".cruft.json", encoding="utf-8") as file:
            link = json.load(file)
        given, former = str(link["template"]), str(link["commit"])
        tool = os.path.normpath(f"{link.get('directory') or '.'}/tools/update.py")
    except FileNotFoundError:
        sys.exit(UNLINKED)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f".cruft.json cannot be read ({error!r}). Take it from an earlier commit.")
    host, _, path = given.partition(":")
    version = re.search(r"^--version[=\n](.*)", "\n".join(options), re.MULTILINE)
    print("Fetching the template:", given, flush=True)
    with tempfile.TemporaryDirectory(prefix="template-") as folder:
        address = f"https://{HOSTS[host]}/{path}.git" if host in HOSTS else given
        git("clone", "--quiet", "--no-checkout", "--", address, folder)
        if not os.path.isdir(folder + "/.git"):
            sys.exit(f"The template cannot be fetched from {given}. {MOVED}")
        name, commit = find(folder, former if command == "switch" else version[1] if version else "")
        if not git("-C", folder, "ls-tree", "--name-only", commit, tool):
            sys.exit(f"{name} of the template is from before its tools/update.py: take a newer one.")
        print(f"Running tools/update.py of {name}: commit {commit} of {given}", flush=True)
        git("-C", folder, "checkout", "--quiet", "--detach", commit)
        signal.signal(signal.SIGINT, lambda *_: None)  # the tool gets it too, tidies up and ends with 130
        run = [HERE.get("UV") or "uv", "run", "--no-project", "--script", f"{folder}/{tool}", command]
        return subprocess.run([*run, *options], env=HERE, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        sys.exit(f"{error.filename or 'Updating'}: {error.strerror}.")
    except KeyboardInterrupt:
        sys.exit(130)
