// Machines one after the other: the second takes over what the first has translated, unless it was told not to, and what
// V8 made of the interpreter stays too.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type JitReport, Machine } from '@mimic/machine';
import { tinyKernel } from '../../machine/testing/tiny-kernel.ts';
import { cacheFolder } from './cache-folder.ts';
import { type NodeHostOptions, nodeHost } from './node-host.ts';
import { until } from './testing/waiting.ts';

const cache = mkdtempSync(join(tmpdir(), 'mimic-keeping-'));
after(() => rmSync(cache, { recursive: true }));
process.env.XDG_CACHE_HOME = cache;
const FOLDER = join(cacheFolder(), 'translations');

/** add eax, 1; add ebx, 3; jmp back to both. */
const LOOP = [0x83, 0xc0, 1, 0x83, 0xc3, 3, 0xeb, 0xf8];

/** Runs a machine until it has translated code, and stops it. */
async function run(options: NodeHostOptions): Promise<NonNullable<JitReport['translator']>> {
  const kernel = tinyKernel(LOOP);
  const host = nodeHost(undefined, options);
  await using machine = await Machine.create({ kernel, memory: '16M' }, host);
  await machine.start();
  const { translator } = await until(
    () => machine.jit(),
    (report) => report.processors.some(({ regions }) => regions > 0),
  );
  await machine.stop();
  assert.ok(translator !== undefined);
  return translator;
}

test('what one machine has translated the next takes over', async () => {
  assert.equal((await run({ keepTranslations: false })).adopted, 0);
  assert.equal(existsSync(FOLDER), false);
  const { adopted, regions } = await run({});
  assert.ok(adopted === 0 && regions > 0);
  assert.equal(readdirSync(FOLDER).length, 1);
  const second = await run({});
  assert.ok(second.adopted > 0, JSON.stringify(second));
  assert.equal((await run({ keepTranslations: false })).adopted, 0);
});

test("V8's code of the interpreter is kept when a machine ends", async () => {
  const names = () => readdirSync(join(cacheFolder(), 'engines'));
  const runInterpreted = async () => {
    const kernel = tinyKernel(LOOP);
    const options = { kernel, memory: '16M', accel: 'interpreter' } as const;
    await using machine = await Machine.create(options, nodeHost());
    await machine.start();
    // V8 compiles what is hot when it comes to it.
    await new Promise((resolve) => setTimeout(resolve, 300));
  };
  await until(
    async () => {
      await runInterpreted();
      return names();
    },
    (found) => found.some((name) => name.endsWith('-one.code')),
  );
});
