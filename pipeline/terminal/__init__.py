"""Terminal: options, progress and tables of the command line."""
