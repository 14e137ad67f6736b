"""Faults: killed processes, failing system calls, hostile files."""
