"""From what is stored to what a person reads: words first, the field's term second. Pure functions."""
