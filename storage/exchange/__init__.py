"""Exchange: soft labels that another program computed -> a store. No format of theirs is read."""
