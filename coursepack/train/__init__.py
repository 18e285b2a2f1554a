"""One recipe on its way: its parameters, batches, updates, checkpoints, the loop."""
