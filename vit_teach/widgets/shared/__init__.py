"""What all widgets share: their base class, and the scripts and styles around each module.

For all chapters.
"""
