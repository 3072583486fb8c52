"""Fault isolation (§7): what fails is cut off, so that it takes nothing else along."""
