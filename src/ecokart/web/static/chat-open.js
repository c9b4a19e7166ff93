// On every page: the button of the chat, which is loaded when somebody wants it, or talks already.

const opener = document.querySelector("[data-chat]");
let chat;

const load = () => (chat ??= import(opener.dataset.chat).then((script) => script.begin(opener)));

opener?.addEventListener("submit", (event) => {
  event.preventDefault();
  load().then((loaded) => loaded.toggle(), () => opener.submit()); // the page for it needs no script
});

try {
  const talked = Date.now() - localStorage.getItem("chat-talked") < 86_400_000;
  if (opener && (talked || sessionStorage.getItem("chat-open"))) load().catch(() => (chat = null));
} catch {
  // a browser that keeps nothing: then it opens by the button alone
}
