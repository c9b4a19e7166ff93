// On an order's page: whenever the order has changed, what the page says about it is fetched anew.

const AGAIN_MILLISECONDS = 30_000;
const about = () => document.querySelector("[data-order]");
const page = `/account/orders/${about().dataset.order}`;
let events;
let timer;

document.addEventListener("visibilitychange", follow);
follow();

// A page that nobody looks at lets go of its connection: a browser has only a few for one shop.
function follow() {
  events?.close();
  clearTimeout(timer);
  if (document.hidden || "final" in about().dataset) return;
  events = new EventSource(`/api/orders/${about().dataset.order}/events`);
  events.onmessage = (event) => {
    if (Number(event.lastEventId) > Number(about().dataset.facts)) renew();
  };
  // It connects again by itself, unless it was refused.
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) renew();
  };
}

// What can't be had now is tried again later, from the start.
async function renew() {
  try {
    const response = await fetch(page);
    if (!response.ok) throw new Error(response.statusText);
    show(new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-order]"));
    if (events.readyState !== EventSource.CLOSED) return;
  } catch {
    // no connection at the moment, or nobody to answer
  }
  clearTimeout(timer);
  timer = setTimeout(follow, AGAIN_MILLISECONDS);
}

// Of two answers that overtook each other, the newer one stays.
function show(fresh) {
  const shown = about();
  if (Number(fresh.dataset.facts) <= Number(shown.dataset.facts)) return;
  const focused = shown.contains(document.activeElement);
  shown.replaceWith(fresh);
  if (focused) fresh.focus();
  if (fresh.dataset.status !== shown.dataset.status) {
    document.querySelector("[data-announce]").textContent = fresh.dataset.status;
  }
  if ("final" in fresh.dataset) events.close();
}
