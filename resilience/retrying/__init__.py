"""Trying again (§4): which errors, how often, after which pauses, and how many in all."""
