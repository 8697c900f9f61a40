// The list: how many keys are selected, and all of them at once.
"use strict";

(() => {
  const boxes = [...document.querySelectorAll('input[name="id"]')];
  const all = document.getElementById("all");
  if (!all || boxes.length === 0) {
    return;
  }
  const every = all.querySelector("input");
  const said = document.getElementById("selected");
  const button = document.getElementById("delete");
  const atFirst = said.textContent;

  const show = () => {
    const count = boxes.filter((box) => box.checked).length;
    every.checked = count === boxes.length;
    every.indeterminate = count > 0 && count < boxes.length;
    button.disabled = count === 0;
    const sentence = count === 0 ? atFirst : `${count} of ${boxes.length} selected`;
    if (said.textContent !== sentence) {
      said.textContent = sentence;
    }
  };

  every.addEventListener("change", () => {
    for (const box of boxes) {
      box.checked = every.checked;
    }
    show();
  });
  for (const box of boxes) {
    box.addEventListener("change", show);
  }
  all.hidden = false;
  // Browsers fill forms in again when somebody comes back, after this has run.
  window.addEventListener("pageshow", show);
})();
