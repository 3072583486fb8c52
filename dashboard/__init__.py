"""The local dashboard: pages, JSON API and live stream over the core."""
