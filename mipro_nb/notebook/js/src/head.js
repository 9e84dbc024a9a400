// Name, state, time and the buttons.

import { attr, button, el, icon, setIcon, setText, show } from "./dom.js";
import { duration, isNumber } from "./format.js";

const STATES = {
  waiting: ["Waiting for your go", "wait"], running: ["Running", "run"], paused: ["Paused", "pause"], stopping: ["Stopping", "stop"],
  finished: ["Finished", "done"], stopped: ["Stopped", "stop"], failed: ["Failed", "fail"],
};
const SILENCE = 75; // seconds without a word from the kernel (its heart beats every 30) until it is said

export function head(session) {
  const badgeIcon = icon("wait");
  const word = el("span");
  const badge = el("span", { class: "mipro-badge" }, badgeIcon, word);
  const reason = el("span", { class: "mipro-reason mipro-said" });
  const name = el("h2", { class: "mipro-name mipro-said" });
  const clock = el("p", { class: "mipro-clock" });
  const actions = buttons(session);
  const node = el("header", { class: "mipro-head" }, el("div", { class: "mipro-title" }, name, badge, reason), clock, actions.node);

  let heard = performance.now();
  let beat = null;
  const tick = () => {
    setText(clock, clockText(session.status, (performance.now() - heard) / 1000));
    show(clock, clock.textContent !== "");
  };
  const timer = setInterval(tick, 1000);
  session.onClose(() => clearInterval(timer));
  return {
    node,
    update(status) {
      const print = `${status.beat} ${status.elapsed} ${status.left} ${status.state}`;
      if (print !== beat) heard = performance.now();
      beat = print;
      const [text, sign] = STATES[status.state] ?? [status.state ?? "", "wait"];
      setText(name, status.program || "Program");
      setText(word, text);
      setIcon(badgeIcon, sign);
      attr(badge, "data-state", status.state);
      setText(reason, status.reason ?? "");
      show(reason, Boolean(status.reason));
      tick();
      actions.update(status);
    },
  };
}

/** While it runs the clock goes on by itself between two updates. */
function clockText(status, since) {
  if (status.state === "waiting" || !isNumber(status.elapsed)) return "";
  const running = status.state === "running" || status.state === "stopping";
  const passed = since * (status.pace ?? 1); // a replay's clock runs faster
  if (running && since > SILENCE) return `No word from the kernel for ${duration(since)}`;
  const elapsed = `${duration(status.elapsed + (running ? passed : 0))} elapsed`;
  if (!running || !isNumber(status.left)) return elapsed;
  const left = status.left - passed;
  return left > 1 ? `${elapsed} · about ${duration(left)} left in this stage` : elapsed;
}

function buttons(session) {
  const send = (message, label) => (event) => {
    const node = event.currentTarget;
    session.asks.tell(typeof message === "function" ? message() : message);
    // until the kernel's answer changes the state, once is enough
    attr(node, "aria-disabled", "true");
    node.querySelector("span").textContent = label;
    setTimeout(() => refresh(session.status, true), 4000);
  };
  const guarded = (handler) => (event) => event.currentTarget.getAttribute("aria-disabled") !== "true" && handler(event);
  const start = button("Start", guarded(send({ do: "start" }, "Starting…")), { name: "run", kind: "mipro-primary" });
  const pause = button("Pause", guarded((event) => (session.status.state === "paused" ? send({ do: "unpause" }, "Going on…") : send({ do: "pause" }, "Pausing…"))(event)), { name: "pause" });
  const stop = button("Stop and keep the best", guarded(send({ do: "stop" }, "Stopping…")), { name: "stop" });
  const number = el("input", { type: "number", min: "1", max: "1000", step: "1", value: "10", class: "mipro-input mipro-number" });
  const wanted = () => Math.min(1000, Math.max(1, Math.round(Number(number.value)) || 10));
  const extend = button("Extend", guarded(send(() => ({ do: "extend", n: wanted() }), "Extending…")), { name: "add" });
  const more = el("span", { class: "mipro-extend" }, extend, el("label", { class: "mipro-inline" }, "by ", number, " trials"));
  const node = el("div", { class: "mipro-actions", role: "group", "aria-label": "Control of the run" }, start, pause, stop, more);

  let shown = null;
  function refresh(status, again = false) {
    const { state } = status;
    const print = `${state} ${Boolean(status.extendable)} ${Boolean(status.again)}`;
    if (print === shown && !again) return; // a pressed button keeps its "Pausing…" until the state changes
    shown = print;
    const focused = node.contains(document.activeElement) ? document.activeElement : null;
    const over = state === "finished" || state === "stopped" || state === "failed";
    for (const [one, label] of [[start, "Start"], [pause, state === "paused" ? "Go on" : "Pause"], [stop, state !== "stopping" ? "Stop and keep the best" : status.again ? "End now" : "Stopping…"], [extend, "Extend"]]) {
      setText(one.querySelector("span"), label);
      attr(one, "aria-disabled", one === stop && state === "stopping" && !status.again ? "true" : null);
    }
    setIcon(pause.querySelector("svg"), state === "paused" ? "run" : "pause");
    attr(pause, "class", `mipro-button ${state === "paused" ? "mipro-primary" : ""}`.trim());
    show(start, state === "waiting");
    show(pause, state === "running" || state === "paused");
    show(stop, state === "running" || state === "paused" || state === "stopping");
    show(more, over && Boolean(status.extendable));
    // the button that had the focus is gone: the next one takes it
    if (focused?.closest("[hidden]")) [start, pause, stop, extend].find((one) => !one.closest("[hidden]"))?.focus();
  }
  return { node, update: refresh };
}
