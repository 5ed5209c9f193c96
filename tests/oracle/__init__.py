"""An independent oracle: what the service must say about a list of events, recounted from scratch at every instant.

It shares no code with `services/` and is written for plainness: raw lists are kept and counted again whenever a
condition is judged. The meanings are the catalogue's exact meanings; where the engine and the oracle disagree, one of
them is wrong.
"""
