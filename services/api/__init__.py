"""The api: what was recorded, over HTTP, for people's tools and for the console."""
