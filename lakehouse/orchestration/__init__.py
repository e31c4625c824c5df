"""The only room that knows Dagster."""
