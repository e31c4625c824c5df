"""raw, cleaned, serving: one hop each."""
