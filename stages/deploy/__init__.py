"""deploy: a student -> a folder that transcribes speech without torch; audio files -> words."""
