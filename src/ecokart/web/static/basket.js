// On a product's page: into the basket without leaving. Whatever goes wrong is the plain form's to say.

const form = document.querySelector("[data-put-into-basket]");

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (form.ariaBusy === "true") return;
  const button = form.querySelector("button");
  form.ariaBusy = "true";
  button.classList.add("is-waiting");
  try {
    const { sku, quantity } = Object.fromEntries(new FormData(form));
    const response = await fetch("/api/cart", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sku, quantity: Number(quantity) }),
    });
    if (!response.ok) throw new Error(response.statusText);
    show(await response.json());
    form.ariaBusy = null;
    button.classList.remove("is-waiting");
  } catch {
    form.submit();
  }
});

function show(cart) {
  const count = document.querySelector("[data-basket-count]");
  count.textContent = cart.items.reduce((sum, item) => sum + item.quantity, 0);
  count.hidden = false;
  const link = Object.assign(document.createElement("a"), { href: "/cart", textContent: form.dataset.look });
  const note = form.querySelector("[data-added-note]");
  note.replaceChildren(form.dataset.added, " ", link);
  note.hidden = false;
  form.querySelector(".alert")?.remove();
  announce(form.dataset.added);
}

// Said again only if the text changes, hence the emptying.
function announce(text) {
  const line = document.querySelector("[data-announce]");
  line.textContent = "";
  setTimeout(() => (line.textContent = text), 50);
}
