"""`python -m pipeline` is the command `essence`: for torchrun, and where no script is installed."""

from pipeline.cli import main

main()
