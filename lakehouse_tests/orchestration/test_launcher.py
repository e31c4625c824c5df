"""The warm run launcher: forks where it may, spawns where it must, and knows which workers live.

The last part runs whole Dagster runs through it: it says so when a new Dagster moves one of the private parts.
"""

import fcntl
import importlib
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

from lakehouse.orchestration import forkserver
from lakehouse.orchestration.launcher import ForkServer, WarmRunLauncher, lives, worker
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
    assert worker(note)
    (tmp_path / "end").touch()
    until(lambda: not note.exists())
    assert not lives(note)


@pytest.mark.parametrize("modules", [("polars", "deltalake"), ("lakehouse_tests.orchestration.greedy",)])
def test_a_killed_worker_is_known_to_be_dead_forked_or_spawned(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer], modules: tuple[str, ...]
) -> None:
    script(code, "work", "import time\ntime.sleep(60)")
    note = tmp_path / "note"
    serve(*modules).start([sys.executable, "-m", "work"], note)
    pid = worker(note)
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not lives(note))


@pytest.mark.parametrize("module", ["greedy", "planning"])
def test_where_a_module_queries_on_import_workers_are_spawned_and_it_is_named(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer], module: str
) -> None:
    script(code, "work", f"open({str(tmp_path / 'out')!r}, 'w').write('done')")
    server = serve("polars", "deltalake", f"lakehouse_tests.orchestration.{module}")
    fault = server.start([sys.executable, "-m", "work"], tmp_path / "note")
    assert fault
    assert f"lakehouse_tests.orchestration.{module}" in fault
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


ENDLESS = "import time, pathlib\nwhile not pathlib.Path({!r}).exists(): time.sleep(.02)"


def test_a_worker_that_outlives_a_renewal_is_reaped_and_its_note_removed(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer]
) -> None:
    script(code, "shared", "")
    script(code, "work", ENDLESS.format(str(tmp_path / "end")))
    server = serve("polars", "deltalake", "shared")
    server.start([sys.executable, "-m", "work"], tmp_path / "note1")
    script(code, "shared", "changed = True")
    server.start([sys.executable, "-m", "work"], tmp_path / "note2")
    (tmp_path / "end").touch()
    until(lambda: not (tmp_path / "note1").exists() and not (tmp_path / "note2").exists())


def test_a_module_that_cannot_be_imported_is_named_until_it_is_mended_or_removed(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer]
) -> None:
    (code / "things").mkdir()
    for name, text in {"__init__": "", "first": "", "second": "raise ValueError('not so')"}.items():
        script(code / "things", name, text)
    script(code, "work", "import sys\nopen(sys.argv[1], 'w').write(str('things.third' in sys.modules))")

    def outcome(name: str) -> tuple[str | None, str]:
        out = tmp_path / name
        fault = server.start([sys.executable, "-m", "work", str(out)], tmp_path / f"note-{name}")
        until(lambda: out.exists() and out.read_text())
        return fault, out.read_text()

    server = serve("polars", "deltalake", "things.*")
    assert outcome("a") == ("things.second cannot be imported: ValueError: not so", "False")
    (code / "things" / "second.py").unlink()
    script(code / "things", "third", "")
    assert outcome("b") == (None, "True")
    (code / "things" / "first.py").unlink()
    assert outcome("c") == (None, "True")


@pytest.mark.parametrize("sign", [signal.SIGSTOP, signal.SIGKILL])
def test_a_server_that_hangs_or_died_is_replaced_and_the_worker_starts(
    code: Path, tmp_path: Path, sign: int
) -> None:
    script(code, "work", f"open({str(tmp_path / 'out')!r}, 'w').write('done')")
    launcher = WarmRunLauncher(["polars", "deltalake"])
    try:
        assert launcher.start([sys.executable, "-m", "work"], tmp_path / "note1") is None
        assert launcher._server
        first = launcher._server.pid
        launcher._server._channel.settimeout(0.5)
        os.kill(first, sign)
        (tmp_path / "out").unlink(missing_ok=True)
        assert launcher.start([sys.executable, "-m", "work"], tmp_path / "note2") is None
        until((tmp_path / "out").exists)
        assert launcher._server.pid != first
    finally:
        launcher.dispose()


def test_a_note_that_is_taken_ends_no_server(code: Path, tmp_path: Path, serve: Callable[..., ForkServer]) -> None:
    script(code, "work", ENDLESS.format(str(tmp_path / "end")))
    server = serve("polars", "deltalake")
    server.start([sys.executable, "-m", "work"], tmp_path / "note")
    with pytest.raises(RuntimeError, match="no worker could be started"):
        server.start([sys.executable, "-m", "work"], tmp_path / "note")
    (tmp_path / "end").touch()
    assert server.start([sys.executable, "-m", "work"], tmp_path / "other") is None


def test_a_worker_whose_server_died_before_it_wrote_the_id_lives_and_has_none(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with note.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert lives(note)
        assert worker(note) is None
    assert not lives(note)


def test_a_project_below_the_interpreters_prefix_is_still_watched(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(code, "checked_out", "")
    monkeypatch.syspath_prepend(str(code))
    monkeypatch.setattr(sys, "base_prefix", str(code.parent))
    importlib.import_module("checked_out")
    watched = forkserver.own_files()
    assert str(code / "checked_out.py") in watched
    assert not any("polars" in path or "json" in path for path in watched)


def test_a_rotated_credential_is_seen_by_the_next_worker(
    code: Path, tmp_path: Path, serve: Callable[..., ForkServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    script(code, "work", SIGNING)
    keys.write_text("[default]\naws_access_key_id = FIRST\naws_secret_access_key = s\n")
    server = serve("polars", "deltalake", "lakehouse.orchestration.warm")
    for key in ("FIRST", "SECOND"):
        keys.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")
        out = tmp_path / key
        assert server.start([sys.executable, "-m", "work", str(out)], tmp_path / f"note-{key}") is None
        until(lambda out=out: out.exists() and out.read_text())  # type: ignore[misc]
        assert key in out.read_text()


SIGNING = """
import sys
from dagster_aws.s3 import S3Resource
from lakehouse.orchestration.resources import client

url = client(S3Resource()).generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
open(sys.argv[1], "w").write(url)
"""


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
    run_id = launch(instance, jobs.querying)
    until(lambda: status(instance, run_id) == dg.DagsterRunStatus.SUCCESS)
