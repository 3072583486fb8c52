"""The circuit breaker (§3): when a service's circuit opens and closes, and who is to blame."""
