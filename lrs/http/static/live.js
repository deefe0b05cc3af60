// Keeps a page up to date: what its stream says has changed is fetched again and put in place, part by part.
// Without it the page is as true as when it was loaded, and says up to when that is.
"use strict";

(() => {
  const BETWEEN_MS = 1000;
  const source = document.querySelector("[data-live]");
  let stream = null;
  let waiting = 0;
  let fetched = 0;

  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }
  if (!source) {
    return;
  }
  const address = source.dataset.live;

  function showTime(event) {
    const through = JSON.parse(event.data).data_through;
    const time = document.querySelector("[data-through]");
    const ago = document.querySelector("[data-ago]");
    if (through && time && ago) {
      time.dateTime = through;
      time.textContent = through.slice(11, 19);
      ago.textContent = ago.dataset.ago;
    }
  }

  // Whoever reads along by keyboard stays where they were.
  function replace(old, fresh) {
    const held = old.contains(document.activeElement) ? document.activeElement : null;
    const place = held ? [...old.querySelectorAll("a, button, summary, input")].indexOf(held) : -1;
    for (const [at, details] of old.querySelectorAll("details").entries()) {
      const again = fresh.querySelectorAll("details")[at];
      if (again) {
        again.open = details.open;
      }
    }
    old.replaceWith(fresh);
    if (held) {
      (fresh.querySelectorAll("a, button, summary, input")[place] || fresh).focus({ preventScroll: true });
    }
  }

  async function refresh() {
    waiting = 0;
    fetched = Date.now();
    let fresh;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected || !answer.ok) {
        // The session has ended, or the course: the page says which.
        location.reload();
        return;
      }
      fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return;
    }
    const parts = [...document.querySelectorAll("[data-part]")];
    const again = [...fresh.querySelectorAll("[data-part]")];
    if (parts.map((part) => part.id).join() !== again.map((part) => part.id).join()) {
      // Other parts than before, as when the first learner comes: the whole of it then.
      document.getElementById("main").replaceChildren(...fresh.getElementById("main").children);
      return;
    }
    for (const [at, part] of parts.entries()) {
      if (part.innerHTML !== again[at].innerHTML) {
        replace(part, again[at]);
      }
    }
  }

  function soon() {
    if (!waiting) {
      waiting = setTimeout(refresh, Math.max(0, fetched + BETWEEN_MS - Date.now()));
    }
  }

  function open() {
    stream = new EventSource(address);
    stream.addEventListener("through", showTime);
    stream.addEventListener("changed", soon);
    let opened = false;
    stream.addEventListener("open", () => {
      if (opened) {
        soon(); // something may have been missed in between
      }
      opened = true;
      document.documentElement.dataset.stream = "open";
    });
    stream.addEventListener("error", () => {
      document.documentElement.dataset.stream = "waiting";
    });
  }

  // A page nobody looks at holds no connection; it catches up when it is looked at again.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream.close();
    } else {
      open();
      soon();
    }
  });
  open();
})();
