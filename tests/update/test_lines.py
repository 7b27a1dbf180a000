"""The lines that every project keeps (packages/update.py), and any tool to come: tools/README.md."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from projects import TEMPLATE, UV, Machine
from updates import quick_uv

pytestmark = pytest.mark.update

LINES = TEMPLATE / "{{cookiecutter.project_slug}}/packages/update.py"

# A tool of some later release: what it prints is what it was given.
TOOL = '''"""A tool."""
# /// script
# requires-python = ">=3.11"
# ///
import argparse, json, os, sys
import sibling
parser = argparse.ArgumentParser()
parser.add_argument("command")
parser.add_argument("backend", nargs="?")
parser.add_argument("--version")
parser.add_argument("--dry-run", action="store_true")
parser.add_argument("--colour", help="an option that no project made so far has heard of")
parser.add_argument("--end", type=int, default=0)
asked = parser.parse_intermixed_args([word for word in sys.argv[1:] if word != "--"])
here = {"cwd": os.getcwd(), "uv": os.environ.get("UV"), "python": sys.version_info[:2]}
here["release"] = sibling.RELEASE
print(json.dumps(vars(asked) | here))
sys.exit(asked.end)
'''


@dataclass(frozen=True)
class Linked:
    """A project of nothing but its lines and a link, and the template that it is linked to."""

    path: Path
    template: Path
    machine: Machine

    def git(self, *arguments: str) -> str:
        """What git answers in the template."""
        return self.machine.git(self.template, *arguments)

    def release(self, tag: str, tool: str | None = TOOL) -> str:
        """Commit and tag a release of the template with this tool, or none."""
        tools = self.template / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "sibling.py").write_text(f"RELEASE = {tag!r}\n", encoding="utf-8")
        (tools / "update.py").unlink(missing_ok=True)
        if tool is not None:
            (tools / "update.py").write_text(tool, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", tag)
        self.git("tag", tag)
        return self.git("rev-parse", "HEAD")

    def link(self, commit: str, **more: str) -> None:
        """Write .cruft.json."""
        text = json.dumps({"template": str(self.template), "commit": commit, **more})
        (self.path / ".cruft.json").write_text(text, encoding="utf-8")

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the lines."""
        environment = {"UV": str(quick_uv(self.machine)), **environment}
        command = [sys.executable, "-I", "packages/update.py", *arguments]
        return self.machine.run(*command, cwd=self.path, check=False, **environment)

    def told(self, *arguments: str, code: int = 0, **environment: str) -> dict[str, Any]:
        """What the tool was given, and that the lines end as it did."""
        done = self.run(*arguments, **environment)
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


@pytest.fixture
def linked(machine: Machine, tmp_path: Path) -> Linked:
    """A template with three releases, of which the second is the project's; blanks in both paths."""
    template, project = tmp_path / "the template é", tmp_path / "my project é"
    template.mkdir()
    machine.git(template, "init", "--quiet", "--initial-branch=main")
    (project / "packages").mkdir(parents=True)
    (project / "packages/update.py").write_bytes(LINES.read_bytes())
    made = Linked(project, template, machine)
    made.release("v0.9.0", tool=None)
    made.link(made.release("v0.10.0"))
    made.release("v0.11.0")
    made.git("tag", "v1.0.0-rc1", "v0.9.0")
    return made


def test_the_newest_release_runs_and_is_named_before(linked: Linked) -> None:
    done = linked.run("update")
    fetching, running, said = done.stdout.splitlines()
    assert fetching == f"Fetching the template: {linked.template}"
    commit = linked.git("rev-parse", "v0.11.0")
    assert running == f"Running tools/update.py of v0.11.0: commit {commit} of {linked.template}"
    assert json.loads(said)["release"] == "v0.11.0"
    assert json.loads(said)["cwd"] == str(linked.path)


@pytest.mark.parametrize("name", ["v0.10.0", "0.10.0", "slow/branch", "COMMIT"])
@pytest.mark.parametrize("form", ["one word", "two words"])
def test_what_version_names_runs(name: str, form: str, linked: Linked) -> None:
    linked.git("branch", "slow/branch", "v0.10.0")
    name = linked.git("rev-parse", "v0.10.0") if name == "COMMIT" else name
    arguments = [f"--version={name}"] if form == "one word" else ["--version", name]
    told = linked.told("update", *arguments, "--dry-run")
    assert (told["release"], told["version"], told["dry_run"]) == ("v0.10.0", name, True)


def test_a_switch_runs_the_tool_of_the_projects_own_commit(linked: Linked) -> None:
    told = linked.told("switch", "--dry-run", "--", "s3")
    assert (told["release"], told["backend"], told["dry_run"]) == ("v0.10.0", "s3", True)


def test_without_a_release_the_default_branch_runs(linked: Linked) -> None:
    linked.git("tag", "--delete", "v0.9.0", "v0.10.0", "v0.11.0")
    done = linked.run("update")
    assert "no release yet: taking the head of its default branch" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["release"] == "v0.11.0"


def test_a_release_from_before_the_tool_is_refused_in_words(linked: Linked) -> None:
    done = linked.run("update", "--version=v0.9.0")
    assert (done.returncode, done.stderr) == (
        1,
        "v0.9.0 of the template is from before its tools/update.py: take a newer one.\n",
    )
    assert "Running" not in done.stdout


def test_an_option_that_these_lines_do_not_know_is_passed_on(linked: Linked) -> None:
    told = linked.told("update", "--colour=green is it", "--dry-run")
    assert told["colour"] == "green is it"


def test_another_command_is_passed_on(linked: Linked) -> None:
    assert linked.told("mend")["command"] == "mend"


@pytest.mark.parametrize("code", [0, 1, 2, 3, 130])
def test_the_exit_code_is_the_tools(code: int, linked: Linked) -> None:
    linked.told("update", f"--end={code}", code=code)


def test_a_template_in_a_folder_of_its_repository(linked: Linked) -> None:
    linked.git("mv", "tools", "moved")
    (linked.template / "airflow").mkdir()
    linked.git("mv", "moved", "airflow/tools")
    linked.git("commit", "--quiet", "--message", "Moved")
    linked.git("tag", "v0.12.0")
    linked.link(linked.git("rev-parse", "v0.12.0"), directory="airflow")
    assert linked.told("update", "--version=v0.12.0")["command"] == "update"


def test_real_uv_runs_it_whatever_python_is_first_here(linked: Linked, tmp_path: Path) -> None:
    """As make does it: no `python3` of this machine is asked, and no setting of Python's is followed."""
    (tmp_path / "bin").mkdir()
    for name in ("python", "python3"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\nexit 77\n", encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    (linked.path / "json.py").write_text("raise SystemExit(78)\n", encoding="utf-8")
    (linked.path / "pyproject.toml").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    path = f"{Path(sys.base_prefix) / 'bin'}:{linked.machine.environment()['PATH']}"
    command = [
        UV,
        "run",
        "--no-project",
        "--isolated",
        "--python",
        ">=3.11",
        "python",
        "-I",
        "packages/update.py",
    ]
    surprises = {"PYTHONPATH": str(linked.path), "PYTHONSAFEPATH": "", "VIRTUAL_ENV": str(tmp_path)}
    done = linked.machine.run(
        *command,
        "update",
        "--end=2",
        cwd=linked.path,
        check=False,
        PATH=f"{tmp_path / 'bin'}:{path}",
        **surprises,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert tuple(told["python"]) >= (3, 11)
    assert Path(told["uv"]).name == "uv"


def test_without_uv_or_git_it_says_so(linked: Linked, tmp_path: Path) -> None:
    done = linked.run("update", UV=str(tmp_path / "no uv"))
    assert (done.returncode, done.stderr) == (1, f"{tmp_path / 'no uv'}: No such file or directory.\n")
    done = linked.run("update", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "git: No such file or directory.\n")


def test_an_interrupt_reaches_the_tool_which_ends_with_130(linked: Linked) -> None:
    """Ctrl-C goes to all that run: the tool tidies up, and the lines wait for it."""
    waiting = '"""A tool."""\nimport sys, time\ntry:\n    print("here", flush=True)\n    time.sleep(600)\n'
    linked.release("v0.12.0", waiting + "except KeyboardInterrupt:\n    print('tidied')\n    sys.exit(130)\n")
    environment = linked.machine.environment(UV=str(quick_uv(linked.machine)))
    process = subprocess.Popen(
        [sys.executable, "-I", "packages/update.py", "update"],
        cwd=linked.path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process:
        while process.stdout.readline() != "here\n":
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == "tidied\n"
    assert process.returncode == 130
