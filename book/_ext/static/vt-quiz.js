// The questions of a page: judged on submit, with the reason for what was chosen. Nothing is kept,
// nothing is sent. The verdict and the reasons stand in <output>, which a screen reader announces.

function chosen(form) {
  return [...form.querySelectorAll(".vt-choice")].filter(
    (choice) => choice.querySelector("input").checked,
  );
}

function judgeNumber(form) {
  const text = form.querySelector("input").value.trim().replace(",", ".");
  if (!text) return { given: false };
  const off = Math.abs(Number(text) - Number(form.dataset.number));
  const right = off <= Number(form.dataset.tolerance);
  return { given: true, right, reasons: right ? [form] : [] };
}

function judgeChoices(form) {
  const picked = chosen(form);
  for (const choice of picked) choice.dataset.state = "right" in choice.dataset ? "good" : "bad";
  const wanted = form.querySelectorAll("[data-right]").length;
  const good = picked.filter((choice) => "right" in choice.dataset).length;
  return {
    given: picked.length > 0,
    right: good === wanted && picked.length === wanted,
    reasons: picked,
  };
}

function answer(form) {
  const output = form.querySelector("output");
  const verdict = form.dataset.kind === "number" ? judgeNumber(form) : judgeChoices(form);
  const word = verdict.given ? (verdict.right ? "Right." : "Not yet.") : "Choose an answer first.";
  output.replaceChildren(word);
  for (const part of verdict.reasons ?? []) {
    const reason = part.querySelector(".vt-why").cloneNode(true);
    reason.hidden = false;
    output.append(" ", reason);
  }
}

for (const form of document.querySelectorAll("form.vt-quiz")) {
  form.querySelector("button").hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(form);
  });
  form.addEventListener("input", () => {
    form.querySelector("output").replaceChildren();
    for (const choice of form.querySelectorAll(".vt-choice")) delete choice.dataset.state;
  });
}
