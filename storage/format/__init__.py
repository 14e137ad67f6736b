"""The format: names, types, bytes and values of a store. Nothing is read or written here."""
