"""What a user writes to have something predicted: one file a model."""
