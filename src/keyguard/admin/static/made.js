// The page that shows a key once: copies it, asks before it is lost, and takes it away when the page is left.
"use strict";

(() => {
  const key = document.getElementById("key");
  const done = document.getElementById("done");
  const hint = document.getElementById("hint");
  const said = document.getElementById("said");
  const text = key.textContent;

  // --- the guard ---

  const ask = (event) => {
    event.preventDefault();
    event.returnValue = ""; // What older browsers go by.
  };
  window.addEventListener("beforeunload", ask);

  const release = () => {
    window.removeEventListener("beforeunload", ask);
    hint.hidden = true;
  };

  let warned = false;
  let copied = false;
  const noteCopied = () => {
    copied = true;
    release();
  };

  done.addEventListener("click", (event) => {
    if (copied) {
      return;
    }
    if (warned) {
      release();
      return;
    }
    event.preventDefault();
    warned = true;
    hint.hidden = false;
    hint.focus();
  });

  // Who selects the whole key and copies it by hand has copied it, too.
  document.addEventListener("copy", () => {
    if (document.getSelection().toString().includes(text)) {
      noteCopied();
    }
  });

  // --- copying ---

  const select = (element) => {
    element.closest("details").open = true;
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = document.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };

  const copy = async (element) => {
    try {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    } catch {
      // Without HTTPS there is no clipboard for scripts; the old way needs a selection.
      select(element);
      return document.execCommand("copy");
    }
  };

  for (const button of document.querySelectorAll("button[data-copy]")) {
    const label = button.querySelector("span");
    const atFirst = [...label.childNodes];
    let timer = 0;
    button.addEventListener("click", async () => {
      const element = document.getElementById(button.dataset.copy);
      said.textContent = "";
      if (!(await copy(element))) {
        said.textContent = "The browser did not let this page copy. The text is selected: press Ctrl+C, or ⌘C.";
        return;
      }
      noteCopied();
      said.textContent = "Copied.";
      label.replaceChildren("Copied");
      button.classList.add("copied");
      window.clearTimeout(timer);
      timer = window.setTimeout(() => {
        label.replaceChildren(...atFirst);
        button.classList.remove("copied");
      }, 3000);
    });
    button.hidden = false;
  }

  // --- the end ---

  // Reloading, and coming back, leads to the key's own page, where it is not shown.
  window.history.replaceState(null, "", done.href);

  // What a browser keeps of a page that was left, in order to come back to it quickly, must not hold the key.
  window.addEventListener("pagehide", () => {
    for (const secret of document.querySelectorAll(".secret")) {
      secret.textContent = "";
    }
    document.getElementById("once").remove();
    document.getElementById("gone").hidden = false;
    release();
  });
})();
