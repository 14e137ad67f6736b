"""The corpus file: features, hard labels and transcripts of one split."""
