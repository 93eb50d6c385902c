"""The list of references: labels of author and year, in the order of the alphabet."""

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting.author_year_title import SortingStyle


class AuthorYear(BaseLabelStyle):
    """Labels as "Dosovitskiy et al., 2021"; a letter follows where two would be equal."""

    def format_labels(self, entries):
        """Yield a label for each of the sorted entries."""
        labels = [f"{names(entry)}, {entry.fields.get('year', 'no year')}" for entry in entries]
        for place, label in enumerate(labels):
            letter = chr(ord("a") + labels[:place].count(label))
            yield label + (letter if labels.count(label) > 1 else "")


def names(entry) -> str:
    """The family names of one or two authors, or the first and "et al."."""
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    family = [" ".join(person.prelast_names + person.last_names) for person in people]
    if not family:
        return entry.fields.get("organization") or entry.key
    return " and ".join(family) if len(family) < 3 else f"{family[0]} et al."


class ByAuthor(Style):
    """The plain style of pybtex with these labels."""

    default_label_style = AuthorYear
    default_sorting_style = SortingStyle


register_plugin("pybtex.style.formatting", "by_author", ByAuthor)
