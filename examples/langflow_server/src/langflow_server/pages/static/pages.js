// On every page: what was said is read first, a form is sent once, the menu closes, and commands are copied.
// Without it all but copying works.
"use strict";

(() => {
  // Browsers that do not know autofocus on what is no field.
  const said = document.querySelector(".notice[autofocus], .answer[autofocus]");
  if (said && document.activeElement === document.body) {
    said.focus();
  }

  // --- forms ---

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    form.setAttribute("aria-busy", "true");
  });

  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.removeAttribute("aria-busy");
    }
  });

  // --- the menu ---

  const menu = document.querySelector("details.menu");
  if (menu) {
    document.addEventListener("click", (event) => {
      if (!menu.contains(event.target)) {
        menu.open = false;
      }
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && menu.open) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    });
    menu.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !menu.contains(event.relatedTarget)) {
        menu.open = false;
      }
    });
  }

  // --- copying ---

  const status = document.getElementById("copied");

  const copy = async (element) => {
    try {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    } catch {
      // Without HTTPS there is no clipboard for scripts; the old way needs a selection.
      const range = document.createRange();
      range.selectNodeContents(element);
      const selection = document.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      return document.execCommand("copy");
    }
  };

  for (const button of document.querySelectorAll("button[data-copy]")) {
    const label = button.querySelector("span");
    const atFirst = [...label.childNodes];
    let timer = 0;
    button.addEventListener("click", async () => {
      status.textContent = "";
      if (!(await copy(document.getElementById(button.dataset.copy)))) {
        status.textContent = "The browser did not let this page copy. The text is selected: press Ctrl+C, or ⌘C.";
        return;
      }
      status.textContent = "Copied.";
      label.replaceChildren("Copied");
      window.clearTimeout(timer);
      timer = window.setTimeout(() => label.replaceChildren(...atFirst), 3000);
    });
    button.hidden = false;
  }
})();
