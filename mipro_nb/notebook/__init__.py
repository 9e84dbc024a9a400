"""The notebook: the live view, the magic, the charts, and what a saved notebook shows."""
