// What the kernel has sent, ready to draw. Traits that come as gzip JSON are inflated here, one at a
// time and always the newest; every part listens to the store and none to the model itself.

const PACKED = ["_base", "_texts", "_examples", "_prompt"];
const PLAIN = ["_status", "_tail", "_stats", "selected"];

/** Inflate gzip bytes and parse them; null for no bytes. */
export async function unpack(bytes) {
  if (!bytes || !bytes.byteLength) return null;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

export class Store {
  constructor(model) {
    this.model = model;
    this.values = {};
    this.listeners = new Map();
    this.pending = new Set(); // packed traits that changed since they were last inflated
    this.busy = new Set();
    this.closed = false;
    this.handlers = [...PACKED.map((name) => [name, () => this.inflate(name)]), ...PLAIN.map((name) => [name, () => this.read(name)])];
    for (const [name, handler] of this.handlers) {
      model.on(`change:${name}`, handler);
      handler();
    }
  }

  get(name) {
    return this.values[name] ?? null;
  }

  /** Call `handler(value)` now and at every change of the named value. */
  on(name, handler) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(handler);
    handler(this.get(name));
    return () => this.listeners.get(name).delete(handler);
  }

  set(name, value) {
    this.values[name] = value;
    for (const handler of this.listeners.get(name) ?? []) handler(value);
  }

  read(name) {
    this.set(name, this.model.get(name) ?? null);
  }

  /** While one version is inflated others may come: only the newest of them is inflated next. */
  async inflate(name) {
    this.pending.add(name);
    if (this.busy.has(name)) return;
    this.busy.add(name);
    while (this.pending.delete(name) && !this.closed) {
      let value;
      try {
        value = await unpack(this.model.get(name));
      } catch {
        continue; // damaged bytes: what is shown stays, the next version comes
      }
      if (!this.closed) this.set(name, value);
    }
    this.busy.delete(name);
  }

  /** Select a trial (or none) in every view of this run. */
  select(trial) {
    const next = trial === this.get("selected") ? null : trial;
    this.model.set("selected", next);
    this.model.save_changes();
    if (this.get("selected") !== next) this.read("selected");
  }

  close() {
    this.closed = true;
    for (const [name, handler] of this.handlers) this.model.off(`change:${name}`, handler);
    this.listeners.clear();
  }
}
