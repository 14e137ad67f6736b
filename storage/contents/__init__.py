"""What a store holds: its manifest, metadata, commit records and utterances."""
