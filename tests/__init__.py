"""Tests mirror the rooms: tests/<floor>/<room>/test_<module>.py."""
