"""One module per resource. An endpoint checks the key, asks `queries` and shapes the answer; it decides nothing."""
