"""The configuration file (§10.2): read, checked as a whole, turned into settings."""
