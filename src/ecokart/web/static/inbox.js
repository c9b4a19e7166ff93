// In the office: how many shoppers wait, the queue as it is now, and a conversation as it goes on.

const FADES = 6000;
const NOTICED = 1500;
const TOGETHER = 300; // changes that come at once are looked at once
const DESK = "staff-desk";

const tabs = document.querySelector("[data-line]");
const talk = document.querySelector("[data-room]");
const { Line } = await import(tabs.dataset.line);
const hear = { room: look, line: ({ open }) => open && look() };
const rooms = [{ action: "join", roomId: DESK }];
let looking;

if (talk) converse(talk);
const line = new Line((frame) => hear[frame.type]?.(frame), (known) => rooms.filter(({ roomId }) => !known.has(roomId)));

function look() {
  looking ??= setTimeout(async () => {
    looking = undefined;
    if (!navigator.onLine) return; // the line looks again when it stands
    try {
      await Promise.all([count(), list()]);
    } catch {
      // no answer at the moment: the same
    }
  }, TOGETHER);
}

async function count() {
  const { waiting } = await (await fetch("/admin/chat/count")).json();
  const badge = tabs.querySelector("[data-waiting-count]");
  badge.textContent = waiting;
  badge.hidden = !waiting;
}

async function list() {
  const shown = document.querySelector("[data-queue]");
  if (!shown || shown.contains(document.activeElement)) return; // nobody's place is taken from them
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  shown.replaceWith(page.querySelector("[data-queue]"));
}

function converse(part) {
  const { room, notes, me, owner, last, lastNote } = part.dataset;
  const find = (name) => part.querySelector(`[data-${name}]`);
  const [entries, log, form] = [find("entries"), find("log"), find("answer")];
  const field = form?.elements.content;
  const written = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });
  let fading, breaking, typed;

  rooms.push({ action: "resume", roomId: room, after: Number(last) });
  rooms.push({ action: "resume", roomId: notes, after: Number(lastNote) });

  hear.message = ({ message }) => {
    const { roomId, sequence, refers, clientMessageId } = message;
    document.getElementById(clientMessageId)?.remove();
    if (refers) {
      const gone = entries.querySelector(`[data-entry="${roomId}/${refers}"] .chat-text`);
      if (gone) gone.textContent = part.dataset.gone;
    } else {
      const item = place(message, message.username, roomId === notes ? "is-note" : message.userId === owner ? "" : "is-mine");
      item.dataset.entry = `${roomId}/${sequence}`;
    }
    fade("");
    seen();
  };
  hear.again = () => location.reload();
  hear.typing = (frame) => frame.userId !== me && fade(frame.typing ? frame.username : "");
  hear["caught up"] = ({ roomId }) => {
    for (const message of line.unsent(roomId)) wait(message);
    seen();
  };
  hear.error = ({ clientMessageId }) => {
    const item = document.getElementById(clientMessageId);
    if (!item) return;
    field.value ||= item.querySelector(".chat-text").textContent;
    item.remove();
    find("state").textContent = part.dataset.refused;
  };
  hear.line = ({ open }) => {
    if (!open) return (breaking ??= setTimeout(() => (find("state").textContent = part.dataset.waiting), NOTICED));
    breaking = clearTimeout(breaking);
    find("state").textContent = "";
    look();
  };

  form?.addEventListener("submit", (event) => {
    if (event.submitter?.hasAttribute("formaction")) return; // a note goes as the form that it is
    event.preventDefault();
    const text = field.value.trim();
    if (!text) return;
    wait(line.send(room, text));
    field.value = "";
    typed = 0;
  });
  field?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  field?.addEventListener("input", () => {
    if (Date.now() - (typed ?? 0) < FADES / 2) return;
    typed = Date.now();
    line.say({ action: "typing", roomId: room });
  });
  find("canned")?.addEventListener("change", (event) => {
    const { text } = event.target.selectedOptions[0].dataset;
    if (text) field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    event.target.value = "";
    field.focus();
  });
  document.addEventListener("visibilitychange", seen);
  log.scrollTop = log.scrollHeight;

  function place({ content, createdAt, at }, name, kind) {
    const item = document.createElement("li");
    item.className = `chat-entry ${kind}`;
    const words = { who: name, text: content, when: written.format(new Date(createdAt ?? at)) };
    for (const [part, text] of Object.entries(words)) {
      item.append(Object.assign(document.createElement("span"), { className: `chat-${part}`, textContent: text }));
    }
    entries.insertBefore(item, kind.includes("is-waiting") ? null : entries.querySelector(".is-waiting"));
    log.scrollTop = log.scrollHeight;
    return item;
  }

  function wait(message) {
    if (!document.getElementById(message.clientMessageId)) place(message, "", "is-mine is-waiting").id = message.clientMessageId;
  }

  function fade(name) {
    clearTimeout(fading);
    find("typing").textContent = name && part.dataset.typing.replace("NAME", name);
    if (name) fading = setTimeout(() => fade(""), FADES);
  }

  // Who looks has read it.
  function seen() {
    const newest = [...entries.querySelectorAll(`[data-entry^="${room}/"]`)].at(-1)?.dataset.entry.split("/")[1];
    if (!document.hidden && newest) line.say({ action: "read", roomId: room, sequence: Number(newest) });
  }
}
