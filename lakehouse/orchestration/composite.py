"""run → worker: a heavy run by another launcher, every other by the warm one.

For more than one machine. The daemon alone launches runs; whoever ends one from the pages is in another container,
and so the daemon looks for runs that are to end.
"""

import contextlib
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import dagster as dg
import yaml
from dagster import Field, Permissive
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from lakehouse.orchestration.launcher import PRELOAD, WarmRunLauncher

WEIGHT, HEAVY = "lakehouse/weight", "heavy"
"""The tag of a run that needs a machine of its own."""
WATCH_SECONDS = 5.0
PRODUCTION = ["dagster_postgres", "dagster_aws.s3.compute_log_manager"]


class CompositeRunLauncher(RunLauncher, ConfigurableClass):
    """`heavy`: the module, class and config of the launcher for runs with the tag `lakehouse/weight: heavy`."""

    def __init__(self, heavy: Mapping[str, Any], inst_data: ConfigurableClassData | None = None) -> None:
        self._told = heavy
        self._inst_data = inst_data
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        free = Field(Permissive(), default_value={})  # type: ignore[no-untyped-call]
        return {"heavy": {"module": str, "class": str, "config": free}}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "CompositeRunLauncher":
        return cls(inst_data=inst_data, **config_value)

    @cached_property
    def warm(self) -> WarmRunLauncher:
        launcher = WarmRunLauncher([*PRODUCTION, *PRELOAD])
        launcher.register_instance(self._instance)
        return launcher

    @cached_property
    def heavy(self) -> RunLauncher:
        """Made when it is first needed: who never starts a heavy run needs no right to ask for its task."""
        told = ConfigurableClassData(self._told["module"], self._told["class"], yaml.dump(self._told["config"]))
        launcher = told.rehydrate(as_type=RunLauncher)  # type: ignore[type-abstract]
        launcher.register_instance(self._instance)
        return launcher

    def of(self, run: dg.DagsterRun) -> RunLauncher:
        return self.heavy if run.tags.get(WEIGHT) == HEAVY else self.warm

    def launch_run(self, context: LaunchRunContext) -> None:
        if self._watch is None:
            self._watch = threading.Thread(target=self._end_canceled, daemon=True)
            self._watch.start()
        self.of(context.dagster_run).launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Whether the run will end: by this process, or by the daemon's, which looks for such runs."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        return self.of(run).terminate(run_id) or run.tags.get(WEIGHT) != HEAVY

    def _end_canceled(self) -> None:
        canceling = dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELING])
        while not self._ended.wait(WATCH_SECONDS):
            with contextlib.suppress(Exception):  # the storage is away: the next look will tell
                for run in self._instance.get_runs(canceling):
                    self.warm.interrupt(run.run_id)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        return self.of(run).check_run_worker_health(run)

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        return self.of(run).get_run_worker_debug_info(run, include_container_logs)

    def dispose(self) -> None:
        self._ended.set()
        for name in ("warm", "heavy"):
            if name in vars(self):
                vars(self)[name].dispose()
