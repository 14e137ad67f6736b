"""Members: what gives posteriors of a corpus, how each kind is made and opened, their average."""
