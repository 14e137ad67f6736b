"""`python -m essence` and the console script `essence`: the command line."""

import sys

from essence.floors import refuse_other_floors


def main() -> None:
    """Run the command line; if another package is imported in place of a floor, say so and exit."""
    try:
        refuse_other_floors()
    except ImportError as error:
        sys.exit(f"essence: {error}")
    # Here, not at the top: only now is `pipeline` known to be the package next to this one.
    from pipeline.cli import main as command_line

    command_line(prog_name="essence")


if __name__ == "__main__":
    main()
