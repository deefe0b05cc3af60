// Brings the copy buttons to life. Without it each field can still be selected and copied by hand.
"use strict";

(() => {
  const WORDS_BACK_MS = 2000;
  const announcements = document.getElementById("announcements");

  // The clipboard proper is there on https and localhost alone; a record store in a school's network may have neither.
  async function copy(field) {
    field.focus();
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      return true;
    } catch {
      return document.execCommand("copy");
    }
  }

  for (const button of document.querySelectorAll("button[data-copies]")) {
    const field = document.getElementById(button.dataset.copies);
    const words = button.firstElementChild;
    const usual = words.textContent;
    let back = 0;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const copied = await copy(field);
      const outcome = copied ? button.dataset.copied : button.dataset.failed;
      if (copied) {
        button.focus();
      }
      words.textContent = outcome;
      announcements.textContent = outcome;
      clearTimeout(back);
      back = setTimeout(() => {
        words.textContent = usual;
        announcements.textContent = "";
      }, WORDS_BACK_MS);
    });
  }
})();
