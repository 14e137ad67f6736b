"""essence verify: everything in a work directory against its digests.

Slow imports are inside the command, as in cli.py.
"""

import json
import sys
import time
from pathlib import Path

import click


@click.command()
@click.argument(
    "work", type=click.Path(path_type=Path, file_okay=False), default=Path("work"), required=False
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")
def verify(work: Path, *, as_json: bool) -> None:
    """Read everything in a work directory and compare it with its digests. Changes nothing.

    WORK is the directory (default: work). Checks corpus files, stores, weights, results, records,
    checkpoints and the cache of stores. 'essence cache verify' does this for one store.

    \b
    Exit codes: 0 sound, 1 could not be read, 2 misused, 3 damaged, 4 under construction.

    \b
    Example: essence verify
    Example: essence verify /data/work
    """
    from pipeline.shelf.verify import plan_work, verify_work
    from pipeline.terminal.progress import TerminalProgress
    from pipeline.terminal.verified import describe_work, exit_code, work_as_json

    begun, cpu_begun = time.perf_counter(), time.process_time()
    entries = plan_work(work)
    total = sum(num_bytes for _, num_bytes in entries)
    with TerminalProgress().task(f"verify {work}", total=total, unit="bytes") as task:
        found = list(verify_work(entries, advance=task.advance))
    took = {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu_begun,
    }
    click.echo(
        json.dumps(work_as_json(found, **took), indent=2)
        if as_json
        else describe_work(found, **took)
    )
    if code := exit_code(found):
        sys.exit(code)
