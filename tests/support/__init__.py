"""What tests share: makers of data, oracles, faults, servers."""
