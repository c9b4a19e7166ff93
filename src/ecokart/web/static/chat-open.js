// On every page: the button of the chat. The chat itself is loaded when somebody wants it, or talks already.

const opener = document.querySelector("[data-chat]");
let chat;

const load = () => (chat ??= import(opener.dataset.chat).then((script) => script.begin(opener)));

opener?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    (await load()).toggle();
  } catch {
    opener.submit(); // the page for it works without
  }
});

try {
  const talked = Date.now() - localStorage.getItem("chat-talked") < 86_400_000;
  if (opener && (talked || sessionStorage.getItem("chat-open"))) load().catch(() => (chat = undefined));
} catch {
  // a browser that keeps nothing: then it opens by the button alone
}
