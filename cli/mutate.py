"""``portwright mutate``: the proof of the suite, by devices with one fault each."""

from __future__ import annotations

import time

import click

from ..conformance.tiers import SuiteTier
from .screen import console, write_json


@click.command()
@click.option("--base", metavar="DEVICE", help="The good device; without, the best of ours for each fault.")
@click.option("--family", "families", multiple=True, metavar="TEXT", help="Only families of this name.")
@click.option("--mutant", "names", multiple=True, metavar="NAME", help="Only this mutant.")
@click.option("--seed", default=0, show_default=True, help="What the samples depend on.")
@click.option(
    "--seeds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Of --false-alarms: how many, from --seed on.",
)
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes that run side by side."
)
@click.option(
    "--limit", default=60.0, show_default=True, type=click.FloatRange(1), help="Seconds for one case."
)
@click.option(
    "--seconds", default=300.0, show_default=True, type=click.FloatRange(1), help="Seconds for one mutant."
)
@click.option("--whole", is_flag=True, help="Where the likely cases do not suffice, run all others too.")
@click.option("--list", "only_list", is_flag=True, help="Say which mutants there are, and run nothing.")
@click.option(
    "--false-alarms",
    multiple=True,
    metavar="DEVICE",
    help="Climb on this good device instead: a port, a variant (serial, tree, flushing ...), or all.",
)
@click.option(
    "--tier",
    "share",
    type=click.Choice([t.value for t in SuiteTier]),
    default=SuiteTier.QUICK.value,
    show_default=True,
    help="Of --false-alarms: how much of the suite.",
)
@click.option("-k", "keyword", default="", metavar="EXPR", help="Of --false-alarms: only these cases.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Write what came of it as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Write the verdicts to standard output, for programs.")
def mutate(
    base: str | None,
    families: tuple[str, ...],
    names: tuple[str, ...],
    seed: int,
    seeds: int,
    jobs: int,
    limit: float,
    seconds: float,
    whole: bool,
    only_list: bool,
    false_alarms: tuple[str, ...],
    share: str,
    keyword: str,
    as_markdown: bool,
    as_json: bool,
) -> int:
    """Run the suite on devices with one seeded fault each, and say what notices.

    Cases of the quick tier come first, which shows what they suffice for. A mutant is killed when two
    functions of the suite fail, or, of a device that claims less than it has, when ``portwright compare``
    says so. Exit status: 0 when all are killed (or no good device fails), else 1.
    """
    from ..conformance.mutants import catalogue, show
    from ..conformance.mutants.alarms import false_alarms_of, good_devices
    from ..conformance.mutants.matrix import Survey, survey
    from ..conformance.selection import Selection

    out = console()
    if false_alarms:
        selection, alarms = Selection(keyword=keyword, tier=SuiteTier(share)), []
        for name in good_devices(false_alarms):
            for a in false_alarms_of(name, selection, range(seed, seed + seeds), jobs=jobs, limit=limit):
                alarms.append(a)
                click.echo(a.line(), err=as_json or as_markdown)
        if as_json:
            write_json([a.as_json() for a in alarms])
        elif as_markdown:
            click.echo(show.alarms(alarms, selection.tier), nl=False)
        return 1 if any(a.failed for a in alarms) else 0
    chosen = catalogue.select(families, names)
    if only_list:
        if as_json:
            write_json([{"mutant": m.name, "family": m.family, "fault": m.fault} for m in chosen])
        else:
            for m in chosen:
                out.print(f"{m.name} ({m.family}): {m.fault}", soft_wrap=True, markup=False)
        return 0
    start = time.monotonic()
    quiet = as_json or as_markdown
    verdicts = survey(
        chosen,
        Survey(seed, limit, whole, jobs, seconds),
        base,
        lambda v: None if quiet else out.print(show.line(v), soft_wrap=True, markup=False),
    )
    took = time.monotonic() - start
    if as_json:
        write_json([v.as_json() for v in verdicts])
    elif as_markdown:
        click.echo(show.markdown(verdicts, took), nl=False)
    else:
        killed = sum(v.is_killed for v in verdicts)
        out.print(f"{killed} of {len(verdicts)} killed in {took:,.0f} s")
    return 0 if all(v.is_killed for v in verdicts) else 1
