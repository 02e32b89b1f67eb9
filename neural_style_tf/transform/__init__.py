"""Fast style transfer: a network that is trained once for a style and paints in one pass."""
