"""Features of speech, and what the front end makes of them, for training and for use."""
