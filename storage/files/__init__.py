"""Files of this machine: published by rename, read without following links."""
