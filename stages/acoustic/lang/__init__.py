"""Lang: lexicon, units, grammar, and the decoding graph made of them."""
