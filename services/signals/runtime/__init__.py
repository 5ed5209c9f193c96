"""The shell around the pure engine: Kafka in, effects out, exactly once in effect. The only code that imports faust.

It decides nothing about accounts. `source` fetches without losing records at rebalances, `merge` orders a partition's
topics by time, `stream` hands over batches and tells what was applied, `worker` runs one engine per partition, `effects`
makes results durable in a fixed order, `table` and `stores` keep the local copy of the state, `ticker` lets time pass.
"""
