"""`make update-branch`, and what CI makes of it, with a git server of this machine: a branch to look at."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from projects import BakedProject, Machine
from updates import FIRST, PLAN, THIRD, Render, edit, tree

pytestmark = pytest.mark.update

BRANCH = f"template/{THIRD}"
HOOK = '#!/bin/sh\nenv | grep "^GIT_PUSH_OPTION_[0-9]" > "$GIT_DIR/options" || true\n'
Clone = Callable[..., BakedProject]


class Server:
    """A repository of a git server, which takes pushes and notes their options."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.bare, self._machine = folder / "team" / "pipelines.git", machine
        machine.git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        self.git("config", "receive.advertisePushOptions", "true")
        hook = self.bare / "hooks" / "pre-receive"
        hook.write_text(HOOK, encoding="utf-8")
        hook.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"git://127.0.0.1:{port}/"
        command = ["git", "daemon", "--export-all", "--enable=receive-pack", "--reuseaddr", "--verbose"]
        self._process = subprocess.Popen(
            [*command, "--listen=127.0.0.1", f"--port={port}", f"--base-path={folder}", str(folder)],
            env=machine.environment(),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        if "Ready to rumble" not in said:
            self.stop()
            pytest.skip(f"there is no git daemon here: {said}")

    def git(self, *words: str) -> str:
        """What git answers there."""
        return self._machine.git(self.bare, *words)

    def branches(self) -> set[str]:
        """Those that it has."""
        return set(self.git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split())

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()


@pytest.fixture
def server(machine: Machine, tmp_path: Path) -> Iterator[Server]:
    """A git server with an empty repository."""
    (folder := tmp_path / "served").mkdir()
    made = Server(folder, machine)
    yield made
    made.stop()


@pytest.fixture
def clone(server: Server, render: Render, machine: Machine, tmp_path: Path) -> Clone:
    """Clones of a project of the first release, as CI makes them: `clone("again")`."""

    def once(name: str, **answers: str) -> BakedProject:
        if not server.branches():
            project = render(FIRST, **answers)
            project.commit("As generated")
            project.git("push", "--quiet", f"{server.address}team/pipelines.git", "main")
        machine.git(tmp_path, "clone", "--quiet", f"{server.address}team/pipelines.git", name)
        return BakedProject(tmp_path / name, answers, machine)

    return once


def content(project: BakedProject, branch: str, tmp_path: Path) -> dict[str, bytes]:
    """The files of a branch of the server's."""
    folder = tmp_path / "looked-at"
    project.git(
        "clone", "--quiet", "--branch", branch, project.git("remote", "get-url", "origin"), str(folder)
    )
    return tree(folder)


def test_on_a_plain_server_by_the_lines_of_the_documentation(
    clone: Clone, server: Server, render: Render, tmp_path: Path
) -> None:
    project = clone("first")
    documented = project.read("packages/exclusive-xcom/docs/project.md").partition(
        "With any other git server"
    )
    lines = documented[2].split("```")[1].removeprefix("sh\n")
    before = project.git("rev-parse", "HEAD")
    project.run("sh", "-c", lines)
    assert project.git("status", "--porcelain", "--branch") == "## main...origin/main"
    assert project.git("rev-parse", "HEAD") == before == server.git("rev-parse", "main")
    assert server.branches() == {"main", BRANCH}
    message = server.git("log", "-1", "--format=%B", BRANCH)
    assert message.startswith(f"Take in {THIRD} of the template\n\n")
    assert "handbook/plan.txt  (changed)" in message and "git reset" not in message
    assert content(project, BRANCH, tmp_path) == tree(render(THIRD).path)

    there = server.git("rev-parse", BRANCH)
    for name in ("first", "later"):  # it is there, and people may have changed it
        again = project if name == "first" else clone(name)
        again.run("sh", "-c", lines)
        assert again.git("status", "--porcelain", "--branch") == "## main...origin/main"
    assert server.git("rev-parse", BRANCH) == there

    again.git("checkout", "--quiet", BRANCH)
    said = again.make("update-branch")
    assert "template/" not in said.stdout and "already. Nothing to do" in said.stderr


def test_what_collides_is_in_the_branch_and_told(clone: Clone) -> None:
    project = clone("edited")
    edit(project.path, "handbook/plan.txt", PLAN[9], "10. Do it my way\n")
    project.commit("Edited")
    assert project.make("update-branch").stdout.splitlines()[-1] == BRANCH
    message = project.git("log", "-1", "--format=%B", BRANCH)
    assert message.startswith(f"Take in {THIRD} of the template, where something is left to decide\n")
    assert "Conflicts: " in message
    marked = project.git("show", f"{BRANCH}:handbook/plan.txt")
    assert "<<<<<<<" in marked and "10. Do it my way" in marked
    assert "<<<<<<<" not in project.read("handbook/plan.txt")


def test_a_template_that_cannot_be_had_fails_and_leaves_nothing(clone: Clone) -> None:
    project = clone("lost")
    text = re.sub(r'"template": "[^"]*"', '"template": "/nowhere"', project.read(".cruft.json"))
    (project.path / ".cruft.json").write_text(text, encoding="utf-8")
    project.commit("Moved")
    done = project.make("update-branch", check=False)
    assert done.returncode and "cannot be fetched" in done.stderr
    assert project.git("branch", "--format=%(refname:short)") == "main"


def run(project: BakedProject, lines: str, **environment: str) -> None:
    """Run lines of a CI file as its runner does."""
    project.run("bash", "-e", "-o", "pipefail", "-c", lines, **environment)


def test_github_s_two_jobs_open_a_pull_request(clone: Clone, server: Server, tmp_path: Path) -> None:
    """In clones of their own; a stand-in for GitHub's command notes what it is asked for."""
    project = clone("github", ci="github")
    jobs = yaml.safe_load(project.read(".github/workflows/template.yml"))["jobs"]
    assert all(job["permissions"] == {"contents": "read"} for job in jobs.values())
    assert "secrets" not in str(jobs["take-in"]), "the template's code runs there"
    (bin_ := tmp_path / "bin").mkdir()
    (bin_ / "gh").write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n', encoding="utf-8")
    (bin_ / "gh").chmod(0o755)
    (temporary := tmp_path / "temporary").mkdir()
    path = f"{bin_}:{project.machine.environment()['PATH']}"
    runner = {"RUNNER_TEMP": str(temporary), "GITHUB_OUTPUT": str(tmp_path / "output"), "PATH": path}
    (lines,) = [step["run"] for step in jobs["take-in"]["steps"] if "run" in step]
    run(project, lines, **runner)
    assert (tmp_path / "output").read_text(encoding="utf-8") == f"branch={BRANCH}\n"
    assert server.branches() == {"main"}

    (step,) = [step for step in jobs["propose"]["steps"] if "run" in step]
    assert step["env"].keys() == {"BRANCH", "GH_TOKEN"}
    run(clone("propose"), step["run"], BRANCH=BRANCH, GH_TOKEN="x", GITHUB_REF_NAME="main", **runner)
    assert server.branches() == {"main", BRANCH}
    assert f"pr create --base main --head {BRANCH} --fill" in (tmp_path / "asked").read_text("utf-8")

    with pytest.raises(pytest.fail.Exception):
        run(clone("hostile"), step["run"], BRANCH="main", GH_TOKEN="x", GITHUB_REF_NAME="main", **runner)
    (tmp_path / "output").unlink()
    run(clone("next-week"), lines, **runner)
    assert (tmp_path / "output").read_text(encoding="utf-8") == "branch=\n"


def test_gitlab_s_two_jobs_open_a_merge_request(clone: Clone, server: Server, tmp_path: Path) -> None:
    """Which GitLab does when a push has these options."""
    project = clone("gitlab", ci="gitlab")
    jobs = yaml.safe_load(project.read(".gitlab-ci.yml"))
    assert "TEMPLATE_TOKEN" not in str(jobs["take-in"]), "the template's code runs there"
    runner = {
        "CI_JOB_ID": f"job-{tmp_path.name}",
        "CI_SERVER_PROTOCOL": "https",
        "CI_SERVER_HOST": "gitlab.example",
        "CI_SERVER_PORT": "443",
        "CI_PROJECT_PATH": "team/pipelines",
        "CI_DEFAULT_BRANCH": "main",
    }
    try:
        run(project, "\n".join(jobs["take-in"]["script"]), **runner)
    finally:
        Path(f"/tmp/{runner['CI_JOB_ID']}").unlink(missing_ok=True)
    assert server.branches() == {"main"}
    other = clone("propose")
    (project.path / "taken").rename(other.path / "taken")
    there = "https://template:secret@gitlab.example:443/"
    leads = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{server.address}.insteadOf",
        "GIT_CONFIG_VALUE_0": there,
    }
    run(other, "\n".join(jobs["propose"]["script"]), TEMPLATE_TOKEN="secret", **leads, **runner)
    assert server.branches() == {"main", BRANCH}
    options = (server.bare / "options").read_text(encoding="utf-8").splitlines()
    assert [line.partition("=")[2] for line in sorted(options)] == [
        "merge_request.create",
        "merge_request.target=main",
    ]
    (other.path / "taken" / "branch").write_text("\n", encoding="utf-8")
    run(other, "\n".join(jobs["propose"]["script"]), **runner)  # nothing to do
