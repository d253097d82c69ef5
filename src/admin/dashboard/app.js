// The page itself: asks for the figures every two seconds and writes them where index.html says. Whatever
// comes from elsewhere is written as text (`textContent`), never as markup.

const TICK = 2000;
const PATIENCE = 8000;
// Every so many ticks: what is long, or seldom changes.
const SELDOM = 5;
const ROWS_OF_TOP = 10;
const TOKEN = "s3proxy-admin-token";
const THEME = "s3proxy-theme";
const THEMES = ["auto", "light", "dark"];
// A process whose start moved by more than this is another one.
const SAME_START = 2;
const FILES_ALMOST_OUT = 0.8;

const find = (selector) => document.querySelector(selector);
const all = (selector, inside = document) => Array.from(inside.querySelectorAll(selector));

class Refused extends Error {}

const state = {
  stats: null, top: null, ready: null, config: null,
  resolution: "second", by: "requests",
  past: { second: new Past("second"), minute: new Past("minute") },
  paused: false, ticks: 0, timer: null, since: null, turn: 0,
};

// ---- asking

async function ask(path) {
  const token = sessionStorage.getItem(TOKEN);
  // No field of a request can say that, so it is not the token.
  if (token && /[^!-~]/.test(token)) throw new Refused();
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status === 401) throw new Refused();
  // Not ready is an answer, too.
  if (!answer.ok && answer.status !== 503) throw new Error(`${path} is answered with ${answer.status}`);
  return answer.json();
}

async function askStats() {
  const past = state.past[state.resolution];
  const since = past.latest === null ? "" : `&since=${past.latest}`;
  const stats = await ask(`/-/stats?history=${state.resolution}${since}`);
  if (state.stats && isOther(state.stats, stats)) {
    state.past = { second: new Past("second"), minute: new Past("minute") };
    state.stats = null;
    return askStats();
  }
  return stats;
}

// Whether another process answered than before: after an upgrade or a restart counters begin again. Or the
// clock was set back.
function isOther(before, now) {
  const start = (stats) => stats.time - stats.uptime_seconds;
  return Math.abs(start(before) - start(now)) > SAME_START || now.time < before.time;
}

async function tick() {
  clearTimeout(state.timer);
  const turn = (state.turn += 1);
  const isSeldom = state.ticks % SELDOM === 0;
  try {
    const seldom = isSeldom ? [ask(`/-/top?by=${state.by}&limit=${ROWS_OF_TOP}`), ask("/-/config")] : [];
    const answers = await Promise.all([askStats(), ask("/readyz"), ...seldom]);
    // Somebody chose something else meanwhile.
    if (turn !== state.turn) return;
    [state.stats, state.ready] = answers;
    state.past[state.resolution].add(state.stats.history);
    if (isSeldom) [, , state.top, state.config] = answers;
    state.ticks += 1;
    state.since = null;
    showToken(false);
    render();
  } catch (error) {
    if (turn !== state.turn) return;
    state.ticks = 0;
    if (error instanceof Refused) showToken(true);
    else unreachable();
  }
  schedule();
}

function schedule() {
  clearTimeout(state.timer);
  const isIdle = state.paused || document.hidden || !find("#token").hidden;
  if (!isIdle) state.timer = setTimeout(tick, TICK);
}

// ---- finding values

// The value of "stats.path" or "top:path"; undefined where there is none.
function lookup(path) {
  const [, source, rest] = /^(?:(\w+):)?(.*)$/.exec(path);
  return rest.split(".").reduce((value, name) => value?.[name], state[source ?? "stats"]);
}

// The same of "a / b", which is nothing when b is.
function evaluate(expression) {
  if (!expression.includes(" / ")) return lookup(expression);
  const [part, whole] = expression.split(" / ").map(lookup);
  return whole > 0 ? part / whole : null;
}

const context = () => ({ currency: state.stats.saved.currency, now: state.stats.time });

// ---- writing them

function write(element) {
  const { stat, past, format: kind, unit, missing } = element.dataset;
  let value = past ? state.past[state.resolution].overall(past) : evaluate(stat);
  if (value === undefined && missing !== undefined) value = missing;
  if (kind === "object") writeName(element, value && value.bucket + "/" + value.key);
  else if (kind === "name") writeName(element, value);
  else element.textContent = withUnit(format(kind, value, context()), unit);
}

// A name that a stranger chose. When it is long, its middle is shown on demand.
function writeName(element, name) {
  const text = format("text", name, null);
  const short = shortened(text);
  const shown = document.createElement(short === text ? "bdi" : "button");
  shown.textContent = short;
  if (short !== text) {
    shown.type = "button";
    shown.className = "name";
    shown.title = text;
    shown.setAttribute("aria-expanded", "false");
    shown.addEventListener("click", () => {
      const isOpen = shown.getAttribute("aria-expanded") === "true";
      shown.setAttribute("aria-expanded", String(!isOpen));
      shown.textContent = isOpen ? short : text;
    });
  }
  element.replaceChildren(shown);
}

// Entries of a list or map: their names and, where that is said, ordered by a count.
function entries(list, order, limit) {
  const rows = Object.entries(list ?? {});
  const weight = ([, value]) => (order ? value[order] : value);
  if (order !== undefined) rows.sort((a, b) => weight(b) - weight(a));
  return { rows: rows.slice(0, limit), more: Math.max(0, rows.length - limit) };
}

function writeList(element) {
  const { each, order, limit, none } = element.dataset;
  const template = element.querySelector("template");
  const { rows, more } = entries(lookup(each), order, limit ? Number(limit) : Infinity);
  const old = all(":scope > :not(template)", element);
  // What somebody has opened or is reading is not replaced while it says the same.
  const said = JSON.stringify([rows, more, each.startsWith("origins") ? state.ready.origins : 0]);
  if (element.dataset.said === said) return;
  element.dataset.said = said;
  for (const row of old) row.remove();
  for (const [key] of rows) {
    const row = template.content.cloneNode(true);
    for (const cell of all("[data-stat]", row)) {
      cell.dataset.stat = cell.dataset.stat.replaceAll("*", key);
      write(cell);
    }
    for (const cell of all("[data-key]", row)) cell.textContent = words(key);
    for (const cell of all("[data-probe]", row)) writeProbe(cell, lookup(each)[key].name);
    element.append(row);
  }
  if (!rows.length) element.append(remark(element, none));
  if (more) element.append(remark(element, `and ${GROUPED.format(more)} more`));
}

// A line of its own below, or instead of, the entries.
function remark(list, text) {
  const isTable = list.tagName === "TBODY";
  const line = document.createElement(isTable ? "tr" : "div");
  const cell = document.createElement(isTable ? "td" : "dt");
  if (isTable) cell.colSpan = all("thead th", list.parentElement).length;
  cell.className = "none";
  cell.textContent = text;
  line.append(cell);
  return line;
}

// What the last probe of an origin found.
function writeProbe(cell, name) {
  const origin = state.ready.origins.find((origin) => origin.name === name);
  cell.classList.toggle("bad", origin?.reachable === false);
  cell.classList.toggle("good", origin?.reachable === true);
  cell.textContent = probe(origin);
}

function probe(origin) {
  if (!origin) return "no longer served";
  if (origin.reachable === null) return "not yet";
  const word = origin.reachable ? "reached" : words(origin.error);
  return `${word}, ${duration(origin.age_secs)} ago`;
}

function writeBars() {
  for (const bar of all("[data-bar]")) {
    const part = evaluate(bar.dataset.bar) ?? 0;
    bar.style.setProperty("--part", `${Math.min(100, part * 100).toFixed(1)}%`);
  }
}

// ---- health

// What is wrong, the worst first: [how bad, what].
function troubles() {
  const { stats, ready, config } = state;
  const found = [];
  if (ready.phase !== "serving") found.push(["bad", `The process is ${words(ready.phase)}.`]);
  for (const origin of ready.origins) {
    if (origin.reachable === false) {
      found.push([ready.ready ? "warn" : "bad", `Origin ${visible(origin.name)} cannot be reached: ${words(origin.error)}.`]);
    }
    if (origin.reachable === null) found.push(["warn", `Origin ${visible(origin.name)} was not asked yet.`]);
  }
  const disk = stats.cache?.disk_state;
  if (disk === "off" || disk === "read_only") {
    found.push(["warn", `The cache on disk is ${words(disk)}${stats.cache.disk_fault ? `: ${words(stats.cache.disk_fault)}` : ""}.`]);
  }
  if (disk === "indexing") found.push(["note", "The cache on disk is indexing; it serves meanwhile."]);
  if (config?.last_reload?.ok === false) {
    found.push(["warn", "The last reload was refused; the configuration from before is in force."]);
  }
  const failed = recent("errors");
  if (failed > 0) {
    const counts = [failed, recent("requests")].map((count) => format("count", count, null));
    found.push(["warn", `${counts.join(" of ")} requests failed with 5xx within the last minute.`]);
  }
  if (stats.process.open_files > FILES_ALMOST_OUT * stats.process.max_open_files) {
    found.push(["warn", "Almost as many files are open as may be."]);
  }
  return found;
}

// By how much a counter grew in the last minute, or between the last two samples of minutes.
function recent(field) {
  const past = state.past[state.resolution];
  if (past.samples.length < 2) return 0;
  const last = past.samples[past.samples.length - 1];
  const earlier = past.samples.slice(0, -1).reverse();
  const first = earlier.find((sample) => sample[0] <= last[0] - 60) ?? earlier[earlier.length - 1];
  return past.value(last, field) - past.value(first, field);
}

function showHealth() {
  const found = troubles();
  const worst = ["bad", "warn"].find((how) => found.some(([bad]) => bad === how)) ?? "good";
  const word = { good: "Healthy", warn: "Needs attention", bad: "Not ready" }[worst];
  const reached = state.ready.origins.filter((origin) => origin.reachable).length;
  const lines = found.map(([, what]) => what);
  if (worst === "good") {
    const disk = state.stats.cache ? `disk tier ${words(state.stats.cache.disk_state)}` : "cache off";
    lines.push(`${reached} of ${state.ready.origins.length} origins reached, ${disk}.`);
  }
  say(worst, word, lines);
}

function say(how, word, lines) {
  find("#health").className = `health ${how}`;
  // Only what is new is announced.
  if (find("#health-word").textContent !== word) find("#health-word").textContent = word;
  const items = lines.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  find("#health-why").replaceChildren(...items);
  document.title = how === "good" ? "s3proxy" : `${word} – s3proxy`;
}

function unreachable() {
  state.since ??= Date.now() / 1000;
  document.body.classList.add("old");
  const at = moment(state.since, Date.now() / 1000);
  const last = state.stats
    ? `The figures are those of ${moment(state.stats.time, Date.now() / 1000)}. Asking again every ${TICK / 1000} s.`
    : `Nothing was heard yet. Asking again every ${TICK / 1000} s.`;
  say("lost", `Not reachable since ${at}`, [last]);
}

// ---- all of it

function render() {
  document.body.classList.remove("old");
  document.body.dataset.time = state.stats.time;
  for (const element of all("[data-stat], [data-past]")) {
    if (!element.closest("[data-each]")) write(element);
  }
  for (const list of all("[data-each]")) writeList(list);
  writeBars();
  find("#cache-off").hidden = Boolean(state.stats.cache);
  find("#cache-on").hidden = !state.stats.cache;
  const past = state.past[state.resolution];
  const isShort = past.length < past.range.span - past.range.bin;
  find("#span").textContent = isShort ? duration(Math.max(1, Math.round(past.length))) : find(`[data-range=${state.resolution}]`).textContent;
  drawPlots();
  showHealth();
}

function drawPlots() {
  const past = state.past[state.resolution];
  const to = past.latest ?? state.stats.time;
  const from = past.samples.length ? past.samples[0][0] : to - 60;
  for (const plot of plots) plot.take(past, from, to, context());
  showCursor();
}

// All plots show the same moment.
function showCursor() {
  for (const plot of plots) plot.show(state.cursor ?? null);
}

function point(time) {
  state.cursor = time;
  if (state.stats) showCursor();
}

// ---- what people do

function choose(group, button) {
  for (const other of all(`[data-${group}]`)) other.setAttribute("aria-pressed", String(other === button));
}

function showToken(isNeeded) {
  const form = find("#token");
  if (isNeeded) {
    const tried = sessionStorage.getItem(TOKEN);
    sessionStorage.removeItem(TOKEN);
    find("#token-wrong").textContent = tried ? "That is not the token." : "";
    say("locked", "Locked", ["The listener wants its token."]);
  }
  if (form.hidden === isNeeded) {
    form.hidden = !isNeeded;
    find("#figures").hidden = isNeeded;
    if (isNeeded) find("#token-value").focus();
  }
  find("#forget").hidden = !sessionStorage.getItem(TOKEN);
}

function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  find("#theme").textContent = `Theme: ${theme}`;
}

function listen() {
  for (const button of all("[data-range]")) {
    button.addEventListener("click", () => {
      state.resolution = button.dataset.range;
      choose("range", button);
      tick();
    });
  }
  for (const button of all("[data-by]")) {
    button.addEventListener("click", () => {
      state.by = button.dataset.by;
      state.ticks = 0;
      choose("by", button);
      tick();
    });
  }
  find("#pause").addEventListener("click", () => {
    state.paused = !state.paused;
    find("#pause").setAttribute("aria-pressed", String(state.paused));
    find("#pause").textContent = state.paused ? "Paused" : "Pause";
    // What is under way is not shown any more.
    state.turn += 1;
    if (state.paused) clearTimeout(state.timer);
    else tick();
  });
  find("#theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme;
    const theme = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    localStorage.setItem(THEME, theme);
    useTheme(theme);
  });
  find("#token").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, find("#token-value").value.trim());
    find("#token-value").value = "";
    state.ticks = 0;
    tick();
  });
  find("#forget").addEventListener("click", () => {
    sessionStorage.removeItem(TOKEN);
    location.reload();
  });
  document.addEventListener("visibilitychange", () => (document.hidden || state.paused ? schedule() : tick()));
  document.addEventListener("pointerdown", (event) => event.target.closest(".field") ?? point(null));
}

const plots = all("[data-plot]").map((figure) => new Plot(figure, point));
new ResizeObserver(() => state.stats && !find("#figures").hidden && drawPlots()).observe(find("#figures"));
useTheme(THEMES.includes(localStorage.getItem(THEME)) ? localStorage.getItem(THEME) : "auto");
listen();
tick();
