"""How a command tells a person that something is not there, or not as it should be."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import click

from lakehouse.settings import SettingError, Settings

SENTENCE = 200
"""Characters; the help of a command has no longer first sentence."""


class Failure(click.ClickException):
    """An error for a person: what, perhaps why on a line of its own, and what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}\nHint: {hint}")
        self.what = what
        self.hint = hint

    def show(self, file: Any = None) -> None:
        """On standard error, in colour if that is a terminal."""
        what, _, why = self.what.partition("\n")
        told = [click.style("Error: ", fg="red", bold=True) + click.style(what, bold=True), why]
        told.append(click.style("Hint: ", fg="cyan", bold=True) + self.hint)
        click.echo("\n".join(line for line in told if line), file=file, err=file is None)


class Told(click.Group):
    """A group whose help tells the whole first sentence of each command, on as many lines as it needs."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(SENTENCE)) for name, one in sorted(self.commands.items())]
            )


class Plain(Told):
    """Commands that end with what, why and what to do where AWS is not there, or not as the settings say.

    Until a command prints something, the terminal shows that it is at work.
    """

    def invoke(self, ctx: click.Context) -> Any:
        from lakehouse import terminal

        try:
            with terminal.patience("working"):
                return super().invoke(ctx)
        except Exception as error:
            if told := told_plainly(error):
                raise told from error
            raise


OURS = "LAKEHOUSE_HOME and LAKEHOUSE_LAKE say where state and tables lie"
NAMES = "the names are of LAKEHOUSE_LANDING_BUCKET, _QUEUE_URL, _TABLE_PREFIX; locally `lakehouse up` makes all"


def _is_ours(name: Any) -> bool:
    """Whether a file lies, or would lie, below the home or the lake."""
    settings, path = Settings.load(), Path(os.fsdecode(name)).absolute()
    return any(path.is_relative_to(Path(root).absolute()) for root in (settings.home, settings.lake))


def told_plainly(error: Exception) -> Failure | None:
    """An error that is no fault of the code, for a person; None if it may be one."""
    from botocore.exceptions import BotoCoreError, ClientError

    from lakehouse.dataset import DeclarationError
    from lakehouse.dynamodb.table import Throttled
    from lakehouse.local.aws import LocalAwsError
    from lakehouse.ml.features import NotYet
    from lakehouse.ml.learner import LearnerMissing
    from lakehouse.ml.registry import Refused
    from lakehouse.ml.training import NotReproducible
    from lakehouse.trace import Untraceable

    if isinstance(error, SettingError | Untraceable | LearnerMissing):
        return Failure(error.what, error.hint)
    if isinstance(error, DeclarationError):
        return Failure(f"what is declared cannot be\n{error}", "mend the file")
    if isinstance(error, NotYet):
        hint = "`lakehouse status` tells what has come, `lakehouse model list` what was learned from it"
        return Failure(str(error), hint)
    if isinstance(error, Refused | NotReproducible):
        return Failure(str(error), "`lakehouse model list` tells what there is")
    if isinstance(error, ClientError):
        told = error.response["Error"]
        return Failure(f"AWS refused {error.operation_name}\n{told['Code']}: {told['Message']}", NAMES)
    if isinstance(error, BotoCoreError | Throttled):
        away = "`lakehouse up` in another terminal starts a local AWS; another is found by the AWS_… variables"
        return Failure(f"AWS cannot be reached\n{error}", away)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failure(str(error), "make room: `lakehouse maintain` deletes what retention has passed")
    if isinstance(error, OSError) and error.filename:
        return Failure(
            str(error), OURS if _is_ours(error.filename) else "see that it is there, and may be used by you"
        )
    if isinstance(error, LocalAwsError):
        what, _, log = str(error).partition("\n")
        return Failure(f"{what}\n{log.strip()}", "the whole log is in LAKEHOUSE_HOME, .lakehouse if it is not set")
    return None
