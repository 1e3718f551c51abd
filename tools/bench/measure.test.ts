// Reading the guest's marks and the emulator's processes, with a shell for an emulator.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measure, parseMark } from './measure.ts';
import { cpuSeconds, findRam } from './processes.ts';

test("marks are found in a line with the terminal's rest around them", () => {
  assert.deepEqual(parseMark('@@READY 4.31\r'), { kind: 'ready' });
  assert.deepEqual(parseMark('@@START gcc'), { kind: 'start', name: 'gcc' });
  assert.deepEqual(parseMark('[ 1.0] noise @@END int 4.1 5.2 5ffd3a44\r'), {
    kind: 'end',
    name: 'int',
    printed: '5ffd3a44',
  });
  assert.deepEqual(parseMark('@@END perl 4.1 5.2 k1 k2 3.5'), {
    kind: 'end',
    name: 'perl',
    printed: 'k1 k2 3.5',
  });
  assert.deepEqual(parseMark('@@CPU x86_64 ncpu=1'), { kind: 'guest', text: 'x86_64 ncpu=1' });
  assert.deepEqual(parseMark('@@DONE'), { kind: 'done' });
  for (const line of ['', 'Linux version 6.1', '@@OTHER 1'])
    assert.equal(parseMark(line), undefined);
});

const OPTIONS = { ramMiB: 16, timeoutMs: 30_000 };
const guest = (text: string) => ['sh', '-c', `printf '${text}'; exec sleep 30`];

test('a run has a sample for each time an item ran, in the order of the marks', async () => {
  const seen: string[] = [];
  const run = await measure(
    guest(
      '@@READY 1\\n@@CPU a b\\n@@START x\\n@@END x 1 2 r1\\n@@START x\\n@@END x 2 3 r1\\n@@DONE\\n',
    ),
    { ...OPTIONS, onSample: (name) => seen.push(name) },
  );
  assert.equal(run.failure, undefined);
  assert.equal(run.guest, 'a b');
  assert.deepEqual([...run.items.keys()], ['boot', 'x']);
  assert.deepEqual(seen, ['boot', 'x', 'x']);
  assert.deepEqual(
    run.items.get('x')?.map(({ printed }) => printed),
    ['r1', 'r1'],
  );
  assert.ok((run.memory?.peakMiB ?? 0) > 0);
});

test('an emulator has the environment that it is given, beside that of the benchmark', async () => {
  const script = 'echo "@@CPU $MIMIC_BENCH_TEST $PATH"; echo @@DONE; exec sleep 30';
  const env = { MIMIC_BENCH_TEST: 'given' };
  const run = await measure(['sh', '-c', script], { ...OPTIONS, env });
  assert.equal(run.guest, `given ${process.env.PATH}`);
});

test('an emulator that ends early is a failure with the end of its output, and what came before counts', async () => {
  const script = 'echo @@READY 1; echo panic; echo reason >&2; exit 3';
  const run = await measure(['sh', '-c', script], OPTIONS);
  assert.match(run.failure ?? '', /ended with 3 before @@DONE/);
  assert.match(run.failure ?? '', /panic/);
  assert.deepEqual([...run.items.keys()], ['boot']);
  const missing = await measure(['/nonexistent/emulator'], OPTIONS);
  assert.match(missing.failure ?? '', /ENOENT/);
});

test('a guest that stays silent ends with the time limit', async () => {
  const run = await measure(guest(''), { ...OPTIONS, timeoutMs: 300 });
  assert.match(run.failure ?? '', /no @@DONE after 0\.3 s/);
  assert.equal(run.items.size, 0);
});

test('CPU seconds of a process tree include this process', () => {
  const before = cpuSeconds(process.pid);
  const until = process.cpuUsage().user + 100_000;
  while (process.cpuUsage().user < until);
  assert.ok(cpuSeconds(process.pid) - before >= 0.05);
});

test('guest RAM is the end of the smallest anonymous mapping with room for it', () => {
  const maps = [
    '00400000-00800000 r-xp 00000000 fe:00 5308634 /usr/bin/node',
    '100000000-114000000 rw-p 00000000 00:00 0 ',
    '200000000-220000000 rw-p 00000000 00:00 0 ',
    '300000000-3ff000000 ---p 00000000 00:00 0 ',
  ].join('\n');
  assert.equal(findRam(maps, 256), 0x104000000);
  assert.equal(findRam(maps, 512), 0x200000000);
  assert.equal(findRam(maps, 1024), undefined);
});
