"""The command ``portwright``: a group whose commands are imported only when they are called."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

import click

from .. import __version__
from ..core.errors import PortwrightError

COMMANDS = {
    "new": "Make a project for a new port.",
    "upgrade": "Bring a port's project up to date with Portwright's templates.",
    "certify": "Run the conformance suite on a device.",
    "mutate": "Prove the conformance suite: run it on devices with one fault each.",
    "verify": "Check that a certificate is whole and unchanged, and say what it claims.",
    "sign": "Sign a certificate.",
    "compare": "Say what became better and worse from one certificate to another.",
    "report": "Make a page (HTML) of a certificate.",
    "devices": "List the ports that are installed, and what each can do.",
    "doctor": "Check what Portwright needs, and say how to mend what is missing.",
    "show": "Show how a port does something, or what the contract asks for.",
    "explain": "Explain a primitive or a dtype: its meaning, its edges, how dialects spell it.",
    "kernel": "Show the kernels that an expression becomes on a device.",
    "tune": "Search for the fastest schedules of the kernels that a script runs, and keep them.",
}
"""Every command with its line of help; ``x`` is the object ``x`` of the module ``x`` beside this one."""

FAILED_TO_RUN = 2
INTERRUPTED = 130


class _Commands(click.Group):
    """Knows its commands by name; imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f".{cmd_name}", __package__), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            close = get_close_matches(args[0], COMMANDS, n=2)
            hint = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(COMMANDS)}."
            ctx.fail(f"no command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="portwright")
def portwright() -> None:
    """Bring a new accelerator up, and certify its port."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs a command line (``sys.argv`` unless given) and returns its exit status.

    0: done, and good. 1: done, and something is not as it should be. 2: could not run; one line on stderr
    says why (with DEBUG=1 or more, the traceback too). 130: interrupted.
    """
    words = list(sys.argv[1:] if args is None else args)  # for a command that starts itself again
    try:
        status = portwright.main(words, prog_name="portwright", standalone_mode=False, obj=words)
        return status if isinstance(status, int) else 0
    except click.ClickException as e:
        e.show()
        return FAILED_TO_RUN
    except (click.Abort, KeyboardInterrupt):
        click.echo("portwright: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PortwrightError as e:
        if os.environ.get("DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        click.echo(f"portwright: {e}", err=True)
        return FAILED_TO_RUN
    except Exception as e:  # a fault of ours: status 1 would say that the device had failed
        traceback.print_exc()
        click.echo(f"portwright: {type(e).__name__}, which should not happen; please report it", err=True)
        return FAILED_TO_RUN


if __name__ == "__main__":
    sys.exit(main())
