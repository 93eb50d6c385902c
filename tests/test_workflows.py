"""The workflows: pinned actions, no more rights than needed, no rights where code runs."""

import re
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[1] / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))


def jobs():
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text("utf-8"))
        for name, job in workflow["jobs"].items():
            rights = job.get("permissions", workflow.get("permissions"))
            yield pytest.param(job, rights, id=f"{path.stem}-{name}")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_their_version(path):
    uses = re.findall(r"uses: (.*)", path.read_text("utf-8"))
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("job, rights", list(jobs()))
def test_a_job_has_the_rights_that_it_needs(job, rights):
    assert isinstance(rights, dict), "permissions must be said"
    checked_out = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
    for step in checked_out:
        assert step["with"]["persist-credentials"] is False
    if checked_out or "write" not in rights.values():  # runs code of the book and its packages
        assert rights == {"contents": "read"}
    else:
        text = str([step.get("run", "") for step in job["steps"]])
        assert not re.search(r"pip|make|python|\.ci|npm", text)
        assert set(rights) in ({"contents"}, {"pages", "id-token"})
    for step in job["steps"]:
        assert "${{" not in step.get("run", ""), "a value is put into a script: use env"


def test_newer_versions_are_proposed():
    updates = yaml.safe_load((FOLDER / "dependabot.yml").read_text("utf-8"))["updates"]
    assert {each["package-ecosystem"] for each in updates} >= {"github-actions", "pip"}
