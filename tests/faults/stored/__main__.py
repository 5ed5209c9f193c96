"""Write the state of today's codec: see the package."""

from tests.faults.stored import capture

print(capture())
