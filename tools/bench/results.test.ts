// Comparing two machines, and the tables, plots and pages made of it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { chooseItems, ITEMS, needsDisk } from './items.ts';
import { benchmarkPage } from './page.ts';
import { ratioPlot } from './plot.ts';
import { compare, type MachineRun, pairings, RESULTS_VERSION, type Results } from './results.ts';
import { alignColumns, comparisonText, number, speedups, spreadText } from './table.ts';
import { targets } from './targets.ts';

const COMMON = { architecture: 'amd64', cpuCount: 1, guest: 'x86_64 ncpu=1' };

/** Seconds of wall time by item; half of them CPU. */
function boot(
  machine: string,
  walls: Readonly<Record<string, number>>,
  more: Partial<MachineRun> = {},
): MachineRun {
  const items = Object.fromEntries(
    Object.entries(walls).map(([name, wall]) => [name, [{ wall, cpu: wall / 2, printed: 'r' }]]),
  );
  return {
    ...COMMON,
    machine,
    peer: 'QEMU',
    items,
    memory: { peakMiB: 400, guestMiB: 150 },
    ...more,
  };
}

function results(runs: readonly MachineRun[]): Results {
  return {
    version: RESULTS_VERSION,
    date: '2026-01-02T03:04:05.000Z',
    commit: '1a2b3c',
    host: { processor: 'Some <processor>', cores: 2, memoryGiB: 8, load: 0.1 },
    versions: ['QEMU version 7.2'],
    ramMiB: 256,
    mimicOptions: [],
    command: 'npm run bench --',
    runs,
  };
}

const TWO_RUNS = results([
  boot('Mimic', { boot: 4, int: 1 }),
  boot('QEMU', { boot: 2, int: 2 }),
  boot('Mimic', { boot: 6, int: 4 }),
  boot('QEMU', { boot: 2, int: 2 }),
]);
const PAIRING = { peer: 'QEMU', architecture: 'amd64', cpuCount: 1 };

test('ratios are of runs next to each other, the geomean is of each run', () => {
  assert.deepEqual(pairings(TWO_RUNS), [PAIRING]);
  const { rows, wall, memory } = compare(TWO_RUNS, PAIRING);
  assert.deepEqual(
    rows.map(({ name, wall }) => [name, wall.least, wall.median, wall.most]),
    [
      ['boot', 2, 2.5, 3],
      ['int', 0.5, 1.25, 2],
    ],
  );
  assert.ok(Math.abs(wall.least - 1) < 1e-12);
  assert.ok(Math.abs(wall.most - Math.sqrt(6)) < 1e-12);
  assert.deepEqual(memory, { ours: 250, theirs: 250, first: Number.NaN });
});

test('an item that one machine did not finish has no ratio and is left out of the geomean', () => {
  const runs = [
    boot('Mimic', { boot: 4 }, { failure: 'no @@DONE' }),
    boot('QEMU', { boot: 2, int: 1 }),
  ];
  const { rows, wall, failures } = compare(results(runs), PAIRING);
  assert.ok(Number.isNaN(rows[1]!.wall.median));
  assert.equal(wall.median, 2);
  assert.deepEqual(failures, ['Mimic: no @@DONE']);
});

test('results that differ or failed are told', () => {
  const outcome = (a: string, b: string) => {
    const run = (machine: string, printed: string) =>
      boot(machine, {}, { items: { int: [{ wall: 1, cpu: 1, printed }] } });
    return compare(results([run('Mimic', a), run('QEMU', b)]), PAIRING).rows[0]?.results;
  };
  assert.equal(outcome('1', '1'), 'same');
  assert.equal(outcome('1', '2'), 'DIFFER');
  assert.equal(outcome('FAILED:x', 'FAILED:x'), 'FAILED');
});

test('times too short for the clock count as a hundredth of a second', () => {
  const runs = [boot('Mimic', { int: 0.02 }), boot('QEMU', { int: 0 })];
  const [row] = compare(results(runs), PAIRING).rows;
  assert.equal(row?.wall.median, 2);
  assert.equal(row?.cpu.median, 1);
});

test('a target is met at its limit and missed above it', () => {
  const runs = [boot('Mimic', { boot: 1.3, int: 0.71 }), boot('QEMU', { boot: 1, int: 1 })];
  const found = targets(compare(results(runs), PAIRING));
  const met = (text: string) => found.find((target) => target.text.startsWith(text))?.met;
  assert.equal(met('boot'), true);
  assert.equal(met('integer'), false);
  assert.equal(met('peak memory'), true);
  assert.equal(met('fork'), undefined);
});

test('a first run has a column and a geomean of its own, and no part of ratios', () => {
  const runs = [
    boot('Mimic', { boot: 8, int: 4 }, { isFirst: true, memory: { peakMiB: 600, guestMiB: 100 } }),
    ...TWO_RUNS.runs,
  ];
  const measured = { ...results(runs), keeps: true };
  const comparison = compare(measured, PAIRING);
  assert.deepEqual(comparison.wall, compare(TWO_RUNS, PAIRING).wall);
  assert.deepEqual(
    comparison.rows.map(({ first }) => first),
    [
      { wall: 8, cpu: 4 },
      { wall: 4, cpu: 2 },
    ],
  );
  assert.ok(Math.abs(comparison.first.wall - Math.sqrt(8)) < 1e-12);
  const lines = comparisonText(comparison).split('\n');
  assert.ok(lines.some((line) => /^boot +8\.00 +5\.00 +2\.00 +2\.50 \(2\.00–3\.00\)/.test(line)));
  assert.ok(lines.some((line) => line.includes('nothing kept: 2.83 wall')));
  const { text } = benchmarkPage(measured, 'benchmarks');
  assert.ok(text.includes('| boot | 8.00 | 5.00 | 2.00 | 2.50 (2.00–3.00) |'));
  assert.ok(text.includes("Mimic 250 MiB, QEMU 250 MiB; Mimic's first run 500 MiB."));
  assert.ok(text.includes('2 times each') && text.includes('2.83 in the first run'));
  const table = text.split('\n').filter((line) => /^\|( item|---| boot|\s\*\*geo).*/.test(line));
  const columns = table.slice(0, 4).map((line) => line.split('|').length);
  assert.equal(new Set(columns).size, 1, `${columns}`);
});

test('what is kept between runs is told, or that nothing was', () => {
  const page = (keeps: boolean) =>
    benchmarkPage({ ...TWO_RUNS, keeps }, 'benchmarks').text.includes('thrown away');
  assert.deepEqual([page(true), page(false)], [false, true]);
});

test('several processors are compared with one of the same machine', () => {
  const parts = [1, 2].flatMap((cpuCount) => [
    boot('Mimic', { intx2: 3 / cpuCount }, { cpuCount }),
    boot('QEMU', { intx2: 4 }, { cpuCount }),
  ]);
  assert.deepEqual(
    speedups(results(parts)).map(({ machine, factor }) => [machine, factor]),
    [
      ['Mimic', 2],
      ['QEMU', 1],
    ],
  );
  assert.deepEqual(
    pairings(results(parts)).map(({ cpuCount }) => cpuCount),
    [1, 2],
  );
});

test('numbers keep three digits, spreads are told where there are any', () => {
  assert.deepEqual([0.123, 12.34, 123.4, Number.NaN].map(number), ['0.12', '12.3', '123', '–']);
  assert.equal(spreadText({ least: 1, median: 2, most: 3 }), '2.00 (1.00–3.00)');
  assert.equal(spreadText({ least: 2, median: 2, most: 2 }), '2.00');
  assert.deepEqual(
    alignColumns([
      ['a', 'bb'],
      ['ccc', 'd'],
    ]),
    ['a    bb', 'ccc   d'],
  );
});

test('the table for the terminal has a line for each item and the geomean', () => {
  const lines = comparisonText(compare(TWO_RUNS, PAIRING)).split('\n');
  assert.ok(lines.some((line) => /^boot +5\.00 +2\.00 +2\.50 \(2\.00–3\.00\)/.test(line)));
  assert.ok(lines.some((line) => /^geomean +1\.72 \(1\.00–2\.45\)/.test(line)));
  assert.ok(lines.includes('peak memory beyond guest RAM: Mimic 250 MiB, QEMU 250 MiB'));
});

test('the plot leaves out what has no ratio and grows towards both sides of one', () => {
  const at = (median: number) => ({ least: median, median, most: median });
  const svg = ratioPlot('QEMU', [
    { name: 'fast', wall: at(0.5) },
    { name: 'a<b', wall: at(2) },
    { name: 'none', wall: at(Number.NaN) },
  ]);
  const bars = [...svg.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)"/g)];
  assert.equal(bars.length, 2);
  const [fast, slow] = bars.map((bar) => bar.slice(1).map(Number) as [number, number]);
  assert.ok(Math.abs(fast![0] + fast![1] - slow![0]) < 0.2);
  assert.ok(svg.includes('a&lt;b') && !svg.includes('none'));
});

test('the page names its plots, which are made with it', () => {
  const { text, plots } = benchmarkPage(TWO_RUNS, 'benchmarks');
  assert.deepEqual([...plots.keys()], ['benchmarks-qemu-amd64-1.svg']);
  assert.ok(text.includes('](benchmarks-qemu-amd64-1.svg)'));
  assert.ok(text.includes('| boot | 5.00 | 2.00 | 2.50 (2.00–3.00) |'));
  assert.ok(text.includes('| boot | 4.00 6.00 | 2.00 2.00 | 2.00 3.00 | 1.00 1.00 |'));
  assert.ok(text.includes('2 times each'));
  for (const line of text.split('\n').filter((line) => line.startsWith('| pipe')))
    assert.equal(line.split(/(?<!\\)\|/).length, 5);
});

test('items are chosen by name or group, in the order of the guest', () => {
  assert.deepEqual(chooseItems('forkx,int'), { names: ['int', 'forkx'] });
  assert.deepEqual(chooseItems('boot'), { names: [] });
  assert.deepEqual(chooseItems('int,nothing'), { unknown: 'nothing' });
  const suite = chooseItems('suite');
  assert.ok('names' in suite && suite.names.length === 16 && !needsDisk(suite.names));
  const programs = chooseItems('programs');
  assert.ok('names' in programs && needsDisk(programs.names));
});

test('the guest runs just the items that are listed, in their order', () => {
  const init = readFileSync(new URL('init', import.meta.url), 'utf8');
  const inGuest = [...init.matchAll(/^(?:item|program) (\S+) /gm)].map((match) => match[1]);
  assert.deepEqual(['boot', ...inGuest], Object.keys(ITEMS));
});
