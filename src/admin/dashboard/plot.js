// One plot: a figure of the page whose legend says what its lines are. It draws points that it is given,
// and tells their values at one moment: in the legend, and to those who do not see it.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 168;
const MARGIN = { left: 62, right: 10, top: 8, bottom: 22 };

// Steps of the axis of time, in seconds, and how much room a label needs.
const TIME_STEPS = [5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 21600];
const TIME_LABEL = 72;

// A line breaks where nothing was measured for longer than so many steps.
const GAP_STEPS = 12;

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// The smallest of 1, 2, 5, 10, .. that is no less, or the same in powers of 1024.
function roundUp(value, isBytes) {
  let unit = 1;
  if (isBytes) while (value / unit >= 1024) unit *= 1024;
  const scale = 10 ** Math.floor(Math.log10(value / unit));
  const step = [1, 2, 5, 10].find((step) => step * scale * unit >= value * 0.9999) * scale * unit;
  return isBytes && step === unit * 1000 ? unit * 1024 : step;
}

class Plot {
  // `cursor` is told the moment that is pointed at, or null.
  constructor(figure, cursor) {
    this.figure = figure;
    this.kind = figure.dataset.plot;
    this.format = figure.dataset.format;
    this.unit = figure.dataset.unit;
    this.title = figure.querySelector("h3").textContent;
    this.series = Array.from(figure.querySelectorAll("[data-series]"), (item) => this.legend(item));
    this.cursor = cursor;
    this.build();
  }

  // Adds a key and a place for the value to an entry of the legend.
  legend(item) {
    const label = item.textContent;
    const value = document.createElement("output");
    const key = document.createElement("i");
    key.setAttribute("aria-hidden", "true");
    item.replaceChildren(key, document.createTextNode(`${label} `), value);
    const { series: expression, band } = item.dataset;
    return { expression, label: band ? `${band} ${label.split(" ").pop()}` : label, band, value, classes: item.className, points: [] };
  }

  build() {
    this.at = document.createElement("output");
    this.at.className = "at";
    this.figure.querySelector("figcaption").append(this.at);
    this.field = document.createElement("div");
    this.field.className = "field";
    this.field.tabIndex = 0;
    // Moving along the time with arrows is what a slider does; its value is read out.
    this.field.setAttribute("role", "slider");
    this.field.setAttribute("aria-label", `${this.title}: values over time`);
    this.drawing = svg("svg", { height: HEIGHT, "aria-hidden": "true", focusable: "false" });
    this.empty = document.createElement("p");
    this.empty.className = "none";
    this.field.append(this.drawing, this.empty);
    this.summary = document.createElement("p");
    this.summary.className = "hidden";
    this.summary.id = `summary-${Plot.count = (Plot.count ?? 0) + 1}`;
    this.field.setAttribute("aria-describedby", this.summary.id);
    this.figure.append(this.field, this.summary);
    const point = (event) => this.cursor(this.timeAt(event.clientX));
    this.field.addEventListener("pointermove", point);
    this.field.addEventListener("pointerdown", point);
    this.field.addEventListener("pointerleave", (event) => {
      // A finger that is lifted leaves the values standing.
      if (event.pointerType !== "touch") this.cursor(null);
    });
    this.field.addEventListener("blur", () => this.cursor(null));
    this.field.addEventListener("keydown", (event) => this.key(event));
  }

  // Takes the points of a range.
  take(past, from, to, context) {
    Object.assign(this, { from, to, context, step: past.range.step });
    for (const series of this.series) series.points = past.series(series.expression);
    this.draw();
  }

  get moments() {
    return this.series[0].points.map(([time]) => time);
  }

  // Whether there is anything to see.
  get isEmpty() {
    return this.series.every((series) => series.points.every(([, value]) => value === null));
  }

  text(value) {
    return withUnit(format(this.format, value, this.context), value === null ? "" : this.unit);
  }

  draw() {
    this.width = Math.max(200, this.field.clientWidth);
    this.drawing.setAttribute("width", this.width);
    this.drawing.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    const parts = [];
    this.empty.textContent = this.isEmpty ? this.whyEmpty() : "";
    if (this.moments.length > 1) {
      this.scale();
      parts.push(...this.axes());
      if (!this.isEmpty) parts.push(...(this.kind === "stack" ? this.areas() : this.lines()));
    }
    this.mark = svg("line", { class: "mark", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
    this.drawing.replaceChildren(...parts, this.mark);
    this.describe();
    this.show(null);
  }

  whyEmpty() {
    if (this.moments.length > 1) return "Nothing happened in this time.";
    return this.step > 1 ? "The first minutes are being counted." : "The first seconds are being counted.";
  }

  // The sums that a stack reaches, or the values themselves.
  heights() {
    if (this.kind !== "stack") return this.series.flatMap((series) => series.points.map(([, value]) => value));
    return this.moments.map((_, index) => this.series.reduce((sum, series) => sum + (series.points[index][1] ?? 0), 0));
  }

  scale() {
    const heights = this.heights().filter((value) => value !== null);
    const most = Math.max(0, ...heights);
    if (this.kind === "log") {
      const above = heights.filter((value) => value > 0);
      const least = above.length ? Math.min(...above) : 0.001;
      this.low = Math.floor(Math.log10(least));
      this.high = Math.max(this.low + 1, Math.ceil(Math.log10(most || 0.01)));
      this.ticks = Array.from({ length: this.high - this.low + 1 }, (_, index) => 10 ** (this.low + index));
      return;
    }
    const whole = this.figure.dataset.most ? Number(this.figure.dataset.most) : null;
    const isWhole = this.format === "count";
    const step = whole ? whole / 4 : roundUp(most > 0 ? Math.max(most / 4, isWhole ? 1 : 0) : 1, this.format === "bytes");
    const count = whole ? 4 : Math.max(1, Math.ceil(most / step - 1e-9));
    this.high = step * count;
    this.ticks = Array.from({ length: count + 1 }, (_, index) => step * index);
  }

  x(time) {
    const room = this.width - MARGIN.left - MARGIN.right;
    return MARGIN.left + (room * (time - this.from)) / Math.max(1, this.to - this.from);
  }

  y(value) {
    const room = HEIGHT - MARGIN.top - MARGIN.bottom;
    const part = this.kind === "log"
      ? (Math.log10(Math.max(value, 10 ** this.low)) - this.low) / (this.high - this.low)
      : value / (this.high || 1);
    return HEIGHT - MARGIN.bottom - room * Math.min(1, part);
  }

  axes() {
    const parts = [];
    for (const tick of this.ticks) {
      const y = Math.round(this.y(tick)) + 0.5;
      parts.push(svg("line", { class: "grid", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y }));
      parts.push(svg("text", { class: "tick", x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, this.tick(tick, tick === this.ticks[this.ticks.length - 1])));
    }
    const span = this.to - this.from;
    const most = Math.max(2, Math.floor((this.width - MARGIN.left) / TIME_LABEL));
    const step = TIME_STEPS.find((step) => span / step <= most) ?? TIME_STEPS[TIME_STEPS.length - 1];
    const shift = new Date(this.from * 1000).getTimezoneOffset() * 60;
    for (let time = Math.ceil((this.from - shift) / step) * step + shift; time <= this.to; time += step) {
      const x = Math.round(this.x(time)) + 0.5;
      const label = moment(time, time, step < 60);
      parts.push(svg("line", { class: "grid", x1: x, x2: x, y1: HEIGHT - MARGIN.bottom, y2: HEIGHT - MARGIN.bottom + 4 }));
      const anchor = x > this.width - 30 ? "end" : "middle";
      parts.push(svg("text", { class: "tick", x, y: HEIGHT - 5, "text-anchor": anchor }, label));
    }
    return parts;
  }

  // A label of the other axis: as short as it can be. A unit of a word stands at the uppermost only.
  tick(value, isUppermost) {
    if (this.format === "ratio") return `${Math.round(value * 100)} %`;
    if (this.format === "latency") return value < 1 ? `${Number((value * 1000).toPrecision(1))} ms` : `${value} s`;
    if (this.format === "bytes") return bytes(value).replace(/\.0+ /, " ").replace(/(\.\d)0 /, "$1 ") + (this.unit ?? "");
    return withUnit(String(Number(value.toPrecision(6))), isUppermost ? this.unit : "");
  }

  // Runs of points between which the line does not break.
  runs(points) {
    const runs = [];
    let before = null;
    for (const [time, value] of points) {
      if (value === null) continue;
      if (before === null || time - before > Math.max(GAP_STEPS * this.step, 2 * this.usual)) runs.push([]);
      runs[runs.length - 1].push([time, value]);
      before = time;
    }
    return runs;
  }

  // The usual time between two points.
  get usual() {
    const moments = this.moments;
    return moments.length > 1 ? (moments[moments.length - 1] - moments[0]) / (moments.length - 1) : 0;
  }

  path(points) {
    return points.map(([time, value], index) => `${index ? "L" : "M"}${this.x(time).toFixed(1)},${this.y(value).toFixed(1)}`).join("");
  }

  lines() {
    const parts = [];
    for (const band of new Set(this.series.map((series) => series.band).filter(Boolean))) {
      const group = this.series.filter((series) => series.band === band);
      const [low, high] = [group[0], group[group.length - 1]].map((series) => this.runs(series.points));
      low.forEach((run, index) => {
        const edge = this.path([...run, ...high[index].slice().reverse()]);
        parts.push(svg("path", { class: `band ${group[0].classes}`, d: `${edge}Z` }));
      });
    }
    for (const series of this.series) {
      for (const run of this.runs(series.points)) {
        // A line to itself shows as a dot.
        const d = run.length === 1 ? `${this.path(run)}l0,0` : this.path(run);
        parts.push(svg("path", { class: `curve ${series.classes}`, d }));
      }
    }
    return parts;
  }

  areas() {
    const parts = [];
    let below = this.moments.map((time) => [time, 0]);
    for (const series of this.series) {
      const above = series.points.map(([time, value], index) => [time, below[index][1] + (value ?? 0)]);
      const d = `${this.path([...above, ...below.slice().reverse()])}Z`;
      parts.push(svg("path", { class: `area ${series.classes}`, d }));
      parts.push(svg("path", { class: `curve ${series.classes}`, d: this.path(above) }));
      below = above;
    }
    return parts;
  }

  timeAt(clientX) {
    const { left } = this.field.getBoundingClientRect();
    const room = this.width - MARGIN.left - MARGIN.right;
    return this.from + ((clientX - left - MARGIN.left) / room) * (this.to - this.from);
  }

  // The point that is nearest to a moment.
  nearest(time) {
    let best = null;
    this.moments.forEach((at, index) => {
      if (best === null || Math.abs(at - time) < Math.abs(this.moments[best] - time)) best = index;
    });
    return best;
  }

  // The latest point that has a value.
  latest(series) {
    for (let index = series.points.length - 1; index >= 0; index -= 1) {
      if (series.points[index][1] !== null) return series.points[index][1];
    }
    return null;
  }

  // Shows the values of a moment, or the latest ones.
  show(time) {
    const index = time === null || !this.moments.length ? null : this.nearest(time);
    for (const series of this.series) {
      const value = index === null ? this.latest(series) : series.points[index][1];
      series.value.textContent = this.text(value);
    }
    this.index = index;
    if (index === null) {
      this.at.textContent = this.isEmpty ? "" : "latest";
      this.mark.setAttribute("visibility", "hidden");
    } else {
      const at = this.moments[index];
      this.at.textContent = moment(at, at);
      this.mark.setAttribute("visibility", "visible");
      this.mark.setAttribute("x1", this.x(at));
      this.mark.setAttribute("x2", this.x(at));
    }
    this.tell();
  }

  // The same for those who hear it.
  tell() {
    const last = Math.max(0, this.moments.length - 1);
    const values = this.series.map((series) => `${series.label} ${series.value.textContent}`).join(", ");
    this.field.setAttribute("aria-valuemin", 0);
    this.field.setAttribute("aria-valuemax", last);
    this.field.setAttribute("aria-valuenow", this.index ?? last);
    this.field.setAttribute("aria-valuetext", `${this.at.textContent}: ${values}`);
  }

  describe() {
    const sentences = this.series.map((series) => {
      const values = series.points.map(([, value]) => value).filter((value) => value !== null);
      if (!values.length) return `${series.label}: nothing.`;
      const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => this.text(value));
      return `${series.label}: latest ${this.text(this.latest(series))}, between ${low} and ${high}.`;
    });
    this.summary.textContent = sentences.join(" ");
  }

  key(event) {
    const last = this.moments.length - 1;
    const now = this.index ?? last;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now + 10, PageDown: now - 10, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.cursor(null);
    else if (to !== undefined && last >= 0) this.cursor(this.moments[Math.min(last, Math.max(0, to))]);
    else return;
    event.preventDefault();
  }
}
