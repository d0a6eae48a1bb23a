"""Topics and message shapes: the single source of what goes over the wire to a backend."""
