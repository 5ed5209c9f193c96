"""Delivery: what happened goes out to those who subscribed. It reads Postgres and writes nothing that others judge by.

Each thing that it does is a part with a `name`, a `run(stop)` and whether it is `ready`, with the `detail` in words;
`main.parts` lists them. What only one process may do at a time is done by a `duty.Duty`.
"""
