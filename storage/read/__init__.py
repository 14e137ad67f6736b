"""Reading: frames of a sealed store, as soft labels."""
