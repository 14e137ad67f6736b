"""Sound: audio files as samples, and the tables that list them."""
