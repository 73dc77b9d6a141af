"""The results server: it answers at once, loads in the background, and shows each chart as its data arrives.

Importing this package imports nothing heavy: `shell.py` listens with the standard library and uvicorn alone, and
`loading.py` brings DuckDB, Arrow and FastAPI in from a thread.
"""
