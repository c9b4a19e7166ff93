// The shopper's side of the chat: a dialog in the corner of any page.

const FADES = 6000;
const NOTICED = 1500; // a shorter break of the line is nobody's business
const written = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });

export async function begin(opener) {
  const answer = await fetch(`/chat/widget?page=${encodeURIComponent(location.pathname)}`);
  if (!answer.ok) throw new Error(answer.statusText);
  document.body.insertAdjacentHTML("beforeend", await answer.text()); // ours: what people write isn't in it
  const dialog = document.getElementById("chat");
  const { Line, quietly } = await import(dialog.dataset.line);
  return new Chat(opener, dialog, Line, quietly);
}

class Chat {
  #last = 0; // the newest number here
  #read = 0; // how far the shopper has read
  #unread = 0;

  constructor(opener, dialog, Line, quietly) {
    const find = (name) => dialog.querySelector(`[data-chat-${name}]`);
    const [button, badge] = opener.querySelectorAll("button, .count");
    Object.assign(this, { dialog, find, quietly, button, badge, texts: dialog.dataset });
    Object.assign(this, { entries: find("entries"), log: find("log"), field: find("field") });
    this.field.value = quietly(() => sessionStorage.getItem("chat-draft")) ?? "";
    this.field.onkeydown = (event) => this.#key(event);
    this.field.oninput = () => this.#typing();
    this.field.form.onsubmit = (event) => this.#send(event);
    find("older").onclick = () => this.#line.ask({ action: "getMessages", roomId: this.room, before: this.#first });
    find("close").onclick = () => this.toggle();
    dialog.addEventListener("keydown", ({ key }) => key === "Escape" && this.toggle());
    document.addEventListener("visibilitychange", () => this.#seen());
    if (quietly(() => sessionStorage.getItem("chat-open"))) this.#show(true); // as on the page before
    const instead = () => import(this.texts.posts).then(({ Posts }) => Posts);
    const opening = { action: "openSupport", context: JSON.parse(this.texts.context) };
    this.#line = new Line((frame) => this.#hear[frame.type]?.(frame), (known) => (known.size ? [] : [opening]), instead);
  }

  #line;

  toggle() {
    const open = !this.dialog.open;
    this.#show(open);
    (open ? this.field : this.button).focus();
    this.#keep("chat-open", open ? "1" : "");
  }

  #show(open) {
    this.dialog[open ? "show" : "close"]();
    this.button.ariaExpanded = open;
    this.#toEnd();
    this.#seen();
  }

  #hear = {
    welcome: ({ userId }) => (this.me = userId),
    room: ({ roomId }) => (this.room = roomId),
    line: ({ open }) => this.#stands(open),
    ended: () => this.#say("ended"),
    again: () => this.entries.replaceChildren(),
    message: ({ message }) => this.#place(message, this.entries.querySelector(".is-waiting")),
    messages: (frame) => this.#older(frame),
    typing: (frame) => frame.userId !== this.me && this.#fade(frame.typing ? frame.username : ""),
    error: (frame) => this.#refused(frame),
    joined: ({ read }) => {
      this.log.ariaBusy = "true"; // what was said before isn't read aloud
      this.#read = Math.max(this.#read, read.find((one) => one.userId === this.me)?.sequence ?? 0);
    },
    "caught up": () => {
      for (const message of this.#line.unsent(this.room)) this.#wait(message);
      this.find("older").hidden = !(this.#first > 1);
      this.log.ariaBusy = null;
      this.#toEnd();
      this.#seen();
      if (this.eager) this.#send();
    },
  };

  get #first() {
    return Number(this.entries.querySelector("[data-sequence]")?.dataset.sequence);
  }

  #place(entry, before) {
    const { sequence, refers } = entry;
    const mine = entry.userId === this.me;
    if (mine && before?.id === entry.clientMessageId) before = before.nextSibling;
    document.getElementById(entry.clientMessageId)?.remove();
    const item = this.#item(mine ? "" : entry.username, entry.redacted ? this.texts.gone : entry.content, entry.createdAt);
    item.hidden = Boolean(refers);
    item.dataset.sequence = sequence;
    item.classList.toggle("is-mine", mine);
    this.entries.insertBefore(item, before);
    const gone = refers && this.entries.querySelector(`[data-sequence="${refers}"] .chat-text`);
    if (gone) gone.textContent = this.texts.gone;
    if (sequence < this.#last) return;
    this.#last = sequence;
    this.#fade("");
    this.#toEnd();
    if (!this.log.ariaBusy) this.#seen();
  }

  #older(frame) {
    const top = this.entries.firstElementChild;
    for (const entry of frame.messages) this.#place(entry, top);
    this.find("older").hidden = !frame.more;
  }

  #item(name, text, at) {
    const item = this.find("entry").content.firstElementChild.cloneNode(true);
    [name, text, written.format(new Date(at))].forEach((words, place) => (item.children[place].textContent = words));
    return item;
  }

  #wait({ content, at, clientMessageId: id }) {
    if (document.getElementById(id)) return;
    const item = Object.assign(this.#item("", content, at), { id });
    item.classList.add("is-mine", "is-waiting");
    this.entries.append(item);
    this.#toEnd();
  }

  #send(event) {
    event?.preventDefault();
    const text = this.field.value.trim();
    this.eager = !this.room; // then it goes as soon as there is one
    if (!text || this.eager) return;
    this.#wait(this.#line.send(this.room, text));
    this.field.value = "";
    this.typed = 0;
    this.#keep("chat-draft", "");
    this.quietly(() => localStorage.setItem("chat-talked", Date.now()));
  }

  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.field.form.requestSubmit();
  }

  #typing() {
    this.#keep("chat-draft", this.field.value);
    if (!this.room || Date.now() - (this.typed ?? 0) < FADES / 2) return;
    this.typed = Date.now();
    this.#line.say({ action: "typing", roomId: this.room });
  }

  #fade(name) {
    clearTimeout(this.fading);
    this.find("typing").textContent = name && this.texts.typing.replace("NAME", name);
    if (name) this.fading = setTimeout(() => this.#fade(""), FADES);
  }

  // What can't be stored comes back into the field, with a sentence why.
  #refused({ code, clientMessageId }) {
    const item = document.getElementById(clientMessageId);
    if (!item) return;
    this.field.value ||= item.querySelector(".chat-text").textContent;
    item.remove();
    this.#say(code in this.texts ? code : "refused");
  }

  #stands(open) {
    if (open) this.breaking = clearTimeout(this.breaking);
    else this.breaking ??= setTimeout(() => this.#say("waiting"), NOTICED);
    if (open) this.#say("");
  }

  #say(name) {
    this.find("state").textContent = this.texts[name] ?? "";
  }

  // Who looks has read it; for who doesn't, the button counts.
  #seen() {
    if (this.dialog.open && !document.hidden && this.#last > this.#read) {
      this.#read = this.#last;
      this.#line.say({ action: "read", roomId: this.room, sequence: this.#last });
    }
    const theirs = this.entries.querySelectorAll("li:not(.is-mine, [hidden])");
    const unread = [...theirs].filter((item) => item.dataset.sequence > this.#read).length;
    if (unread > this.#unread) document.querySelector("[data-announce]").textContent = this.texts.answered;
    this.#unread = unread;
    this.badge.textContent = unread;
    this.badge.hidden = !unread;
  }

  #toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
  }

  #keep(name, text) {
    this.quietly(() => sessionStorage.setItem(name, text));
  }
}
