"""The control plane's one owner: inputs are decided on, committed to the journal, then told."""
