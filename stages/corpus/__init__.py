"""corpus: a source of speech -> one corpus file a split, and a lang."""
