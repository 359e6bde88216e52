/**
 * Two small charts over the last two minutes: how much waits in the queue, and how fast events come and go. Holds the points it was given, no more than
 * the stage does; a reload gets them again.
 */
/* global uPlot */
const POINTS_MAX = 240;

/** Colours come from the style sheet, so the charts follow light and dark. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** 12000 is 12k: an axis has little room. */
const short = (value) => (value >= 10_000 ? `${Math.round(value / 1000)}k` : value >= 1000 ? `${value / 1000}k` : String(value));

class Chart {
  constructor(element, series) {
    this.element = element;
    this.series = series;
    this.columns = [[], ...series.map(() => [])];
    this.draw();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(element);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  size() {
    return { width: this.element.clientWidth, height: this.element.clientHeight };
  }

  draw() {
    this.plot?.destroy();
    const ink = colour('--ink-soft');
    const axis = { stroke: ink, grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    this.plot = new uPlot(
      {
        ...this.size(),
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        // An axis that ends at 2 makes a mountain of a molehill.
        scales: { y: { range: (_, min, max) => [0, Math.max(10, max * 1.15)] } },
        axes: [
          { ...axis, size: 24, gap: 4, space: 70, values: '{HH}:{mm}:{ss}' },
          {
            ...axis,
            size: 40,
            gap: 6,
            space: 32,
            values: (_, splits) => splits.map((value) => (Number.isInteger(value) ? short(value) : '')),
          },
        ],
        series: [
          {},
          ...this.series.map(({ stroke, isFilled }) => ({
            stroke: colour(stroke),
            width: 2,
            points: { show: false },
            ...(isFilled ? { fill: `${colour(stroke)}2b` } : {}),
          })),
        ],
      },
      this.columns,
      this.element,
    );
  }

  set(columns) {
    this.columns = columns;
    this.plot.setData(columns);
  }
}

export class Charts {
  constructor() {
    this.points = [];
    this.depth = new Chart(document.getElementById('depth-chart'), [{ stroke: '--waiting', isFilled: true }]);
    this.rate = new Chart(document.getElementById('rate-chart'), [{ stroke: '--sent' }, { stroke: '--handled' }]);
  }

  set(points) {
    this.points = points.slice(-POINTS_MAX);
    this.show();
  }

  add(point) {
    this.points.push(point);
    if (this.points.length > POINTS_MAX) this.points.shift();
    this.show();
  }

  show() {
    const at = this.points.map((point) => point.at);
    this.depth.set([at, this.points.map((point) => point.depth)]);
    this.rate.set([at, smooth(this.points, 'sent'), smooth(this.points, 'handled')]);
  }
}

/** The mean of four points, two seconds: single events a second would be a comb. */
function smooth(points, name) {
  return points.map((_, index) => {
    const near = points.slice(Math.max(0, index - 3), index + 1);
    return near.reduce((sum, point) => sum + point[name], 0) / near.length;
  });
}
