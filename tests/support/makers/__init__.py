"""Makers of data: small, odd-sized, and real where it matters."""
