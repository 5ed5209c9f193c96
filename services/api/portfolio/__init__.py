"""Portfolio measures: pure arithmetic on facts that the queries have already summed. No SQL, no clock, no float money.

Amounts are exact decimals and belong to one currency: nothing here adds two currencies. Shares are plain numbers.
"""
