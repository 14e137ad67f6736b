"""Exit: errors that a user can act on -> one line on stderr and an exit code, without a traceback.

0 done, 1 failed, 2 misused; stopped: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""

import select
import time
from contextlib import nullcontext
from typing import Any

import click

from pipeline.errors import SettingsError
from pipeline.terminal.extras import lacks
from pipeline.terminal.plain_text import plain_text
from stages.training.interrupts import ENDED_BY_SIGNAL, STDOUT, Ending, ending_signals
from stages.training.launched import is_one_of_many, leave, own_number
from storage.errors import EssenceError
from storage.files.full_disk import DISK_FULL
from storage.place.address import without_secrets

UNDER_TORCHRUN = ("student", "ensemble")
FIRST_RANK_SECONDS = 20.0  # in which the first rank prints a message that all ranks have


class ExitGroup(click.Group):
    """A group of commands whose errors end the process with a message and an exit code."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The named command; under torchrun only those that train."""
        if is_one_of_many() and args[0] not in UNDER_TORCHRUN:
            raise SettingsError(
                f"torchrun started several processes of 'essence {args[0]}': "
                "only student and ensemble run under torchrun"
            )
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The words after the program's name; options of commands do not come before them."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            for command, each in self.commands.items():
                if any(name in option.opts for option in each.params):
                    words = f"give it after the command, as in 'essence {command} {name} ...'"
                    fail(f"{name} is an option of a command: {words}", code=2)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Programming errors keep their traceback."""
        # torchrun sends signals to every rank: those that wait for another one must end at once.
        with nullcontext(Ending()) if is_one_of_many() else ending_signals() as ending:
            return self._invoke(ctx, ending)

    def _invoke(self, ctx: click.Context, ending: Ending) -> Any:
        try:
            result = super().invoke(ctx)
            return leave(0) if is_one_of_many() else result
        except SettingsError as error:
            fail(str(error), code=2)
        except EssenceError as error:
            fail(str(error), code=1)
        except ModuleNotFoundError as missing:
            if (words := lacks(missing)) is None:
                raise
            fail(words, code=1)
        except BrokenPipeError as error:
            if _is_stdout_closed():  # as by `| head`: click ends the command without a message
                raise
            fail(_system_error(error), code=1)
        except OSError as error:
            fail(_system_error(error), code=1)
        except MemoryError as error:
            fail(f"out of memory ({error}): make models, batches or beams smaller", code=1)
        except KeyboardInterrupt:
            fail("stopped; the same command goes on where this one was", code=ending.code)


def _is_stdout_closed() -> bool:
    """Has the reader of a pipe gone? Other pipes and sockets break, too: that is an error."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _system_error(error: OSError) -> str:
    if error.errno not in DISK_FULL:
        return f"the system says: {error}"
    account = "".join(f": {note}" for note in getattr(error, "__notes__", ()))
    return (
        f"{error.filename or 'a file'} cannot be written ({error.strerror}){account}: make room, "
        "then run the same command again"
    )


def fail(message: str, *, code: int) -> None:
    """Print a message to stderr and end the process; under torchrun the first rank prints."""
    number = own_number()
    if number == 0:
        click.echo(plain_text(f"essence: {without_secrets(message)}"), err=True)
    elif code < ENDED_BY_SIGNAL:
        # torchrun ends all ranks as soon as one has ended. Another rank must not end before the
        # first has printed, so it waits until it is ended. After a signal torchrun waits itself.
        time.sleep(FIRST_RANK_SECONDS)
        click.echo(plain_text(f"essence: rank {number}: {without_secrets(message)}"), err=True)
    leave(code)
