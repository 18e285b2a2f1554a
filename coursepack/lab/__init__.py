"""Studies of many runs: what they vary, what is measured, what their tables say."""
