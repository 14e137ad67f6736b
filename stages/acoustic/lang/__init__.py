"""Lang: lexicon, units, language model, and the decoding graph."""
