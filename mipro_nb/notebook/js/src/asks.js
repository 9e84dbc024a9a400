// Questions to the kernel and their answers. A kernel that runs a cell answers late: after two
// seconds the asker is told so, and the late answer is still taken.

const PATIENCE = 2000;

export class Asks {
  constructor(model) {
    this.model = model;
    this.open = new Map();
    // answers go to every view of the model, so numbers must differ between views and pages
    this.next = Math.floor(Math.random() * 2 ** 40);
    this.receive = (content) => {
      const asked = this.open.get(content?.to);
      if (!asked) return;
      this.forget(content.to);
      asked.onReply(content);
    };
    model.on("msg:custom", this.receive);
  }

  tell(message) {
    this.model.send(message);
  }

  /** Ask; `onSlow` is called when no answer has come for a while. Returns a function that forgets the question. */
  ask(message, onReply, onSlow = () => {}) {
    const number = this.next++;
    this.open.set(number, { onReply, timer: setTimeout(onSlow, PATIENCE) });
    this.model.send({ ...message, ask: number });
    return () => this.forget(number);
  }

  forget(number) {
    clearTimeout(this.open.get(number)?.timer);
    this.open.delete(number);
  }

  close() {
    this.model.off("msg:custom", this.receive);
    for (const number of [...this.open.keys()]) this.forget(number);
  }
}
