"""S3 events → inbox; objects → rows."""
