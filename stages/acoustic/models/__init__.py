"""Acoustic models: architectures and their files."""
