"""tools/fleet.py: many projects, of which each gets a branch, or is told to need a person."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from projects import BakedProject, Machine
from updates import FIRST, INSIDE, PLAN, THIRD, copy_of, edit, release

pytestmark = pytest.mark.update


@pytest.fixture
def fleet(small_untouched: BakedProject, machine: Machine, tmp_path: Path) -> dict[str, Path]:
    """Served repositories: one without a question, one with a conflict, one in a folder, one broken."""
    served = {}
    for name in ("smooth", "edited", "inside", "broken"):
        made = copy_of(small_untouched, tmp_path / "work" / name)
        if name == "edited":
            edit(made.path, "handbook/plan.txt", PLAN[9], "10. Do it my way\n")
        if name == "broken":
            made.git("rm", "--quiet", ".cruft.json")
        if name == "inside":
            outer = tmp_path / "work/outer"
            (outer / "teams").mkdir(parents=True)
            machine.run("rm", "-rf", made.path / ".git", cwd=tmp_path)
            made = BakedProject(made.path.rename(outer / "teams/sales"), {}, machine)
            made = BakedProject(outer, {}, machine)
        made.commit("Work")
        served[name] = tmp_path / "served" / f"{name}.git"
        machine.git(tmp_path, "clone", "--quiet", "--bare", str(made.path), str(served[name]))
    lines = [f"{path}{' teams/sales' if name == 'inside' else ''}" for name, path in served.items()]
    (tmp_path / "list").write_text("# All of ours\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return served


def run(machine: Machine, template: Path, tmp_path: Path, *arguments: str, code: int) -> dict[str, str]:
    """Run it, and give what it says of each project, by its name."""
    command = [sys.executable, str(template / "tools/fleet.py"), str(tmp_path / "list"), *arguments]
    done = machine.run(*command, cwd=tmp_path, check=False, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    parts = [part for part in done.stdout.split("\nv") if ".git" in part]
    told = dict(zip(("smooth", "edited", "inside"), parts, strict=False))
    return told | {"all": done.stdout}


def branches(machine: Machine, repository: Path) -> set[str]:
    """The branches of a served repository."""
    return set(machine.git(repository, "for-each-ref", "--format=%(refname:short)", "refs/heads").split())


def test_a_branch_is_opened_in_each_that_needs_nobody(
    fleet: dict[str, Path], our_small_releases: Path, machine: Machine, tmp_path: Path
) -> None:
    told = run(machine, our_small_releases, tmp_path, code=1)
    assert f"4 projects; the template here is at {THIRD}" in told["all"]
    assert f"{fleet['smooth']}: takes {THIRD} in without a question" in told["smooth"]
    assert f"{fleet['edited']}: a person has to decide: make update there" in told["edited"]
    assert "handbook/plan.txt" in told["edited"]
    assert f"{fleet['inside']} teams/sales: takes {THIRD} in" in told["inside"]
    assert f"{fleet['broken']}: This project is not linked to a template" in told["all"]
    assert told["all"].count(FIRST.removeprefix("v")) == 3, "the release that each is at"
    assert "Nothing was pushed" in told["all"]
    for repository in fleet.values():
        assert branches(machine, repository) == {"main"}

    told = run(machine, our_small_releases, tmp_path, "--push", code=1)
    branch = f"template-{THIRD}"
    assert f"has the branch {branch} now" in told["smooth"]
    expected = {
        "smooth": {"main", branch},
        "inside": {"main", f"{branch}-teams-sales"},
        "edited": {"main"},
        "broken": {"main"},
    }
    assert {name: branches(machine, path) for name, path in fleet.items()} == expected
    assert "20. Do it again" in machine.git(fleet["smooth"], "show", f"{branch}:handbook/plan.txt")
    assert "20. Do it again" in machine.git(
        fleet["inside"], "show", f"{branch}-teams-sales:teams/sales/handbook/plan.txt"
    )
    assert machine.git(fleet["smooth"], "rev-list", "--count", f"main..{branch}") == "1"

    told = run(machine, our_small_releases, tmp_path, "--push", code=1)
    assert f"has the branch {branch} already" in told["smooth"]


def test_what_is_merged_is_up_to_date_and_the_next_release_gets_its_own_branch(
    fleet: dict[str, Path], our_small_releases: Path, machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text(f"{fleet['smooth']}\n", encoding="utf-8")
    run(machine, our_small_releases, tmp_path, "--push", code=0)
    machine.git(fleet["smooth"], "update-ref", "refs/heads/main", f"refs/heads/template-{THIRD}")
    machine.git(fleet["smooth"], "branch", "--delete", "--force", f"template-{THIRD}")
    assert "is up to date" in run(machine, our_small_releases, tmp_path, code=0)["all"]
    edit(our_small_releases / INSIDE, "plan.txt", PLAN[35], "36. Do it once more\n")
    release(machine, our_small_releases, "v0.4.0")
    assert "takes v0.4.0 in without a question" in run(machine, our_small_releases, tmp_path, code=0)["all"]


def test_two_projects_of_one_repository_get_a_branch_each(
    fleet: dict[str, Path], our_small_releases: Path, machine: Machine, tmp_path: Path
) -> None:
    work = tmp_path / "work/outer"
    machine.run("cp", "-r", work / "teams/sales", work / "teams/web shop", cwd=work)
    BakedProject(work, {}, machine).commit("Another")
    machine.git(work, "push", "--quiet", str(fleet["inside"]), "main")
    lines = f"{fleet['inside']} teams/sales\n{fleet['inside']}\tteams/web shop/\n"
    (tmp_path / "list").write_text(lines, encoding="utf-8")
    run(machine, our_small_releases, tmp_path, "--push", code=0)
    names = {f"template-{THIRD}-teams-{name}" for name in ("sales", "web-shop")}
    assert branches(machine, fleet["inside"]) == {"main", *names}


def test_a_folder_outside_of_the_repository_is_none_of_it(
    fleet: dict[str, Path], our_small_releases: Path, machine: Machine, tmp_path: Path
) -> None:
    """As where somebody put two addresses into a line."""
    other = tmp_path / "work/smooth"
    (tmp_path / "list").write_text(f"{fleet['smooth']} ..\n{fleet['smooth']} //{other}\n", encoding="utf-8")
    told = run(machine, our_small_releases, tmp_path, "--push", code=1)["all"]
    assert told.count("there is no folder") == 2
    assert machine.git(other, "branch", "--show-current").strip() == "main"
