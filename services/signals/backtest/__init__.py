"""The engine's own core over a file: no Kafka, no Postgres, the same transitions."""
