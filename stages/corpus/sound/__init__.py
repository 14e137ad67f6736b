"""Sound: resampling, noise and echo, log-mel features, for all sources of audio."""
