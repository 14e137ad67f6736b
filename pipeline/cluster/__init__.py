"""Cluster: the processes that label the shards of the teacher."""
