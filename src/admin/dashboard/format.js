// How values are written. Nothing here knows where they come from. All of it returns plain text, which
// is only ever put into the page as text.

const NOTHING = "–";
const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const CENTS = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

// Longer names are cut in the middle: their ends tell them apart.
const LONGEST_NAME = 72;
const END_OF_NAME = 40;

// Three digits, or all that stand before the point.
function digits(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 99.95) return GROUPED.format(value);
  return value.toFixed(size >= 9.995 ? 1 : 2);
}

function bytes(value) {
  let [rest, unit] = [value, 0];
  while (Math.abs(rest) >= 1023.5 && unit < BYTES.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? GROUPED.format(rest) : digits(rest)} ${BYTES[unit]}`;
}

function latency(seconds) {
  return seconds < 0.9995 ? `${digits(seconds * 1000)} ms` : `${digits(seconds)} s`;
}

// The two largest units.
function duration(seconds) {
  if (seconds < 59.95) return `${Number.isInteger(seconds) ? seconds : digits(seconds)} s`;
  const whole = Math.floor(seconds);
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = Math.max(0, parts.findIndex(([count]) => count > 0));
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(" ");
}

function money(dollars, currency) {
  let text = "0.00";
  if (dollars >= 0.995) text = CENTS.format(dollars);
  else if (dollars >= 0.000001) text = dollars.toPrecision(3);
  else if (dollars > 0) text = "< 0.000001";
  return `${text} ${currency}`;
}

function two(number) {
  return String(number).padStart(2, "0");
}

// The time of day; with the date when it is another day than `now`.
function moment(seconds, now, withSeconds = true) {
  const [at, today] = [new Date(seconds * 1000), new Date(now * 1000)];
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}${withSeconds ? `:${two(at.getSeconds())}` : ""}`;
  if (at.toDateString() === today.toDateString()) return clock;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
}

// A map of counts, the largest first, without zeros.
function counts(map) {
  const some = Object.entries(map).filter(([, count]) => count > 0);
  some.sort(([, a], [, b]) => b - a);
  return some.map(([name, count]) => `${GROUPED.format(count)} ${words(name)}`).join(", ") || "none";
}

// A word of a label, as people write it.
function words(name) {
  return visible(String(name)).replaceAll("_", " ");
}

// What would not show, or would turn the line around, is written as an escape.
function visible(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]/gu, (character) =>
    `\\u{${character.codePointAt(0).toString(16)}}`);
}

function shortened(text) {
  const characters = Array.from(text);
  if (characters.length <= LONGEST_NAME) return text;
  const start = characters.slice(0, LONGEST_NAME - END_OF_NAME - 1).join("");
  return `${start}…${characters.slice(-END_OF_NAME).join("")}`;
}

// `context` has the currency and the time at which the figures were true.
function format(kind, value, context) {
  if (value === null || value === undefined) return NOTHING;
  switch (kind) {
    case "count": return GROUPED.format(value);
    case "number": return digits(value);
    case "bytes": return bytes(value);
    case "ratio": return `${(value * 100).toFixed(1)} %`;
    case "factor": return `${digits(value)} ×`;
    case "latency": return latency(value);
    case "duration": return duration(value);
    case "money": return money(value, context.currency);
    case "time": return moment(value, context.now);
    case "map": return counts(value);
    case "list": return value.map((item) => visible(String(item))).join(", ") || "none";
    case "state": return words(value);
    default: return visible(String(value));
  }
}

// With what follows it: "req/s" stands apart, "/s" does not.
function withUnit(text, unit) {
  if (!unit || text === NOTHING) return text;
  return unit.startsWith("/") ? text + unit : `${text} ${unit}`;
}
