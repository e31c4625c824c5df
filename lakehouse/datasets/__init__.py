"""What a user writes: one file a dataset."""
