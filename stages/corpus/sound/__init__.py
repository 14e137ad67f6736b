"""Sound: what any source of audio needs: resampling, noise and echo, log-mel features."""
