// The samples of /-/stats, kept as they come, and what follows from them: shares and rates over the
// whole range, and the same bin by bin for the plots.

// How long each kind of sample is shown, and how wide a bin is, in seconds.
const RANGES = {
  second: { span: 600, bin: 5, step: 1 },
  minute: { span: 86400, bin: 300, step: 60 },
};

class Past {
  constructor(resolution) {
    this.range = RANGES[resolution];
    this.fields = [];
    this.samples = [];
  }

  // The time of the latest sample; the next question asks for what is later.
  get latest() {
    return this.samples.length ? this.samples[this.samples.length - 1][0] : null;
  }

  add(history) {
    this.fields = history.fields;
    for (const sample of history.samples) {
      if (this.latest === null || sample[0] > this.latest) this.samples.push(sample);
    }
    const oldest = this.latest - this.range.span;
    this.samples = this.samples.filter((sample) => sample[0] >= oldest);
  }

  // Seconds between the first and the latest sample.
  get length() {
    return this.samples.length ? this.latest - this.samples[0][0] : 0;
  }

  // The value of "a" or of "a+b" in a sample.
  value(sample, sum) {
    let total = 0;
    for (const name of sum.split("+")) {
      const value = sample[this.fields.indexOf(name)];
      if (value === null || value === undefined) return null;
      total += value;
    }
    return total;
  }

  // By how much counters grew between two samples: "rate a" in a second, "share a b" of one another.
  between(first, last, [kind, part, whole]) {
    const grown = (sum) => this.value(last, sum) - this.value(first, sum);
    const by = kind === "rate" ? last[0] - first[0] : grown(whole);
    return by > 0 ? grown(part) / by : null;
  }

  // The same over everything that is kept.
  overall(expression) {
    if (this.samples.length < 2) return null;
    return this.between(this.samples[0], this.samples[this.samples.length - 1], expression.split(" "));
  }

  // Points [time, value or null]. What is counted is told by bin, so that a line is calm; what is
  // measured is shown as it was.
  series(expression) {
    const words = expression.split(" ");
    if (words[0] === "level") return this.samples.map((sample) => [sample[0], this.value(sample, words[1])]);
    const points = [];
    for (const [first, last] of this.bins()) points.push([last[0], this.between(first, last, words)]);
    return points;
  }

  // Pairs of samples: the last one of each bin, and the last one before the bin. Bins lie on multiples of
  // their width, so that they do not move as time passes. The last one is not told apart before half of it
  // has passed: a rate of so short a time would be chance.
  bins() {
    const ends = new Map();
    for (const sample of this.samples) ends.set(Math.floor(sample[0] / this.range.bin), sample);
    const pairs = [];
    let before = this.samples[0];
    for (const sample of ends.values()) {
      if (sample !== before) pairs.push([before, sample]);
      before = sample;
    }
    const last = pairs[pairs.length - 1];
    if (pairs.length > 1 && last[1][0] - last[0][0] < this.range.bin / 2) {
      pairs.splice(-2, 2, [pairs[pairs.length - 2][0], last[1]]);
    }
    return pairs;
  }
}
