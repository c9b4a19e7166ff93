// The line to the chat: connects whenever it is lost, goes on behind the last number it has, and keeps
// what is sent until it is stored.

const BEAT = 25_000;
const PATIENCE = 8000;
const WAKING = 3000; // after sleep most lines that look open are gone
const LONGEST_PAUSE = 30_000;
const BLOCKED = 3; // so often none stood: there is something between that lets no WebSocket through
const UNSENT = "chat-unsent:";
const KNOWN_FOR = 6 * 86_400_000; // so long the shop knows a message that it has already
const TRY_AGAIN = ["too_many", "too_fast", "unavailable", "conflict"];

// A browser may keep nothing for us; then it is undefined.
export function quietly(act) {
  try {
    return act();
  } catch {
    return undefined;
  }
}

export class Line {
  #known = new Map(); // rooms, with the last number we have of each
  #unsent = new Map(stored().map((message) => [message.clientMessageId, message]));
  #sending = "";
  #tries = 0;

  // `tell` hears each frame, and {type: "line", open}, "ended", "caught up" and "again": forget what you
  // show of that room. `opening` gives what to ask for when a line stands, beside the rooms that are known.
  // Where no WebSocket has ever stood, `instead` gives a class that does without (see chat-posts.js).
  constructor(tell, opening, instead) {
    Object.assign(this, { tell, opening, instead });
    const wake = () => this.#wake();
    addEventListener("online", wake);
    addEventListener("offline", () => this.#lost());
    addEventListener("pageshow", wake);
    document.addEventListener("visibilitychange", wake);
    setInterval(() => this.ask({ action: "ping" }), BEAT);
    this.#connect();
  }

  unsent(roomId) {
    return [...this.#unsent.values()].filter((message) => message.roomId === roomId);
  }

  send(roomId, content) {
    const clientMessageId = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const message = { roomId, content, clientMessageId, at: Date.now() };
    this.#unsent.set(clientMessageId, message);
    quietly(() => localStorage.setItem(UNSENT + clientMessageId, JSON.stringify(message)));
    this.#push();
    return message;
  }

  // Without an answer in time the line is lost.
  ask(frame, patience = PATIENCE) {
    if (this.say(frame)) this.late ??= setTimeout(() => this.#lost(), patience);
  }

  say(frame) {
    const open = this.socket?.readyState === WebSocket.OPEN;
    if (open) this.socket.send(JSON.stringify(frame));
    return open;
  }

  #connect() {
    this.again = clearTimeout(this.again);
    if (this.stood || this.#tries < BLOCKED || !this.instead) this.#over(WebSocket);
    else this.instead().then((Socket) => this.#over(Socket), () => this.#lost());
  }

  #over(Socket) {
    const socket = (this.socket = new Socket(`${location.origin.replace("http", "ws")}/chat`));
    this.late = setTimeout(() => this.#lost(), PATIENCE);
    socket.onmessage = (event) => socket === this.socket && this.#hear(JSON.parse(event.data));
    socket.onclose = ({ code }) => {
      if (socket !== this.socket) return;
      if (code !== 4401) return this.#lost();
      this.late = clearTimeout(this.late);
      this.tell({ type: "ended" });
    };
  }

  #wake() {
    if (this.again) this.#connect();
    else this.ask({ action: "ping" }, WAKING);
  }

  #lost() {
    const socket = this.socket;
    this.late = clearTimeout(this.late);
    this.socket = null;
    this.#sending = "";
    socket?.close();
    this.tell({ type: "line", open: false });
    const pause = Math.min(500 * 2 ** this.#tries++, LONGEST_PAUSE);
    clearTimeout(this.again);
    this.again = setTimeout(() => (navigator.onLine ? this.#connect() : this.#lost()), pause * (0.5 + Math.random()));
  }

  #hear(frame) {
    this.late = clearTimeout(this.late);
    if (frame.type === "joined") this.#joined(frame);
    else if (frame.type === "message") this.#take(frame.message);
    else if (frame.type === "error") this.#failed(frame);
    else this.tell(frame);
    if (frame.type === "welcome") this.#begin();
    if (frame.type === "ack") this.#done(frame);
  }

  #begin() {
    this.#tries = 0;
    this.stood = this.socket instanceof WebSocket;
    this.tell({ type: "line", open: true });
    for (const [roomId, after] of this.#known) this.ask({ action: "resume", roomId, after });
    for (const frame of this.opening(this.#known)) this.ask(frame);
  }

  #joined(frame) {
    const { roomId, entries, sequence } = frame;
    if (!frame.recovered) {
      this.#known.delete(roomId);
      this.tell({ type: "again", roomId });
      return this.ask({ action: "join", roomId });
    }
    if (!this.#known.has(roomId)) this.#known.set(roomId, (entries[0]?.sequence ?? sequence + 1) - 1);
    this.tell(frame);
    for (const entry of entries) this.#take(entry);
    this.tell({ type: "caught up", roomId });
    this.#push();
  }

  #take(message) {
    if (!(message.sequence > this.#known.get(message.roomId))) return;
    this.#known.set(message.roomId, message.sequence);
    this.tell({ type: "message", message });
  }

  #done({ clientMessageId }) {
    this.#unsent.delete(clientMessageId);
    quietly(() => localStorage.removeItem(UNSENT + clientMessageId));
    this.#sending = "";
    this.#push();
  }

  // One after the other, so that they stay in order.
  #push() {
    const next = [...this.#unsent.values()].find((message) => this.#known.has(message.roomId));
    if (!next || this.#sending || !this.socket) return;
    this.#sending = next.clientMessageId;
    this.ask({ action: "sendMessage", ...next, at: undefined });
  }

  #failed(frame) {
    const closed = frame.code === "room_closed";
    if (!closed && !TRY_AGAIN.includes(frame.code)) {
      this.tell(frame);
      return frame.clientMessageId && this.#done(frame);
    }
    if (!this.#sending) return this.#lost(); // it was a room that couldn't be had
    this.#sending = "";
    if (closed) this.ask({ action: "openSupport" });
    else setTimeout(() => this.#push(), (frame.retryAfterSeconds || 2) * 1000);
  }
}

// Each has a key of its own, so that tabs don't overwrite each other's.
function stored() {
  const found = quietly(() => Object.keys(localStorage).filter((key) => key.startsWith(UNSENT))) ?? [];
  return found
    .map((key) => JSON.parse(localStorage.getItem(key)))
    .filter((message) => Date.now() - message.at < KNOWN_FOR)
    .sort((one, other) => one.at - other.at);
}
