"""The built-in spoken corpus: sentences that a synthesiser speaks, with exact phone times."""
