"""Sound in the texture of other sounds (Ulyanov & Lebedev 2016)."""
