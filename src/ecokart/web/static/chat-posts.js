// Where no WebSocket gets through: the chat by asking and posting. To chat-line.js it looks like a socket.

const EVERY = 3000;

export class Posts {
  readyState = WebSocket.OPEN;
  #last = new Map(); // rooms, with the last number told of each

  constructor() {
    this.#asking = setInterval(() => this.#look(), EVERY);
    this.#try(async () => this.#tell({ type: "welcome", userId: (await call("/chat/rooms", {})).owner }));
  }

  #asking;

  send(text) {
    const frame = JSON.parse(text);
    this.#try(() => this.#answer[frame.action]?.(frame), frame);
  }

  close() {
    clearInterval(this.#asking);
    this.readyState = WebSocket.CLOSED;
  }

  #answer = {
    ping: () => this.#tell({ type: "pong" }),
    openSupport: async ({ context }) => {
      const room = await call("/chat/rooms", context ?? {});
      this.#tell({ type: "room", roomId: room.id });
      await this.#join(room.id, Math.max(0, room.sequence - 50));
    },
    join: ({ roomId }) => this.#join(roomId, 0),
    resume: ({ roomId, after }) => this.#join(roomId, after),
    getMessages: async ({ roomId, before }) =>
      this.#tell({ type: "messages", roomId, ...(await call(`/chat/rooms/${roomId}/messages?before=${before}`)) }),
    sendMessage: async ({ roomId, content, clientMessageId }) => {
      const stored = await call("/chat/messages", { roomId, content, clientMessageId });
      this.#tell({ type: "ack", ...stored });
      await this.#look();
    },
  };

  async #join(roomId, after) {
    const entries = await this.#behind(roomId, after);
    const sequence = entries.at(-1)?.sequence ?? after;
    this.#last.set(roomId, sequence);
    this.#tell({ type: "joined", roomId, sequence, recovered: true, entries, read: [], present: [] });
  }

  async #look() {
    await this.#try(async () => {
      for (const [roomId, after] of this.#last) {
        for (const message of await this.#behind(roomId, after)) {
          this.#last.set(roomId, Math.max(this.#last.get(roomId), message.sequence));
          this.#tell({ type: "message", message }); // one that comes twice is known by its number
        }
      }
    });
  }

  async #behind(roomId, after) {
    const { messages, more } = await call(`/chat/rooms/${roomId}/messages?after=${after}&limit=100`);
    return more && messages.length ? messages.concat(await this.#behind(roomId, messages.at(-1).sequence)) : messages;
  }

  // What is refused is told like any error; what can't be reached is a lost line.
  async #try(act, frame) {
    try {
      await act();
    } catch (error) {
      if (error.code) this.#tell({ type: "error", ...frame, code: error.code, retryAfterSeconds: error.seconds });
      else if (this.readyState === WebSocket.OPEN) this.onclose({ code: 1006 });
    }
  }

  #tell(frame) {
    if (this.readyState === WebSocket.OPEN) this.onmessage({ data: JSON.stringify(frame) });
  }
}

async function call(path, body) {
  const given = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, body && given);
  const said = await answer.json();
  if (answer.ok) return said;
  const { code } = said;
  throw Object.assign(new Error(code), { code, seconds: Number(answer.headers.get("retry-after")) });
}
