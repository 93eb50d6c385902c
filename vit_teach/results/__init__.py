"""Recorded results: one card for each run, means over seeds, tables. Chapters 8 to 15."""

from .cards import (
    data_entry,
    environment,
    new_card,
    portable_command,
    read_card,
    read_cards,
    read_named_card,
    recorded,
    validate,
    write_card,
)
from .summary import labelled, percent, summarise
from .tables import Table, result_rows_table, result_table

__all__ = [
    "Table", "data_entry", "environment", "labelled", "new_card", "percent", "portable_command",
    "read_card", "read_cards", "read_named_card", "recorded", "result_rows_table", "result_table",
    "summarise", "validate", "write_card",
]  # fmt: skip
