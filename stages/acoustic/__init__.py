"""Acoustic modelling: Kaldi's files, lexicon and graph, models, members of an ensemble."""
