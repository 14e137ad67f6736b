"""Foreign members: models of other programs that are run here on the features of the corpus."""
