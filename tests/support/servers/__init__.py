"""Servers on this machine: HTTP, S3, ssh, Dask clusters."""
