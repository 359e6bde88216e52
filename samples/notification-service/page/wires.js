/**
 * The lines between the services, and a dot on a line for an event that travels along it: never more than a few at a time, so a thousand events a second
 * still read as a stream. Who asks for less motion sees the lines light up instead.
 */
const SVG = 'http://www.w3.org/2000/svg';
const TRAVEL_MS = 700;
const DOTS_PER_LINE_MAX = 12;

const isCalm = matchMedia('(prefers-reduced-motion: reduce)');

export class Wires {
  constructor(svg) {
    this.svg = svg;
    this.lines = new Map();
    new ResizeObserver(() => this.lay()).observe(svg.parentElement);
  }

  /** A line from one element to another, known by a name. */
  add(name, from, to) {
    const path = document.createElementNS(SVG, 'path');
    this.svg.append(path);
    this.lines.set(name, { from, to, path, dots: 0, isOn: true });
  }

  /** Dashed where one of its ends is not there. */
  set(name, isOn) {
    const line = this.lines.get(name);
    line.isOn = isOn;
    line.path.classList.toggle('off', !isOn);
  }

  lay() {
    const origin = this.svg.getBoundingClientRect();
    for (const { from, to, path } of this.lines.values())
      path.setAttribute('d', curve(from.getBoundingClientRect(), to.getBoundingClientRect(), origin));
  }

  /** Lets `count` events travel along a line, spread over the time until the next snapshot. */
  travel(name, count, kind, spreadMs) {
    const line = this.lines.get(name);
    if (!line.isOn || document.hidden) return;
    if (isCalm.matches) {
      line.path.classList.add('lit');
      setTimeout(() => line.path.classList.remove('lit'), spreadMs);
      return;
    }
    const dots = Math.min(count, 4, DOTS_PER_LINE_MAX - line.dots);
    for (let dot = 0; dot < dots; dot += 1) setTimeout(() => this.fly(line, kind), (dot / dots) * spreadMs);
  }

  fly(line, kind) {
    const dot = document.createElementNS(SVG, 'circle');
    dot.setAttribute('r', '4');
    dot.classList.add(`dot-${kind}`);
    this.svg.append(dot);
    line.dots += 1;
    const length = line.path.getTotalLength();
    const begin = performance.now();
    const step = (now) => {
      const way = Math.min(1, (now - begin) / TRAVEL_MS);
      const at = line.path.getPointAtLength(length * way);
      dot.setAttribute('cx', at.x);
      dot.setAttribute('cy', at.y);
      if (way < 1) {
        requestAnimationFrame(step);
        return;
      }
      dot.remove();
      line.dots -= 1;
    };
    requestAnimationFrame(step);
  }
}

/** From side to side where the two stand beside each other, from bottom to top where one stands above the other. */
function curve(from, to, origin) {
  if (to.left >= from.right) {
    const [x1, y1, x2, y2] = [
      from.right - origin.left,
      middle(from.top, from.bottom) - origin.top,
      to.left - origin.left,
      middle(to.top, to.bottom) - origin.top,
    ];
    const bend = (x2 - x1) / 2;
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  }
  const [x1, y1, x2, y2] = [
    middle(from.left, from.right) - origin.left,
    from.bottom - origin.top,
    middle(to.left, to.right) - origin.left,
    to.top - origin.top,
  ];
  const bend = (y2 - y1) / 2;
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
}

function middle(a, b) {
  return (a + b) / 2;
}
