"""The checks before an apply, one subject a file. Each yields findings and changes nothing."""
