"""tokens: transcribed speech -> token sequences and a lang of tokens, without an alignment."""
