"""The agent's side: its link to WinClaw, and what it reports, obeys and answers."""
