"""Writing: soft labels into a store, shard by shard, safe against a kill at any instruction."""
