// What can be seen of the translator of a running machine: counters by API and monitor, and its trace.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type JitReport, Machine, type MachineOptions } from '@mimic/machine';
import { print, STOP, TINY_KERNEL_GPA, tinyKernel } from '../../machine/testing/tiny-kernel.ts';
import { nodeHost } from './node-host.ts';
import { until } from './testing/waiting.ts';

const le32 = (value: number) => [value, value >> 8, value >> 16, value >> 24].map((n) => n & 0xff);
/** mov ecx, count; add eax, 1; add ebx, 3; dec ecx; jnz $-10 */
const loop = (count: number) => [
  0xb9, ...le32(count), 0x83, 0xc0, 1, 0x83, 0xc3, 3, 0x49, 0x75, 0xf7,
]; // biome-ignore format: as commented
/** Times that a loop goes round: it is translated long before it ends, however busy this computer is. */
const LONG = 8_000_000;
/** Where the loop that main() has begins: its `add`. */
const LOOP_GPA = TINY_KERNEL_GPA + 5;
/** inc dword [address]; dec dword [address]: what is behind is as before. */
const touch = (gpa: number) => [0xff, 0x05, ...le32(gpa), 0xff, 0x0d, ...le32(gpa)];
/** jmp back to the kernel's first byte, from behind so many bytes of code. */
const again = (length: number) => [0xe9, ...le32(-(length + 5))];

function repeated(code: readonly number[]): number[] {
  return [...code, ...again(code.length)];
}

async function create(
  code: readonly number[],
  options: Partial<MachineOptions> = {},
): Promise<Machine> {
  return await Machine.create(
    { kernel: tinyKernel(code), memory: '16M', ...options },
    nodeHost(undefined, { keepTranslations: false }),
  );
}

describe('looking at the translator', { concurrency: 1 }, () => {
  for (const cpus of [1, 2]) {
    test(`a machine of ${cpus} tells what it translated and what was written to, and traces it`, async () => {
      let trace = '';
      await using machine = await create(repeated([...loop(LONG), ...touch(LOOP_GPA)]), {
        cpus,
        trace: ['jit'],
        onTrace: (lines) => {
          trace += new TextDecoder().decode(lines);
        },
      });
      await machine.start();
      // Looked at while the translator writes its counters, they may not add up.
      const isWhole = ({ translator: t }: JitReport) =>
        t !== undefined && t.requests === t.regions + t.refused + t.failed;
      const { translator, processors, changing } = await until(
        () => machine.jit(),
        (report) => report.processors[0]!.droppedTranslated > 0 && isWhole(report),
      );
      assert.ok(translator !== undefined);
      const { regions, failed } = translator;
      assert.ok(regions >= 1 && translator.modules >= 1);
      assert.equal(failed, 0, translator.lastFailure);
      assert.ok(translator.instructions >= 4 * regions);
      assert.ok(translator.bytes > 100 && translator.milliseconds > 0);
      assert.equal(processors.length, cpus);
      const [first] = processors;
      assert.ok(first!.requests >= first!.regions && first!.regions > 0 && first!.modules > 0);
      assert.ok(first!.exits.event > 0 && first!.decoded > 0 && first!.jumpFills > 0);
      assert.equal(changing.most[0]?.gpa, TINY_KERNEL_GPA);
      assert.ok(changing.changes >= first!.droppedTranslated);
      if (cpus === 2) assert.equal(processors[1]!.requests, 0);

      // What is traced arrives behind what is counted.
      const whose = cpus === 1 ? '' : 'cpu0 ';
      for (const line of [
        `jit translated 0x000100005 mode 32 \\d+ instructions, \\d+ bytes, slot \\d+`,
        `jit write to code 0x000100005 4 bytes: \\d+ blocks dropped, 1 of them translated`,
      ]) {
        const expected = new RegExp(`^${whose}${line}$`, 'm');
        await until(
          () => trace,
          (text) => expected.test(text),
        );
      }
      await machine.trace([]);
      await machine.pause();
      const { length } = trace;
      await machine.resume();
      await until(
        () => machine.jit(),
        ({ changing: { changes } }) => changes > changing.changes + 2,
      );
      assert.equal(trace.length, length);
    });
  }

  test('the monitor shows it as a table', async () => {
    await using machine = await create(repeated(loop(LONG)));
    await machine.start();
    await until(
      () => machine.jit(),
      ({ processors }) => processors[0]!.regions > 0,
    );
    const text = await machine.monitor('info jit');
    assert.match(text, /^requests +\d+: [1-9]\d* translated, \d+ refused, 0 failed$/m);
    assert.match(text, /^WebAssembly +\d+ bytes, [\d.]+ an instruction$/m);
    assert.match(text, /^ +cpu 0$/m);
    assert.match(text, /^regions taken over +[1-9]\d*$/m);
    assert.match(text, /^pages of code: [1-9]\d*, changed 0 times$/m);
  });

  test('a machine that interprets says so', async () => {
    await using machine = await create([...loop(20_000), ...print('done'), ...STOP], {
      accel: 'interpreter',
    });
    await machine.start();
    await machine.serial.expect('done');
    assert.match(await machine.monitor('info jit'), /^all code is interpreted\n/);
    const { translator, processors } = await machine.jit();
    assert.equal(translator, undefined);
    assert.equal(processors[0]!.requests, 0);
  });

  test('a profile tells a processor that spins from one that was never started', async () => {
    await using machine = await create([0x90, 0xeb, 0xfe], { cpus: 2 }); // nop; jmp $
    await machine.start();
    const spinAt = BigInt(TINY_KERNEL_GPA + 1);
    await until(
      () => machine.readRegister('rip'),
      (rip) => rip === spinAt,
    );
    // Its timer never comes: the test looks itself.
    const profiler = await machine.profile({ intervalMs: 1_000_000 });
    for (const ms of [0, 10, 20]) profiler.look(ms);
    const profile = profiler.stop();
    assert.equal(profile.milliseconds, 20);
    assert.deepEqual(
      profile.hottest().toSorted((a, b) => a.space.localeCompare(b.space)),
      [
        { space: 'idle', name: '(idle)', share: 0.5 },
        { space: 'kernel', name: `0x${spinAt.toString(16)}`, share: 0.5 },
      ],
    );
  });
});
