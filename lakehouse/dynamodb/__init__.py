"""serving → DynamoDB: what changed becomes items, conditional on version."""
