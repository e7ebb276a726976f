"""All reads, already filtered by what the caller may see. ``system`` is for workers alone."""
