"""Long work of a pool, as jobs: repair, scrub, optimize, remove."""
