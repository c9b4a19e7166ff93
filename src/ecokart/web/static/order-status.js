// On an order's page: looks every second how the order stands, until it stands where it ends.

const way = document.querySelector("[data-order]");
const written = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: "medium",
  timeStyle: "medium",
  timeZone: "Europe/Berlin",
});

if (way) {
  document.querySelector("[data-without-script]")?.remove();
  look();
}

async function look() {
  try {
    const response = await fetch(`/api/orders/${way.dataset.order}`);
    if (response.ok && show(await response.json())) return;
  } catch {
    // no connection at the moment; the next look may have one
  }
  setTimeout(look, document.hidden ? 10_000 : 1000);
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
  if (order.status !== "PENDING") document.querySelector("[data-while-pending]")?.remove();
  return order.status === "COMPLETED" || order.status === "CANCELLED";
}
