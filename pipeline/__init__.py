"""Top floor: the command line, the settings, the flow on one page, freshness, progress."""
