// Numbers and times as words. Scores are fractions and become percent only here.

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** 0.7125 -> "71.3%". */
export function percent(score, digits = 1) {
  return isNumber(score) ? `${(score * 100).toFixed(digits)}%` : "–";
}

/** 0.6, 0.8 -> "60.0–80.0%". */
export function range(low, high) {
  return isNumber(low) && isNumber(high) ? `${(low * 100).toFixed(1)}–${(high * 100).toFixed(1)}%` : "";
}

/** A difference of fractions in points: 0.19 -> "+19.0". */
export function signed(difference) {
  if (!isNumber(difference)) return "–";
  const points = (difference * 100).toFixed(1);
  if (Number(points) === 0) return "±0.0";
  return difference > 0 ? `+${points}` : points.replace("-", "−");
}

export function count(n) {
  return isNumber(n) ? Math.round(n).toLocaleString("en-US") : "–";
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** 12,345 -> "12.3k": tokens, where only the size matters. */
export function short(n) {
  if (!isNumber(n)) return "–";
  if (n < 10_000) return count(n);
  return n < 999_500 ? `${(n / 1000).toFixed(n < 100_000 ? 1 : 0)}k` : `${(n / 1e6).toFixed(n < 1e8 ? 2 : 0)}M`;
}

export function dollars(cost) {
  if (!isNumber(cost)) return "price unknown";
  if (cost === 0) return "$0";
  return `$${cost.toFixed(cost < 0.1 ? 4 : 2)}`;
}

export function duration(seconds) {
  if (!isNumber(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/** One line of at most `length` characters. */
export function cut(text, length) {
  // a very long text is cut first: nobody needs 50 kB run through a regular expression for one line
  const line = String(text ?? "").slice(0, length * 4).replace(/\s+/g, " ").trim();
  return line.length > length || String(text ?? "").length > length * 4 ? `${line.slice(0, length - 1)}…` : line;
}

export function words(value) {
  if (value == null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

export { isNumber };
