// On an order's page: shows every step of the order as it is taken, until it stands where it ends.

const FINAL = ["COMPLETED", "CANCELLED", "REFUNDED", "FAILED"];
const way = document.querySelector("[data-order]");
const written = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: "medium",
  timeStyle: "medium",
  timeZone: "Europe/Berlin",
});

if (way) {
  document.querySelector("[data-without-script]")?.remove();
  follow();
}

// The browser connects again by itself, unless it was refused: then the page looks now and then.
function follow() {
  const events = new EventSource(`/api/orders/${way.dataset.order}/events`);
  events.onmessage = (event) => {
    if (show(JSON.parse(event.data))) events.close();
  };
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) look();
  };
}

async function look() {
  try {
    const response = await fetch(`/api/orders/${way.dataset.order}`);
    if (response.ok && show(await response.json())) return;
  } catch {
    // no connection at the moment; the next look may have one
  }
  setTimeout(look, document.hidden ? 10_000 : 2000);
}

// Marks the steps that were taken; says whether there are more to come.
function show(order) {
  for (const step of order.history) {
    const item = way.querySelector(`[data-status="${step.status}"]`);
    if (!item || item.classList.contains("is-done")) continue;
    item.hidden = false;
    item.classList.add("is-done");
    item.querySelector("time").textContent = written.format(new Date(step.at));
    document.querySelector("[data-announce]").textContent = item.querySelector(".way-name").textContent;
  }
  if (order.status !== "PENDING") {
    for (const part of document.querySelectorAll("[data-while-pending]")) part.remove();
  }
  return FINAL.includes(order.status);
}
