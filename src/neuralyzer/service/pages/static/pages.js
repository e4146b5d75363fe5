// Live updates. When something has happened, the page is fetched anew, and the parts that changed are put in place.
// Every page works without this.
"use strict";

const AT_MOST_EVERY = 1000; // milliseconds between two updates
let timer = null, fetching = false, last = 0;

/** Put a part in place, unless somebody is at work in it; what was opened in it stays open. */
function replace(old, fresh) {
  if (old.outerHTML === fresh.outerHTML) return;
  const active = document.activeElement;
  const writes = old.contains(active) && /^(INPUT|TEXTAREA|SELECT)$/.test(active.tagName);
  if (writes || [...old.querySelectorAll("textarea")].some((area) => area.value)) return;
  const focused = old.contains(active) ? active.getAttribute("href") || active.id : "";
  for (const open of old.querySelectorAll("details[open][id]")) {
    const same = fresh.querySelector("#" + open.id);
    if (same) same.open = true;
  }
  old.replaceWith(fresh);
  if (focused) [...fresh.querySelectorAll("a, [id]")].find((e) => (e.getAttribute("href") || e.id) === focused)?.focus();
}

/** Show what changed in words for who listens, and the flash for who sees, when a verdict says forgotten. */
function announce(before, after) {
  if (!before || !after) return;
  if (before.state !== after.state) document.getElementById("said").textContent = "Now " + after.state;
  if (before.tone !== after.tone && after.tone === "green") document.body.classList.add("flash");
}

async function update() {
  fetching = true;
  last = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { "X-Update": "1" } }); // which keeps no session alive
    if (answer.redirected) return location.assign(answer.url); // signed out
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const before = { ...document.getElementById("display")?.dataset };
    const present = new Set([...document.querySelectorAll("[data-live]")].map((part) => part.id));
    let above = null;
    for (const fresh of page.querySelectorAll("[data-live]")) {
      const old = document.getElementById(fresh.id);
      if (old) replace(old, document.adoptNode(fresh));
      else if (above) above.after(document.adoptNode(fresh));
      present.delete(fresh.id);
      above = document.getElementById(fresh.id);
    }
    for (const gone of present) document.getElementById(gone).remove();
    announce(before, document.getElementById("display")?.dataset);
    document.title = page.title;
  } catch (error) {
    console.warn("the page could not be brought up to date", error.message); // the next event tries again
  } finally {
    fetching = false;
  }
}

/** Update soon, and not more often than once a second, however much happens. */
function soon() {
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    if (fetching) soon();
    else update();
  }, Math.max(0, AT_MOST_EVERY - (Date.now() - last)));
}

const { stream, every } = document.body.dataset;
if (stream) {
  const events = new EventSource(stream);
  const kinds = ["progress", "located", "audit", "plan", "preparing", "planned", "approved", "unlearning", "attempt",
    "answers", "judged", "released", "escalated", "failed", "extended", "refused", "cancelled", "to be cancelled",
    "taken up again", "to be planned again", "not found", "answered before", "rolled back", "purged", "platform told"];
  for (const kind of kinds) events.addEventListener(kind, soon);
  events.addEventListener("error", () => events.readyState === EventSource.CLOSED && soon());
  events.addEventListener("closed", () => {
    events.close();
    soon();
  });
}
if (every) setInterval(() => document.hidden || soon(), 1000 * Number(every));
