"""`make update-branch`: takes the newest release of the template in, on a branch of its own, for people to look at.

The last line of standard output is the branch's name; without one there is nothing to do. Nothing is pushed,
and the branch that was checked out stays as it was.
"""

import json
import os
import subprocess
import sys

LINK = ".cruft.json"
DONE, DECIDE = 0, 2  # how an update ends; anything else has failed


def git(*words: str) -> str:
    """What git answers. Ends this if it fails."""
    done = subprocess.run(["git", *words], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"`git {words[0]}` ended with {done.returncode}.")
    return done.stdout.decode("utf-8", "replace").strip()


def release() -> tuple[str, str]:
    """The release that the project is at now, and its commit."""
    with open(LINK, encoding="utf-8") as file:
        link = json.load(file)
    return str(link.get("checkout") or link["commit"][:10]), str(link["commit"])


def exists(branch: str) -> bool:
    """Whether there is such a branch, here or on a server as far as it was fetched."""
    names = git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/remotes").splitlines()
    return any(name == branch or name.partition("/")[2] == branch for name in names)


def main() -> None:
    """Update, commit to the branch, and go back."""
    before = release()
    here = git("rev-parse", "--abbrev-ref", "HEAD")
    start = git("rev-parse", "HEAD")
    script = os.path.join(os.path.dirname(__file__), "update.py")
    done = subprocess.run([sys.executable, "-I", script, "update"], stdout=subprocess.PIPE, check=False)
    said = done.stdout.decode("utf-8", "replace")
    print(said, file=sys.stderr)
    if done.returncode not in (DONE, DECIDE):
        sys.exit(done.returncode)
    name, commit = release()
    if commit == before[1]:
        return
    branch = f"template/{name}"
    if exists(branch):
        git("reset", "--quiet", "--hard", start)
        print(f"The branch {branch} is there already.", file=sys.stderr)
        return
    undecided = done.returncode == DECIDE
    title = f"Take in {name} of the template" + ", where something is left to decide" * undecided
    # What is told of next steps is for who ran it by hand.
    told = said.partition("\nNext:")[0].rstrip()
    git("add", "--all", "--", ".")  # with the marks of conflicts: `make lint` tells of them
    git("checkout", "--quiet", "-b", branch)
    git("commit", "--quiet", "--no-verify", "--cleanup=verbatim", f"--message={title}", f"--message={told}")
    git("checkout", "--quiet", start if here == "HEAD" else here)
    print(branch)


if __name__ == "__main__":
    main()
