"""Places where a store lies: a folder of this machine, a server, a server behind a cache."""
