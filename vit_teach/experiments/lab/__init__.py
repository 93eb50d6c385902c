"""How a recorded experiment runs: cells, their images and models, the runner, the report.

Chapters 9 to 14.
"""
