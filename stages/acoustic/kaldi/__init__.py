"""Kaldi's archives and tables, read without Kaldi."""
