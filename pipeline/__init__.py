"""The command line, the settings, the flow on one page, and the work directory."""
