"""From the description of a stack to Kubernetes objects, as plain values."""
