"""Shelf: the work directory: what each artefact is made of, what is there, what is whole."""
