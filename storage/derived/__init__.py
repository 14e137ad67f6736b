"""Derived stores: merged from sealed stores or cut out of one; stored values stay as they are."""
