"""The embedded AWS, and the sample feed."""
