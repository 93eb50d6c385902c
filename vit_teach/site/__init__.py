"""What only the built pages need: numbers in the prose, and the page of all results.

For all pages.
"""
