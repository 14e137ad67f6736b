"""The built-in spoken corpus: synthesised sentences with exact phone times."""
