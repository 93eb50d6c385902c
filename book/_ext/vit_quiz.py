"""``{quiz} 02``: questions about a chapter on its page, from book/exercises/quiz/02.yml.

They work by keyboard and without a kernel. Without scripts the answers stand folded below each
question, with the reasons. ``:only: id id`` takes some of the questions.
"""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from vit_teach.course import quiz


class Quiz(SphinxDirective):
    """The questions as forms: a fieldset each, whose legend is the question."""

    required_arguments = 1
    option_spec = {"only": directives.unchanged_required}

    def run(self) -> list:
        path = quiz.FOLDER / f"{self.arguments[0]}.yml"
        self.env.note_dependency(str(path))
        questions = quiz.read(path)
        if "only" in self.options:
            by_id = {question["id"]: question for question in questions}
            try:
                questions = [by_id[name] for name in self.options["only"].split()]
            except KeyError as error:
                raise self.error(f"{path.name} has no question {error}") from error
        parts = [self.question(number, one) for number, one in enumerate(questions, 1)]
        return [node for part in parts for node in part]

    def text(self, text) -> nodes.inline:
        found, messages = self.state.inline_text(str(text), self.lineno)
        return nodes.inline("", "", *found, *messages)

    def question(self, number, one) -> list:
        kind = "number" if "number" in one else "checkbox" if one.get("many") else "radio"
        name = f"quiz-{one['id']}"
        wanted = f' data-number="{one.get("number")}" data-tolerance="{one.get("tolerance", 0)}"'
        head = f'<form class="vt-quiz" id="{name}" data-kind="{kind}"'
        out = [raw(head + wanted * (kind == "number") + f"><fieldset><legend>{number}. ")]
        out += [self.text(one["ask"]), raw("</legend>")]
        if kind == "number":
            out += [raw(f'<label>Your number: <input type="text" inputmode="decimal" name="{name}" '
                        'autocomplete="off"></label><span class="vt-why" hidden>'),
                    self.text(one["why"]), raw("</span>")]  # fmt: skip
        for place, choice in enumerate(one.get("choices", [])):
            right = " data-right" * bool(choice.get("right"))
            out += [raw(f'<div class="vt-choice"{right}><label><input type="{kind}" name="{name}" '
                        f'value="{place}"> '), self.text(choice["say"]),
                    raw('</label><span class="vt-why" hidden>'), self.text(choice["why"]),
                    raw("</span></div>")]  # fmt: skip
        out.append(raw('<button type="submit" hidden>Check</button> <output></output>'
                       "</fieldset></form>"))  # fmt: skip
        return out + self.answer(one)

    def answer(self, one) -> list:
        """For a page without scripts, folded: what is right, and why each choice is or is not."""
        out = [raw("<noscript><details><summary>Answer</summary>")]
        if "number" in one:
            out += [raw(f"<p>{one['number']}: "), self.text(one["why"]), raw("</p>")]
        for choice in one.get("choices", []):
            out += [raw("<p>" + ("Right: " if choice.get("right") else "Not right: ")),
                    self.text(choice["say"]), raw(". "), self.text(choice["why"]),
                    raw("</p>")]  # fmt: skip
        return [*out, raw("</details></noscript>")]


def raw(text) -> nodes.raw:
    return nodes.raw("", text, format="html")


def setup(app) -> dict:
    """Register the extension."""
    app.add_directive("quiz", Quiz)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
