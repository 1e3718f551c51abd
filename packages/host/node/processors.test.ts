// Whole PCs of several processors, from the API's end: a small kernel starts the second one by INIT and SIPI.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Machine, type MachineEnd, type MachineOptions } from '@mimic/machine';
import {
  out8,
  POWER_OFF,
  print,
  STOP,
  TINY_KERNEL_GPA,
  tinyKernel,
} from '../../machine/testing/tiny-kernel.ts';
import { nodeHost } from './node-host.ts';
import { idleProcessorUs, until } from './testing/waiting.ts';

const le32 = (value: number) => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  value >>> 24,
];
/** mov dword [address], value */
const store32 = (address: number, value: number) => [0xc7, 0x05, ...le32(address), ...le32(value)];
const ICR_LOW = 0xfee0_0300;
const ICR_HIGH = 0xfee0_0310;
const INIT = 0x4500;
const STARTUP_PAGE = 9;
const STARTUP = 0x4600 | STARTUP_PAGE;
const COUNTER = 0x20_0000;

/** Writes the second processor's code, 16-bit, where SIPI will start it; then sends INIT and SIPI to it. */
function startSecond(code: readonly number[]): number[] {
  const bytes = [...code];
  while (bytes.length % 4) bytes.push(0x90);
  const stores = Array.from({ length: bytes.length / 4 }, (_, n) => {
    const word = bytes.slice(4 * n, 4 * n + 4).reduceRight((sum, byte) => sum * 256 + byte, 0);
    return store32(STARTUP_PAGE * 0x1000 + 4 * n, word);
  });
  return [
    ...stores.flat(),
    ...store32(ICR_HIGH, 1 << 24),
    ...store32(ICR_LOW, INIT),
    ...store32(ICR_LOW, STARTUP),
  ];
}

/** In 16-bit code: mov dx, 0x3f8; mov al, letter; out dx, al. */
const print16 = (letter: string) => [0xba, 0xf8, 0x03, 0xb0, letter.charCodeAt(0), 0xee];
const HALT = [0xfa, 0xf4, 0xeb, 0xfc];
const SPIN = [0xeb, 0xfe];

async function create(
  code: readonly number[],
  options: Partial<MachineOptions> = {},
): Promise<Machine> {
  const kernel = tinyKernel(code);
  return await Machine.create(
    { kernel, memory: '16M', cpus: 2, ...options },
    nodeHost(undefined, { keepTranslations: false }),
  );
}

describe('a PC of several processors', { concurrency: 1 }, () => {
  test('the second one starts where SIPI says, and both reach the board', async () => {
    await using machine = await create([
      ...print('a'),
      ...startSecond([...print16('b'), ...HALT]),
      ...STOP,
    ]);
    await machine.start();
    await machine.serial.expect('ab');
    assert.equal(machine.cpuCount, 2);
    await machine.pause();
    assert.deepEqual(
      (await machine.processors()).map(({ index }) => index),
      [0, 1],
    );
    assert.equal(await machine.readRegister('cs'), 0x10n);
    assert.equal(await machine.monitor('cpu 1'), 'processor 1');
    assert.equal(await machine.readRegister('cs'), BigInt(STARTUP_PAGE << 8));
    assert.match(await machine.monitor('info registers'), /cs +0900 base 0000000000009000/);
    assert.match(await machine.monitor('info cpus'), /^0 .*\n1 {2}rip 0x0000000000000/);
    await assert.rejects(machine.monitor('cpu 2'), { code: 'BAD_COMMAND' });
    await machine.monitor('cpu 0');
    assert.equal(await machine.readRegister('cs'), 0x10n);
  });

  test('locked additions of both are all there', async () => {
    // The second: mov cx, 50000; lock inc dword [0x2000]; loop; mov byte [0x2004], 1.
    const second = [0xb9, 0x50, 0xc3, 0xf0, 0x66, 0xff, 0x06, 0x00, 0x20, 0xe2, 0xf8];
    const done = [0xc6, 0x06, 0x04, 0x20, 0x01];
    const first = [0xb9, ...le32(50_000), 0xf0, 0xff, 0x05, ...le32(0x2000), 0xe2, 0xf7];
    // cmp byte [0x2004], 1; jne
    const wait = [0x80, 0x3d, ...le32(0x2004), 0x01, 0x75, 0xf7];
    await using machine = await create([
      ...startSecond([0x31, 0xc0, 0x8e, 0xd8, ...second, ...done, ...HALT]),
      ...first,
      ...wait,
      ...print('.'),
      ...STOP,
    ]);
    await machine.start();
    await machine.serial.expect('.');
    const count = new DataView((await machine.readMemory(0x2000, 4)).buffer).getUint32(0, true);
    assert.equal(count, 100_000);
  });

  test('pause holds both, resume lets both run on', async () => {
    // Each counts in memory for ever: inc dword [0x200000]; jmp. The second: inc dword [0x2000].
    const second = [0x31, 0xc0, 0x8e, 0xd8, 0x66, 0xff, 0x06, 0x00, 0x20, 0xeb, 0xf9];
    const first = [0xff, 0x05, ...le32(COUNTER), 0xeb, 0xf8];
    await using machine = await create([...startSecond(second), ...print('.'), ...first]);
    const counts = async () => {
      const read = async (gpa: number) =>
        new DataView((await machine.readMemory(gpa, 4)).buffer).getUint32(0, true);
      return [await read(COUNTER), await read(0x2000)] as const;
    };
    await machine.start();
    await machine.serial.expect('.');
    await until(counts, (now) => now[0] > 0 && now[1] > 0);
    await machine.pause();
    const held = await counts();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(await counts(), held);
    await machine.resume();
    await until(counts, (now) => now[0] !== held[0] && now[1] !== held[1]);
  });

  test('a reset stops the second one until it is started again', async () => {
    await using machine = await create([
      ...startSecond([...print16('b'), ...HALT]),
      ...print('a'),
      ...SPIN,
    ]);
    await machine.start();
    await machine.serial.expect(/ab|ba/);
    await machine.reset();
    await machine.serial.expect(/ab|ba/);
  });

  test('a triple fault of the second one ends the machine, and shows where', async () => {
    // lidt of a limit of 0; ud2
    const second = [0x31, 0xc0, 0x8e, 0xd8, 0x0f, 0x01, 0x1e, 0x00, 0x30, 0x0f, 0x0b];
    const end = await runToEnd([...startSecond(second), ...SPIN]);
    assert.ok(end.reason === 'triple-fault');
    assert.equal(end.registers.cs, BigInt(STARTUP_PAGE << 8));
    assert.equal(end.registers.rip, 9n);
  });

  test('either can turn the machine off, reset it, and write a trace', async () => {
    // mov dx, 0x604; mov ax, 0x2000; out dx, ax
    const powerOff = [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef];
    assert.deepEqual(await runToEnd([...startSecond([...powerOff, ...HALT]), ...SPIN]), {
      reason: 'power-off',
    });
    let text = '';
    const end = await runToEnd(
      [...startSecond([0xb0, 6, 0xba, 0xf9, 0x0c, 0xee, ...SPIN]), ...SPIN],
      {
        onReset: 'stop',
        trace: ['instructions', 'ports'],
        onTrace: (lines) => {
          text += new TextDecoder().decode(lines);
        },
      },
    );
    assert.deepEqual(end, { reason: 'reset' });
    assert.match(text, /^cpu1 instruction 0900:00000000 mov al, 6?0?x?0*6$/m);
    assert.match(text, /^cpu0 instruction 0010:0+100000 /m);
    assert.match(text, /^port write 0x0cf9 <- 0x06 /m);
    assert.deepEqual(await runToEnd([...print('.'), ...POWER_OFF, ...STOP]), {
      reason: 'power-off',
    });
  });

  test('INIT for the boot processor resets the machine', async () => {
    const code = [...store32(ICR_HIGH, 0), ...store32(ICR_LOW, INIT), ...SPIN];
    assert.deepEqual(await runToEnd(code, { onReset: 'stop' }), { reason: 'reset' });
    assert.deepEqual(await runToEnd(out8(0x64, 0xfe), { onReset: 'stop' }), { reason: 'reset' });
  });

  test('processors that have halted cost nothing', async () => {
    await using machine = await create([
      ...startSecond([...print16('b'), ...HALT]),
      ...print('a'),
      ...STOP,
    ]);
    await machine.start();
    await machine.serial.expect(/ab|ba/);
    await machine.processors();
    const idleUs = await idleProcessorUs(150_000);
    assert.ok(idleUs < 150_000, `${idleUs} µs of processor time in 500 ms`);
  });

  test('an NMI wakes and reaches all of them', async () => {
    // Neither has an IDT that would do: both shut down, which ends the machine.
    await using machine = await create([
      ...startSecond([0x0f, 0x01, 0x1e, 0x00, 0x30, ...print16('b'), ...HALT]),
      ...print('a'),
      ...STOP,
    ]);
    await machine.start();
    await machine.serial.expect(/ab|ba/);
    await machine.nmi();
    assert.equal((await machine.exited).reason, 'triple-fault');
  });

  test('the second one waits for its SIPI and not only for INIT', async () => {
    await using machine = await create([
      ...store32(ICR_HIGH, 1 << 24),
      ...store32(ICR_LOW, INIT),
      ...print('.'),
      ...STOP,
    ]);
    await machine.start();
    await machine.serial.expect('.');
    const [first, second] = await machine.processors();
    assert.ok(first !== undefined && second !== undefined);
    assert.ok(first.rip > BigInt(TINY_KERNEL_GPA));
    assert.equal(second.instructionCount, 0);
  });
});

async function runToEnd(
  code: readonly number[],
  options: Partial<MachineOptions> = {},
): Promise<MachineEnd> {
  await using machine = await create(code, options);
  await machine.start();
  return await machine.exited;
}
