"""The engine: it knows columns only as nodes of a graph, and nothing of Prefect, files or configs."""
