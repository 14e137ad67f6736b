"""Readers of Kaldi's archives and tables, without Kaldi."""
