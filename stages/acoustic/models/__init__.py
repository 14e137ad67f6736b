"""Acoustic models: architectures, their files, their log-posteriors."""
