"""What is not finished: an update that was killed, conflicts that are open, a merge of the person's own."""

from __future__ import annotations

import fcntl
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from projects import BakedProject, Files
from updates import FIRST, PLAN, SECOND, THIRD, copy_of, edit, link, quick_uv, switch, tree, update

pytestmark = pytest.mark.update

NOTE = ".git/template-update"

# Stands before the real git, counts its calls, and kills all that takes part in an update after one of them.
# Two calls may be made at once: a folder is made by one of them alone.
GIT = """#!/bin/sh
number=$(ls -d "$RECORD"/call-* 2>/dev/null | wc -l)
while number=$((number + 1)) && ! mkdir "$RECORD/call-$number" 2>/dev/null; do :; done
echo "$PWD: $*" >> "$RECORD/calls"
{git} "$@"
code=$?
if [ "$number" = "$KILL" ]; then kill -9 0; fi
exit $code
"""
# What changes a project, or is the last or first call of a step.
TOUCHING = re.compile(
    r": (?!-C)(?!clone).*\b(cherry-pick|checkout|rm|add|reset|commit-tree|status|hash-object)\b"
)


@dataclass
class Killed:
    """Runs updates of a project, each killed after another call of git."""

    folder: Path
    project: BakedProject

    def __post_init__(self) -> None:
        path = self.folder / "bin/git"
        path.parent.mkdir(parents=True)
        path.write_text(GIT.replace("{git}", str(shutil.which("git"))), encoding="utf-8")
        path.chmod(0o755)

    def run(self, project: BakedProject, after: int) -> tuple[int, list[str]]:
        """Update a project, killed after so many calls of git (0: not). Returns the end and the calls."""
        record = self.folder / f"record-{after}"
        record.mkdir()
        machine = project.machine
        more = {"UV": str(quick_uv(machine)), "RECORD": str(record), "KILL": str(after)}
        path = f"{self.folder / 'bin'}:{machine.environment()['PATH']}"
        done = subprocess.run(
            [sys.executable, "-I", "packages/update.py", "update"],
            cwd=project.path,
            env=machine.environment(PATH=path, TMPDIR=str(self.folder), **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            start_new_session=True,
        )
        return done.returncode, (record / "calls").read_text(encoding="utf-8").splitlines()


def plain(files: Files) -> Files:
    """The same without the names of commits in marks of conflicts: they hold the time."""
    return {name: re.sub(rb"(?m)^>>>>>>> \w+", b">>>>>>>", content) for name, content in files.items()}


@pytest.fixture
def edited(small: BakedProject) -> BakedProject:
    """A project whose update gives a conflict, a left-over, a patch, and changes beside edits."""
    edit(small.path, "handbook/plan.txt", PLAN[9], "10. Do it my way\n")
    edit(small.path, "handbook/dropped.txt", PLAN[30], "31. Mine\n")
    small.git("mv", "handbook/old name é.txt", "mine.txt")
    (small.path / "packages/mine.py").write_text("MINE = 1\n", encoding="utf-8")
    small.commit("Edited")
    return small


def killed_at(killed: Killed, number: int, expected: Files) -> None:
    """Kill an update after one call of git, update again, and see that it came to the same result."""
    project = copy_of(killed.project, killed.folder / str(number) / killed.project.path.name)
    end, calls = killed.run(project, number)
    assert end == -signal.SIGKILL, f"{number} of {len(calls)}: {calls[-1]}"
    # When all was done but the telling, the second run names what is open.
    said = update(project, code=2 if noted(project) or untouched(project) else 1)
    told = calls[-1] + "\n" + said
    assert plain(tree(project.path)) == expected, told
    assert len(project.git("worktree", "list").splitlines()) == 1
    (patch,) = project.path.parent.glob("*.patch")
    assert b"+MINE = 1" in patch.read_bytes(), told
    shutil.rmtree(project.path.parent)


def noted(project: BakedProject) -> bool:
    """True while the project's repository has the note that an update touches it."""
    return (project.path / NOTE).exists()


def untouched(project: BakedProject) -> bool:
    """True while nothing was done."""
    return project.git("status", "--porcelain") == ""


@pytest.fixture
def killed(edited: BakedProject, tmp_path: Path) -> Killed:
    """The same, with what kills its updates."""
    return Killed(tmp_path / "killed", edited)


def unkilled(killed: Killed) -> tuple[list[str], Files]:
    """Each call of git that an update makes, and what comes of it."""
    project = copy_of(killed.project, killed.folder / "0" / killed.project.path.name)
    end, calls = killed.run(project, 0)
    assert end == 2
    return calls, plain(tree(project.path))


@pytest.mark.slow
def test_a_killed_update_comes_to_the_same_result_when_it_is_run_again(killed: Killed) -> None:
    """Killed after some of the calls of git that touch the project; after each, in the slow test below."""
    calls, expected = unkilled(killed)
    touching = [number for number, call in enumerate(calls, 1) if TOUCHING.search(call)]
    assert len(touching) > 8
    for number in touching[::4]:
        killed_at(killed, number, expected)


@pytest.mark.slow
def test_a_killed_update_at_every_call_of_git(killed: Killed) -> None:
    calls, expected = unkilled(killed)
    for number in range(1, len(calls) + 1):
        killed_at(killed, number, expected)


def cut_short(project: BakedProject) -> None:
    """Leave a project as a killed update leaves it."""
    (project.path / "handbook/added.txt").write_text("Half of it", encoding="utf-8")
    edit(project.path, "handbook/plan.txt", PLAN[9], "10. Do it now\n")
    (project.path / NOTE).write_text(project.git("rev-parse", "HEAD"), encoding="utf-8")


def test_what_was_written_since_is_not_lost(small: BakedProject) -> None:
    """Nobody can tell it from what the killed update wrote: it is all in a stash."""
    cut_short(small)
    (small.path / "since.txt").write_text("Written since\n", encoding="utf-8")
    said = update(small)
    assert "The last update was cut short. What it had done is taken back, and kept: `git stash list`" in said
    assert "Written since" in small.git("stash", "show", "--patch", "--include-untracked")
    assert not (small.path / "since.txt").exists()
    assert link(small)["checkout"] == THIRD
    assert not (small.path / NOTE).exists()


def test_a_lock_of_a_killed_git_is_named(small: BakedProject) -> None:
    cut_short(small)
    (small.path / ".git/index.lock").touch()
    said = update(small, code=1)
    assert f"Delete {small.path / '.git/index.lock'}, and run this again" in said
    (small.path / ".git/index.lock").unlink()
    update(small)


def test_an_update_that_is_at_work_is_left_alone(small: BakedProject) -> None:
    with (small.path / NOTE).open("w", encoding="utf-8") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        assert "Another update is at work here" in update(small, code=1)


def test_the_work_tree_of_a_killed_dry_run_goes(small: BakedProject, tmp_path: Path) -> None:
    (small.path / ".git/dry-run-of-the-template.lock").touch()
    left = tmp_path / "dry-run-of-the-template"
    small.git("worktree", "add", "--quiet", "--detach", str(left), "HEAD")
    small.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "mine"), "HEAD")
    update(small, "--dry-run")
    assert len(small.git("worktree", "list").splitlines()) == 2
    assert (tmp_path / "mine/handbook").is_dir()


def test_open_conflicts_are_named(edited: BakedProject) -> None:
    update(edited, code=2)
    before = tree(edited.path)
    for ask in (update, switch):
        said = ask(edited, *([] if ask is update else ["s3"]), code=1)
        assert "still open from the last merge" in said
        assert ":\n    handbook/dropped.txt\n    handbook/plan.txt\nPut each right" in said
    edited.git("add", "--all")
    said = update(edited, code=1)
    assert "merged, but not committed yet" in said
    assert "Marks of conflicts are still in:\n    handbook/plan.txt" in said
    assert tree(edited.path) == before
    edited.commit("Updated")
    assert "Nothing to do" in update(edited)


@pytest.mark.parametrize("what", ["merge", "rebase", "cherry-pick", "revert"])
@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["update", "dry run"])
def test_what_is_in_progress_with_a_clean_tree_is_refused(
    what: str, options: list[str], small: BakedProject
) -> None:
    small.git("checkout", "--quiet", "-b", "other")
    small.git("commit", "--quiet", "--allow-empty", "--message", "Other")
    (small.path / "file.txt").write_text("1\n", encoding="utf-8")
    small.commit("A file")
    if what == "merge":
        small.git("checkout", "--quiet", "main")
        small.git("commit", "--quiet", "--allow-empty", "--message", "Main")
        small.git("merge", "--quiet", "--no-commit", "--strategy=ours", "other")
    elif what == "rebase":
        small.run("git", "rebase", "--quiet", "--interactive", "HEAD~1", GIT_SEQUENCE_EDITOR="echo break >>")
    else:
        (small.path / "file.txt").write_text("2\n", encoding="utf-8")
        small.commit("Another file")
        small.run("git", what, "HEAD~1", check=False)  # a conflict
        small.git("checkout", "HEAD", "--", "file.txt")
    assert small.git("status", "--porcelain") == ""
    said = update(small, *options, code=1)
    assert f"A `git {what}` is in progress here" in said
    assert f"`git {what} --abort`" in said
    small.git(what, "--abort")
    update(small, *options)


@pytest.mark.parametrize("what", ["cherry-pick", "revert", "am"])
def test_several_of_which_one_was_committed_by_hand(what: str, small: BakedProject) -> None:
    for number in range(3):
        (small.path / "file.txt").write_text(f"{number}\n", encoding="utf-8")
        small.commit(f"Number {number}")
    if what == "am":
        small.git("format-patch", "--quiet", "-1", "--output-directory", ".git/patches", "HEAD~1")
        small.run("git", "am", ".git/patches/0001-Number-1.patch", check=False)  # it does not apply
    else:
        small.run("git", what, "HEAD~2", "HEAD~1", check=False)  # a conflict
        small.commit("Put right")
    assert small.git("status", "--porcelain") == ""
    said = update(small, code=1)
    assert f"A `git {what}` is in progress here" in said
    assert f"`git {what} --abort`" in said
    small.git(what, "--quit")
    update(small)


def test_what_fails_after_the_merge_is_taken_back(small: BakedProject, tmp_path: Path) -> None:
    """As where a folder in packages/ cannot be written: here a filter fails, once."""
    once = tmp_path / "once"
    once.write_text(f'#!/bin/sh\n[ -e "{once}.done" ] && exec cat\n: >"{once}.done"\nexit 1\n')
    once.chmod(0o755)
    (small.path / ".git/info").mkdir(exist_ok=True)
    (small.path / ".git/info/attributes").write_text("packages/** filter=once\n", encoding="utf-8")
    small.git("config", "filter.once.smudge", str(once))
    small.git("config", "filter.once.clean", "cat")
    small.git("config", "filter.once.required", "true")
    edit(small.path, "packages/update.py", "import json\n", "import json  # mine\n")
    small.commit("Edited")
    before = tree(small.path)
    assert "`git checkout` failed" in update(small, code=1)
    assert small.git("status", "--porcelain") == ""
    assert tree(small.path) == before
    update(small)
    assert "import json  # mine" not in small.read("packages/update.py")


def test_odd_variables_of_git(small: BakedProject, tmp_path: Path) -> None:
    """A hook sets some, a person exports others: none is to lead elsewhere or to change an answer."""
    other = tmp_path / "other"
    other.mkdir()
    small.machine.git(other, "init", "--quiet")
    odd = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / "index"),
        "GIT_COMMON_DIR": str(other / ".git"),
        "GIT_OBJECT_DIRECTORY": str(other / "objects"),
        "GIT_NAMESPACE": "other",
        "GIT_PREFIX": "handbook/",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_ICASE_PATHSPECS": "1",
        "GIT_EXTERNAL_DIFF": "false",
        "GIT_DIFF_OPTS": "--unified=0",
        "GIT_SHALLOW_FILE": str(other / "shallow"),
        "GIT_MERGE_AUTOEDIT": "yes",
    }
    plain_one = copy_of(small, tmp_path / "plain" / small.path.name)
    update(small, **odd)
    update(plain_one)
    assert tree(small.path) == tree(plain_one.path)
    assert (
        small.run("git", "status", "--porcelain").stdout
        == plain_one.run("git", "status", "--porcelain").stdout
    )
    assert list(other.iterdir()) == [other / ".git"]


@pytest.mark.parametrize("version", ["HEAD~1", "@~1", "main~1", "v0.3.0^"])
def test_a_version_that_counts_back(version: str, small: BakedProject) -> None:
    """From the default branch's head; the project notes the release or the commit, not the word."""
    update(small, f"--version={version}")
    assert link(small)["checkout"] == SECOND
    assert link(small)["commit"] != FIRST
