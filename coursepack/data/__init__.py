"""Images and labels: what reads a file, and the named data sets."""
