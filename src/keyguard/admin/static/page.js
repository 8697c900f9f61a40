// On every page: the notice is read first, and a form is sent once.
"use strict";

(() => {
  // Browsers that do not know autofocus on what is no field.
  const notice = document.querySelector(".notice[autofocus]");
  if (notice && document.activeElement === document.body) {
    notice.focus();
  }

  // A second press would take the place of the first one's answer: of a new key, it would be lost.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") {
      return;
    }
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
})();
