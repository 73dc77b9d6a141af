"""Reports that draw themselves: specification, query cache of futures, charts, pages and pictures, comparisons.

`reports.report.Report` is the way in, `reports.query_cache.QueryCache` the heart. Nothing is imported from here, so that
who needs the cache does not load DuckDB, and who needs neither loads nothing.
"""
