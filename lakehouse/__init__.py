"""An event-driven lakehouse: a file lands in S3, an item changes in DynamoDB."""
