"""``portwright new``: a project for a new port, complete from its first minute."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from ..core.errors import ArgumentError
from ..templates.answers import QUESTIONS, clash_of, families, faults_of, tree
from .screen import console, working

YES = "Ask nothing: what is not said is the usual."


def _settings(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    """``--set`` as a mapping."""
    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in QUESTIONS:
            raise click.BadParameter(f"{word!r}: write KEY=VALUE; the keys are {', '.join(QUESTIONS)}")
        settings[key] = value
    return settings


@click.command()
@click.argument("name", required=False)
@click.option("--family", metavar="FAMILY", help=f"How the chip is reached: {', '.join(families())}.")
@click.option(
    "--set", "settings", multiple=True, callback=_settings, metavar="KEY=VALUE", help="Answer a question."
)
@click.option("-y", "--yes", is_flag=True, help=YES)
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The folder that the project's folder goes into; this one unless said.",
)
def new(name: str | None, family: str | None, settings: Mapping[str, str], yes: bool, into: Path) -> int:
    """Make a project for a new port called NAME: portwright-NAME.

    What is not said is asked, on a terminal. The project is complete: packaging, entry point, tests, CI, and
    a port that works as far as it can before its author has written a line.
    """
    from .scaffold import generate

    said = {
        **settings,
        **({} if name is None else {"name": name}),
        **({} if family is None else {"family": family}),
    }
    asks = not yes and sys.stdin.isatty()
    if "name" not in said and not asks:
        raise ArgumentError("say what the port is called: portwright new acme")
    answers = _answers(said, asks)
    faults = faults_of(answers) or [f for f in [clash_of(answers["name"])] if f]
    if faults:
        raise ArgumentError("\n".join(faults))
    with working(f"Making portwright-{answers['name']}"):
        made = generate(answers, into)
    _say(made, answers)
    return 0


def _answers(said: Mapping[str, str], asks: bool) -> dict[str, str]:
    """Every question answered: as said, as asked, or as is usual."""
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        usual = _usual(question, answers)
        if question in said:
            answers[question] = said[question].strip()
        elif asks and not (question == "through" and not families()[answers["family"]]["usual"]):
            answers[question] = _ask(question, answers, usual)
        else:
            answers[question] = usual
    return {**answers, "name": answers["name"].lower()}


def _ask(question: str, answers: Mapping[str, str], usual: str) -> str:
    """The answer to one question, asked again until it makes sense."""
    prompt = tree()["__prompts__"][question]
    choices = tree()[question] if isinstance(tree()[question], list) else None
    if question == "family":
        click.echo(f"{prompt['__prompt__']}:")
        for family in families():
            click.echo("  {:<11}{}".format(*prompt[family].split(": ", 1)))
        prompt = "Family"
    elif question == "through":
        about = families()[answers["family"]]
        prompt = f"Through what: {about['through']} (empty: {about['usual']})"
    while True:
        answer: str = click.prompt(
            prompt,
            default=usual,
            type=click.Choice(choices, case_sensitive=False) if choices else str,
            show_default=bool(usual),
            show_choices=question != "family",
        )
        so_far = {**answers, question: answer.strip().lower() if question == "name" else answer.strip()}
        faults = faults_of(_all_usual(so_far))
        if not faults:
            return so_far[question]
        click.echo("\n".join(faults))


def _usual(question: str, answers: Mapping[str, str]) -> str:
    default = tree()[question]
    if question == "vendor":
        return answers["name"].replace("_", " ").title()
    return str(default[0] if isinstance(default, list) else default)


def _all_usual(answers: Mapping[str, str]) -> dict[str, str]:
    """Answers, with what is usual for the questions still to come."""
    usual = dict(answers)
    for question in QUESTIONS:
        usual.setdefault(question, _usual(question, usual))
    return usual


def _say(made: Path, answers: Mapping[str, str]) -> None:
    about = families()[answers["family"]]
    files = sorted(p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file())
    where = made if made.is_absolute() else Path(*made.parts)
    out = console()
    out.print(f"Made {where}, a port of the family {answers['family']}, in {len(files)} files.", style="bold")
    out.print()
    out.print(f"  cd {where}", "  pip install -e .", sep="\n", markup=False)
    out.print(f"  portwright certify {answers['name'].upper()}{about['certify']} --next", markup=False)
    out.print()
    out.print(about["first"], markup=False)
    out.print(f"What is done and what is to be done: {where / 'PORTING.md'}", markup=False)
