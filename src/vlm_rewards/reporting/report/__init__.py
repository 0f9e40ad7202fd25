"""A report of runs: gathered from folders and records, put into words, written as one HTML page and as Markdown."""
