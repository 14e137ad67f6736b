"""Copies of utterances: the same words with noise, another pace, or another vocal tract."""
