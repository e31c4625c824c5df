"""The warm run launcher: forks where it may, spawns where it must, and knows which workers live.

The last part runs whole Dagster runs through it: it says so when a new Dagster moves one of the private parts.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import reconstructable
from dagster._core.launcher import WorkerStatus

from lakehouse.orchestration.launcher import ForkServer, WarmRunLauncher, living
from lakehouse_tests.orchestration import jobs

SECONDS = 30


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def script(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Python modules that servers and workers can import."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path.cwd())]))
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., ForkServer]]:
    started: list[ForkServer] = []

    def start(*modules: str) -> ForkServer:
        started.append(ForkServer(modules))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_a_worker_is_a_fork_that_shares_what_was_imported(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer]
) -> None:
    script(code, "shared", "import os\nmade_in = os.getpid()")
    script(code, "work", f"import os, shared\nopen({str(tmp_path / 'out')!r}, 'w').write(str(shared.made_in))")
    server = serve("polars", "deltalake", "shared")
    assert server.start([sys.executable, "-m", "work"], tmp_path / "note") is None
    until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").read_text())
    assert (tmp_path / "out").read_text() == str(server.pid)


def test_a_workers_note_is_locked_while_it_lives_and_gone_when_it_ends(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer]
) -> None:
    script(
        code,
        "work",
        f"import time, pathlib\nwhile not pathlib.Path({str(tmp_path / 'end')!r}).exists(): time.sleep(.02)",
    )
    note = tmp_path / "note"
    serve("polars", "deltalake").start([sys.executable, "-m", "work"], note)
    assert living(note)
    (tmp_path / "end").touch()
    until(lambda: not note.exists())
    assert living(note) is None


@pytest.mark.parametrize("modules", [("polars", "deltalake"), ("lakehouse_tests.orchestration.greedy",)])
def test_a_killed_worker_is_known_to_be_dead_forked_or_spawned(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer], modules: tuple[str, ...]
) -> None:
    script(code, "work", "import time\ntime.sleep(60)")
    note = tmp_path / "note"
    serve(*modules).start([sys.executable, "-m", "work"], note)
    pid = living(note)
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: living(note) is None)


def test_where_a_module_queries_on_import_workers_are_spawned_and_it_is_named(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer]
) -> None:
    script(code, "work", f"open({str(tmp_path / 'out')!r}, 'w').write('done')")
    server = serve("polars", "deltalake", "lakehouse_tests.orchestration.greedy")
    fault = server.start([sys.executable, "-m", "work"], tmp_path / "note")
    assert fault
    assert "lakehouse_tests.orchestration.greedy" in fault
    until(lambda: (tmp_path / "out").exists())


def test_changed_code_and_new_files_are_seen_by_the_next_worker(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer]
) -> None:
    script(code, "shared", "word = 'old'")
    script(code, "work", f"import shared\nopen({str(tmp_path)!r} + '/' + shared.word, 'w')")
    server = serve("polars", "deltalake", "shared")
    server.start([sys.executable, "-m", "work"], tmp_path / "note1")
    until((tmp_path / "old").exists)
    script(code, "shared", "word = 'newer'")
    server.start([sys.executable, "-m", "work"], tmp_path / "note2")
    until((tmp_path / "newer").exists)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance by the shipped dagster.yaml."""
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text(jobs.DAGSTER_YAML.read_text())
    with dg.DagsterInstance.from_config(str(home)) as found:
        yield found


def launch(instance: dg.DagsterInstance, job: dg.JobDefinition) -> str:
    recon = reconstructable(job)
    run = instance.create_run_for_job(recon.get_definition(), job_code_origin=recon.get_python_origin())
    instance.launch_run(run.run_id, workspace=None)  # type: ignore[arg-type]
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run
    return run.status


def test_a_run_that_queries_succeeds_in_a_forked_worker(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_launcher, WarmRunLauncher)
    run_id = launch(instance, jobs.querying)
    until(lambda: status(instance, run_id) == dg.DagsterRunStatus.SUCCESS)
    told = [e.message for e in instance.all_logs(run_id)]
    assert not any("Spawned" in message for message in told)


def test_a_run_can_be_terminated_from_another_process(instance: dg.DagsterInstance) -> None:
    run_id = launch(instance, jobs.sleeping)
    until(lambda: status(instance, run_id) == dg.DagsterRunStatus.STARTED)
    with dg.DagsterInstance.from_config(instance.root_directory) as other:
        assert other.run_launcher.terminate(run_id)
    until(lambda: status(instance, run_id) == dg.DagsterRunStatus.CANCELED)
    assert not instance.run_launcher.terminate(run_id)


def test_a_run_whose_worker_was_killed_is_unhealthy(instance: dg.DagsterInstance) -> None:
    run_id = launch(instance, jobs.dying)
    run = instance.get_run_by_id(run_id)
    assert run

    def health() -> WorkerStatus:
        return instance.run_launcher.check_run_worker_health(run).status

    until(lambda: health() == WorkerStatus.NOT_FOUND)
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    assert not instance.run_launcher.terminate(run_id)


def test_a_launcher_whose_server_was_killed_starts_another(instance: dg.DagsterInstance) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, WarmRunLauncher)
    assert launcher._server
    os.kill(launcher._server.pid, signal.SIGKILL)
    until(lambda: launcher._server and not launcher._server.lives())
    run_id = launch(instance, jobs.querying)
    until(lambda: status(instance, run_id) == dg.DagsterRunStatus.SUCCESS)
