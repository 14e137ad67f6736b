"""Alignment: hard labels and a lang for speech that has transcripts and no alignment."""
