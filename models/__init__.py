"""Models: their configs, the clients that call them, and the deterministic ones for trying things out."""
