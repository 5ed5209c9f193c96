"""The database that the recorder writes, the api reads and people's acts live in."""
