"""The `xcom` command: run the pipelines, start and end Airflow with its UI, look at XComs.

make calls it; `uv run xcom --help` lists what it can. Each command is a function below; what they do is
in environment.py, services.py, runner.py, background.py and metadata.py.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import environment, report, services
from .background import Background, BackgroundError, State, free_port
from .runner import Handover, PipelineEnd, Runner, TaskEnd, WorkerError

READY_TIMEOUT = 300  # seconds; two idle processors take twenty, busy ones many times that
Command = Callable[[argparse.Namespace], int]


class Refused(Exception):
    """The command can't be done as it was given; the text says why and what would do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 done, 1 failed, 2 refused, 130 interrupted."""
    given = _parser().parse_args(arguments)
    environment.activate()
    command: Command = given.command
    try:
        return command(given)
    except (Refused, environment.NotInProject) as error:
        print(error, file=sys.stderr)
        return 2
    except (BackgroundError, services.ServiceError, WorkerError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # nobody reads any more (`| head`); Python would complain of it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xcom", description="Runs this project on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, about: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
        added.set_defaults(command=command)
        return added

    run = add("run", _run, "Run every pipeline once and show what was handed over.")
    run.add_argument("names", nargs="*", metavar="PIPELINE", help="only these")
    up = add("up", _up, "Start Airflow with its UI in the background, on this machine only.")
    up.add_argument("--port", type=int, default=8080, help="of the UI; 0: any that is free (default: 8080)")
    add("down", _down, "End what `up` started.")
    add("probe", _probe, "Try everything that a task will need of the XCom backend.")
    show = add("show", _show, "List the XComs of a run: kind, size, where they are kept.")
    show.add_argument("dag_id", metavar="PIPELINE")
    show.add_argument("run_id", nargs="?", metavar="RUN", help="default: the latest")
    add("secrets", _secrets, "Write .env with fresh random secrets where they are missing.")
    airflow = add("airflow", _airflow, "Run Airflow's own command in this project's environment.")
    airflow.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…")
    return parser


# -- run ----------------------------------------------------------------------------------------------


def _run(given: argparse.Namespace) -> int:
    folder, out = environment.project(), report.console()
    home = _home()
    if state := Background(home).find():
        raise Refused(
            "Airflow is up, and its scheduler would run the same tasks at the same time. Trigger pipelines "
            f"in its UI, {state.url}, or end it first: `make down`."
        )
    started = time.monotonic()
    with _alone(home), _stores(home), Runner(folder) as runner:
        out.print("Starting Airflow")
        found = runner.prepare()
        names = _chosen(given.names, found.pipelines)
        out.print(f"Running {len(names)} pipeline{'' if len(names) == 1 else 's'}")
        handovers: list[Handover] = []
        tasks: list[TaskEnd] = []
        pipelines: list[PipelineEnd] = []
        for event in runner.run(names):
            match event:
                case TaskEnd():
                    tasks.append(event)
                    report.task_end(out, event)
                case Handover():
                    handovers.append(event)
                case PipelineEnd():
                    pipelines.append(event)
    out.print()
    report.handed_over(out, report.gather(handovers))
    failed = [end for end in pipelines if end.state != "success"]
    broken = {} if given.names else found.errors
    if failed or broken:
        out.print()
        report.failures(out, [end for end in tasks if end.state == "failed"], failed)
        report.broken(out, broken)
    seconds = time.monotonic() - started
    out.print(f"\n{len(pipelines) - len(failed)} of {len(pipelines)} pipelines succeeded in {seconds:.0f} s.")
    return 1 if failed or broken else 0


def _chosen(names: Sequence[str], pipelines: dict[str, str]) -> list[str]:
    """The ids of the pipelines that were named, by id or by file; all of them, if none was."""
    by_file = {Path(file).stem: dag_id for dag_id, file in pipelines.items()}
    chosen = [name if name in pipelines else by_file.get(Path(name).stem, "") for name in names]
    if "" in chosen:
        unknown = names[chosen.index("")]
        raise Refused(f"There is no pipeline {unknown!r} in dags/. There are: {', '.join(pipelines)}.")
    return list(dict.fromkeys(chosen)) or list(pipelines)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep a second run out: both would want the development servers' folder."""
    home.mkdir(mode=0o700, exist_ok=True)
    with (home / "run.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("Another `xcom run` is at work in this project. Wait until it is done.") from None
        yield


@contextlib.contextmanager
def _stores(home: Path) -> Iterator[None]:
    """What the backend needs: that of the background Airflow while it runs, otherwise servers of our own."""
    background = Background(home).find()
    with contextlib.ExitStack() as stack:
        if background:
            variables = background.variables
        else:
            for service in services.needed(os.environ):
                print(f"Starting {service.server}, a server for development", flush=True)
            variables = stack.enter_context(services.running(os.environ, home / "services"))
        os.environ.update(variables)
        yield


# -- up and down --------------------------------------------------------------------------------------


def _up(given: argparse.Namespace) -> int:
    environment.project()
    background = Background(_home())
    if state := background.find():
        print("Airflow is up already.")
        _tell(background, state)
        return 0
    port = free_port(given.port)
    from . import metadata

    print("Preparing the database", flush=True)
    with _alone(background.home):
        metadata.migrate()
        if metadata.VARIABLES.is_file():
            metadata.load_variables(metadata.VARIABLES)
    print("Starting Airflow", flush=True)
    state = background.start(port)
    try:
        _await(background, state)
    except BaseException:
        background.stop()
        raise
    _tell(background, state)
    return 0


def _await(background: Background, state: State) -> None:
    """Wait until all parts of Airflow are well, and say so one by one."""
    said: set[str] = set()
    deadline = time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline:
        health = background.health(state)
        for part, well in health.items():
            if well and part not in said:
                said.add(part)
                print(f"  ✓ {part.replace('_', ' ')}", flush=True)
        if all(health.values()):
            return
        time.sleep(0.5)
    missing = ", ".join(part for part, well in health.items() if not well)
    raise BackgroundError(
        f"After {READY_TIMEOUT} s Airflow still has no {missing}. The logs are in {background.logs}."
    )


def _tell(background: Background, state: State) -> None:
    print(f"\nAirflow: {state.url}  (from this machine only)")
    if login := background.login():
        print(f"User:    {login[0]}\nPassword: {login[1]}")
    print("\nPipelines are switched on: they run when you trigger them, and by their schedules.")
    print("`make down` ends everything.")


def _down(given: argparse.Namespace) -> int:
    environment.project()
    ended = Background(_home()).stop()
    print("Airflow has ended." if ended else "Airflow was not running.")
    return 0


# -- the rest -----------------------------------------------------------------------------------------


def _probe(given: argparse.Namespace) -> int:
    out = report.console()
    with _stores(_home()):
        from . import metadata

        checks = metadata.probe()
    for check in checks:
        report.check(out, check)
    return 0 if all(check.ok for check in checks) else 1


def _show(given: argparse.Namespace) -> int:
    from . import metadata

    run_id = given.run_id or metadata.latest_run(given.dag_id)
    if run_id is None:
        raise Refused(f"Airflow's database has no run of {given.dag_id!r}.")
    report.rows(report.console(), run_id, metadata.xcoms(given.dag_id, run_id))
    return 0


def _secrets(given: argparse.Namespace) -> int:
    added = environment.write_secrets(environment.project())
    print(f"Added to .env: {', '.join(added)}." if added else "All secrets are in .env already.")
    return 0


def _airflow(given: argparse.Namespace) -> int:
    with contextlib.suppress(environment.NotInProject):
        environment.project()
        if state := Background(_home()).find():
            os.environ.update(state.variables)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "airflow", *given.arguments])


def _home() -> Path:
    return Path(os.environ["AIRFLOW_HOME"])


if __name__ == "__main__":
    sys.exit(main())
