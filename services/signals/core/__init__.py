"""The pure core: what an account's state is made of, and how events and time change it. No clock, no socket, no thread."""
