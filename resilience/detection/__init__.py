"""Detection (§6.1): probes, measurements, what programs write, and what is unusual in it."""
