"use strict";
// Colours of the limits, in the order of their names in the legend.
const LIMITS = {
  "the sending application": "#8c959f", "the peer's answer": "#57606a", "the receive window": "#bf8700",
  "the receiving application": "#9a3412", "the congestion window": "#1f6feb", "the path's rate": "#8250df",
  "pacing": "#0e7490", "repairing losses": "#d1242f", "retransmission timeouts": "#7f1d1d",
  "Nagle and delayed ACKs": "#bf3989", "unknown": "#afb8c1",
};
for (const box of document.querySelectorAll(".graph")) {
  const series = JSON.parse(box.nextElementSibling.textContent);
  draw(box, series);
}
function draw(box, series) {
  const canvas = box.appendChild(document.createElement("canvas"));
  const context = canvas.getContext("2d");
  const all = [...series.data.map(p => p[0]), ...series.acks.map(p => p[0])];
  const whole = all.reduce((r, t) => [Math.min(r[0], t), Math.max(r[1], t)], [Infinity, -Infinity]);
  if (whole[1] - whole[0] < 1e-6) whole[1] = whole[0] + 1e-3;
  let view = [...whole];
  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  legend(box, series);
  const HEIGHTS = [340, 110, 110, 22];
  const LEFT = 70;
  function paint() {
    const width = box.clientWidth, height = HEIGHTS.reduce((a, b) => a + b + 18, 0) + 8;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = height + "px";
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    const x = t => LEFT + (t - view[0]) / (view[1] - view[0]) * (width - LEFT - 8);
    const inView = p => p[0] >= view[0] && p[0] <= view[1];
    let top = 6;
    // Data, acknowledgements and windows.
    const data = series.data.filter(inView), acks = series.acks.filter(inView);
    const highs = [...data.map(p => p[2]), ...acks.map(p => p[1])], lows = [...data.map(p => p[1]), ...acks.map(p => p[1])];
    let y = axis(top, HEIGHTS[0], range(lows, highs), "bytes", width);
    line(acks.filter(p => p[2] !== null).map(p => [x(p[0]), y(p[2])]), style("--edge"), top, HEIGHTS[0]);
    line(acks.map(p => [x(p[0]), y(p[1])]), style("--ack"), top, HEIGHTS[0]);
    for (const [t, start, end, again] of data) {
      context.strokeStyle = style(again ? "--again" : "--data");
      context.lineWidth = again ? 2.5 : 1.5;
      context.beginPath(); context.moveTo(x(t), y(start)); context.lineTo(x(t), Math.min(y(end), y(start) - 1.5)); context.stroke();
      if (again) { context.fillStyle = style("--again"); context.fillRect(x(t) - 2.5, y((start + end) / 2) - 2.5, 5, 5); }
    }
    top += HEIGHTS[0] + 18;
    const flight = series.flight.filter(inView);
    y = axis(top, HEIGHTS[1], range([0], flight.map(p => p[1])), "bytes out", width);
    line(flight.map(p => [x(p[0]), y(p[1])]), style("--data"), top, HEIGHTS[1]);
    top += HEIGHTS[1] + 18;
    const rtt = series.rtt.filter(inView);
    y = axis(top, HEIGHTS[2], range([0], rtt.map(p => p[1] * 1000)), "round trip, ms", width);
    context.fillStyle = style("--ack");
    for (const [t, value] of rtt) context.fillRect(x(t) - 1, y(value * 1000) - 1, 2, 2);
    top += HEIGHTS[2] + 18;
    for (const [from, to, limit] of series.limits) {
      const left = Math.max(x(from), LEFT), right = Math.min(x(to), width - 8);
      if (right <= left) continue;
      context.fillStyle = LIMITS[limit] || "#888";
      context.fillRect(left, top, Math.max(right - left, 1), HEIGHTS[3]);
    }
    // Times.
    context.fillStyle = style("--ink"); context.textAlign = "center";
    for (const t of ticks(view[0], view[1], Math.max(3, width / 130))) context.fillText(t.text + " s", x(t.value), top + HEIGHTS[3] + 14);
  }
  function axis(top, height, [low, high], name, width) {
    context.strokeStyle = style("--faint"); context.fillStyle = style("--ink"); context.lineWidth = 1; context.textAlign = "right";
    const y = value => top + height - (value - low) / (high - low) * height;
    for (const tick of ticks(low, high, height / 45)) {
      context.beginPath(); context.moveTo(LEFT, y(tick.value)); context.lineTo(width - 8, y(tick.value)); context.stroke();
      context.fillText(tick.text, LEFT - 5, y(tick.value) + 4);
    }
    context.textAlign = "left"; context.fillText(name, LEFT + 4, top + 11);
    return y;
  }
  function line(points, colour, top, height) {
    context.save(); context.beginPath(); context.rect(LEFT, top, canvas.width, height); context.clip();
    context.strokeStyle = colour; context.lineWidth = 1.2; context.beginPath();
    points.forEach(([px, py], i) => { if (i) { context.lineTo(px, points[i - 1][1]); context.lineTo(px, py); } else context.moveTo(px, py); });
    context.stroke(); context.restore();
  }
  function zoom(factor, at) {
    const middle = view[0] + (view[1] - view[0]) * at;
    let span = Math.min((view[1] - view[0]) * factor, whole[1] - whole[0]);
    span = Math.max(span, 1e-6);
    view = clamp(middle - span * at, span); paint();
  }
  const clamp = (from, span) => {
    const first = Math.max(whole[0], Math.min(from, whole[1] - span));
    return [first, first + span];
  };
  const place = event => (event.clientX - canvas.getBoundingClientRect().left - LEFT) / (canvas.clientWidth - LEFT - 8);
  const move = part => { view = clamp(view[0] + (view[1] - view[0]) * part, view[1] - view[0]); paint(); };
  canvas.addEventListener("wheel", event => { event.preventDefault(); zoom(event.deltaY > 0 ? 1.25 : 0.8, Math.min(1, Math.max(0, place(event)))); }, { passive: false });
  let held = null;
  canvas.addEventListener("pointerdown", event => { held = place(event); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", event => { if (held !== null) { const now = place(event); move(held - now); held = now; } });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("dblclick", () => { view = [...whole]; paint(); });
  box.addEventListener("keydown", event => {
    const keys = { "+": () => zoom(0.7, 0.5), "-": () => zoom(1.4, 0.5), ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2), Home: () => { view = [...whole]; paint(); } };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
  new ResizeObserver(paint).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
}
function range(lows, highs) {
  const low = lows.reduce((a, b) => Math.min(a, b), Infinity), high = highs.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!isFinite(low) || !isFinite(high)) return [0, 1];
  return high > low ? [low, high + (high - low) * 0.04] : [low, low + 1];
}
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count), power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push({ value: i * step, text: Number((i * step).toFixed(digits)).toLocaleString("en", { minimumFractionDigits: digits }) });
  return found;
}
function legend(box, series) {
  const line = document.createElement("div");
  line.className = "legend";
  const entry = (colour, text) => { const e = document.createElement("span"), i = document.createElement("i"); i.style.background = colour; e.append(i, text); line.append(e); };
  entry("var(--data)", "data"); entry("var(--again)", "sent again"); entry("var(--ack)", "acknowledged"); entry("var(--edge)", "right edge of the window");
  for (const limit of new Set(series.limits.map(l => l[2]))) entry(LIMITS[limit] || "#888", limit);
  line.append(series.thinned ? "Some points are left out. " : "", "Wheel, + and - zoom, dragging and arrows move, Home shows all.");
  box.append(line);
}
