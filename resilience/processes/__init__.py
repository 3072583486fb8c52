"""Supervised processes: started, watched, started again; they outlive WinClaw, and the next one takes them over."""
