// A bar for each item's ratio as SVG: a logarithmic axis, 1 in the middle of what matters, whiskers for the spread.

import { OURS, type Row } from './results.ts';

const ROW_HEIGHT = 20;
const BAR_HEIGHT = 12;
const LABEL_WIDTH = 90;
const PLOT_WIDTH = 520;
const NUMBER_WIDTH = 60;
const TOP = 40;
const BOTTOM = 16;
const TICKS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];
/** Readable on white and on black. */
const COLOURS = { faster: '#2a9d64', slower: '#d1663b', text: '#808080', line: '#80808060' };

/** `rows` with a last one for the geomean. Rows that were not measured are left out. */
export function ratioPlot(peer: string, rows: readonly Pick<Row, 'name' | 'wall'>[]): string {
  const measured = rows.filter(({ wall }) => Number.isFinite(wall.median) && wall.median > 0);
  const values = measured.flatMap(({ wall }) => [wall.least, wall.most]);
  const low = TICKS.findLast((tick) => tick <= Math.min(0.5, ...values)) ?? TICKS[0]!;
  const high = TICKS.find((tick) => tick >= Math.max(2, ...values)) ?? TICKS.at(-1)!;
  const x = (value: number) => {
    const clamped = Math.min(high, Math.max(low, value));
    return LABEL_WIDTH + (Math.log(clamped / low) / Math.log(high / low)) * PLOT_WIDTH;
  };
  const bottom = TOP + measured.length * ROW_HEIGHT;
  const axis = TICKS.filter((tick) => tick >= low && tick <= high).flatMap((tick) => [
    `<line x1="${round(x(tick))}" y1="${TOP - 6}" x2="${round(x(tick))}" y2="${bottom}" stroke="${
      tick === 1 ? COLOURS.text : COLOURS.line
    }"/>`,
    `<text x="${round(x(tick))}" y="${TOP - 10}" text-anchor="middle">${tick}</text>`,
  ]);
  const bars = measured.flatMap(({ name, wall }, index) => {
    const middle = TOP + index * ROW_HEIGHT + ROW_HEIGHT / 2;
    const [from, to] = [x(1), x(wall.median)].sort((a, b) => a - b) as [number, number];
    const colour = wall.median <= 1 ? COLOURS.faster : COLOURS.slower;
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${middle + 4}" text-anchor="end">${escapeText(name)}</text>`,
      `<rect x="${round(from)}" y="${middle - BAR_HEIGHT / 2}" width="${round(to - from)}" height="${BAR_HEIGHT}" fill="${colour}"/>`,
      `<line x1="${round(x(wall.least))}" y1="${middle}" x2="${round(x(wall.most))}" y2="${middle}" stroke="${COLOURS.text}" stroke-width="2"/>`,
      `<text x="${LABEL_WIDTH + PLOT_WIDTH + 8}" y="${middle + 4}">${wall.median.toFixed(2)}</text>`,
    ];
  });
  const width = LABEL_WIDTH + PLOT_WIDTH + NUMBER_WIDTH;
  const title = escapeText(`Wall time of ${OURS} by that of ${peer}; left of 1 ${OURS} is faster`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom + BOTTOM}" width="${width}" height="${bottom + BOTTOM}" font-family="sans-serif" font-size="12" fill="${COLOURS.text}">`,
    `<title>${title}</title>`,
    `<text x="${LABEL_WIDTH}" y="14">${title}</text>`,
    ...axis,
    ...bars,
    '</svg>',
    '',
  ].join('\n');
}

function round(value: number): string {
  return value.toFixed(1);
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
