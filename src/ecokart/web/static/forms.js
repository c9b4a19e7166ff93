// On every page: a form that was sent says so at once, and isn't sent twice.

addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.ariaBusy === "true") return event.preventDefault();
  form.ariaBusy = "true";
  event.submitter?.classList.add("is-waiting");
});

// Back by the browser's button: the page is as it was left, so it may be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[aria-busy]")) form.ariaBusy = null;
  for (const button of document.querySelectorAll(".is-waiting")) button.classList.remove("is-waiting");
});
