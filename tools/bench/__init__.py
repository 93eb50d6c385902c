"""How fast is it: this package against others, measured in turns. Run by ``make bench``."""
