"""More than one device, more than one machine: which GPUs a process may use, and runs of claims as jobs."""
