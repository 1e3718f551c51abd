// Deterministic machines from the API's end: the same options and input give the same state, and a recording gives a
// run again. Small kernels drive the real processor and board; tests/boot does it with Linux.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type FinalState, Machine, type MachineEnd, type MachineOptions } from '@mimic/machine';
import { POWER_OFF, print, STOP, tinyKernel } from '../../machine/testing/tiny-kernel.ts';
import { nodeHost } from './node-host.ts';

interface Run {
  readonly end: MachineEnd;
  readonly final: FinalState;
  readonly output: string;
  readonly recording: string;
}

type Options = Partial<MachineOptions>;

/** Runs to the end; `live` may meddle while the guest runs. */
async function run(
  code: readonly number[],
  options: Options = {},
  live: (machine: Machine) => Promise<void> = async () => {},
): Promise<Run> {
  const lines: string[] = [];
  await using machine = await Machine.create(
    {
      kernel: tinyKernel(code),
      memory: '16M',
      deterministic: {},
      onRecord: (line) => void lines.push(line),
      ...options,
    },
    nodeHost(undefined, { keepTranslations: false }),
  );
  let output = '';
  const reading = (async () => {
    for await (const bytes of machine.serial.readable) output += Buffer.from(bytes).toString();
  })();
  await machine.start();
  await live(machine);
  const end = await machine.exited;
  await reading;
  assert.ok(machine.finalState);
  return { end, final: machine.finalState, output, recording: lines.join('\n') };
}

const replayed = (code: readonly number[], { recording }: Run, options: Options = {}) =>
  run(code, { replay: recording, ...options });

/** Types what comes in back, until a '.', which turns the machine off. */
const ECHO = [
  ...print('>'),
  ...[0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7], // mov dx, 0x3fd; in al, dx; test al, 1; jz
  ...[0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0x3c, 0x2e, 0x75, 0xed], // mov dx, 0x3f8; in al, dx; out dx, al; cmp al, '.'; jne
  ...POWER_OFF,
  ...STOP,
];
/** rdtsc and rdrand, each to the serial port, a byte of it. */
const CLOCK_AND_DICE = [...[0x0f, 0x31, 0x66, 0xba, 0xf8, 0x03, 0xee], ...[0x0f, 0xc7, 0xf0, 0xee]];
const SPIN = [0xeb, 0xfe];

// Building the engine takes most of each test; two at a time is what small machines have processors for.
describe('a deterministic PC', { concurrency: 2 }, () => {
  test('runs the same each time, and otherwise with another seed', async () => {
    const code = [...CLOCK_AND_DICE, ...CLOCK_AND_DICE, ...POWER_OFF, ...STOP];
    const first = await run(code);
    assert.equal(first.end.reason, 'power-off');
    const second = await run(code);
    assert.deepEqual(second, first);
    const other = await run(code, { deterministic: { seed: 7 } });
    assert.equal(other.final.count, first.final.count);
    assert.notEqual(other.final.sha256, first.final.sha256);
    assert.notEqual(other.output, first.output);
  });

  test('stops behind exactly as many instructions as it is told to, its clock with it', async () => {
    const options = { deterministic: { instructionsMax: 1_234_567, nsPerInstruction: 3 } };
    const { end, final } = await run(SPIN, options);
    assert.deepEqual(end, { reason: 'instruction-limit' });
    assert.equal(final.count, 1_234_567);
    assert.equal(final.ns, 3 * 1_234_567);
  });

  test('halted, finds itself at its next timer at once', async () => {
    // PIC: IRQ0 alone, vector 0x20; PIT: 65536 counts a tick, 18.2 Hz; 36 times: hlt; then off.
    const pic = [0x11, 0x20, 4, 1].flatMap((value, n) => [
      0xb0,
      value,
      0xe6,
      n === 0 ? 0x20 : 0x21,
    ]);
    const setup = [
      ...pic,
      0xb0,
      0xfe,
      0xe6,
      0x21,
      0xb0,
      0x34,
      0xe6,
      0x43,
      0x30,
      0xc0,
      0xe6,
      0x40,
      0xe6,
      0x40,
    ];
    // An IDT at 0 with one gate, 0x20, to 0x1000: mov al, 0x20; out 0x20, al; iret.
    const gate = [
      ...[0xc7, 5, 0, 1, 0, 0, 0, 0x10, 8, 0], // mov dword [0x100], 0x00081000, the selector patched below
      ...[0x66, 0x8c, 0x0d, 2, 1, 0, 0], // mov [0x102], cs
      ...[0xc7, 5, 4, 1, 0, 0, 0, 0x8e, 0, 0], // mov dword [0x104], 0x8e00
      ...[0xc7, 5, 0, 0x10, 0, 0, 0xb0, 0x20, 0xe6, 0x20], // mov dword [0x1000], the code
      ...[0xc7, 5, 4, 0x10, 0, 0, 0xcf, 0, 0, 0],
      ...[0xc7, 5, 0, 0x20, 0, 0, 0xff, 7, 0, 0, 0xc7, 5, 4, 0x20, 0, 0, 0, 0, 0, 0],
      ...[0x0f, 1, 0x1d, 0, 0x20, 0, 0, 0xbc, 0, 0, 2, 0], // lidt [0x2000]; mov esp, 0x20000
    ];
    const wait = [0xb9, 36, 0, 0, 0, 0xfb, 0xf4, 0xe2, 0xfd]; // mov ecx, 36; sti; hlt; loop
    const { end, final } = await run([...gate, ...setup, ...wait, ...POWER_OFF, ...STOP]);
    assert.equal(end.reason, 'power-off');
    const seconds = final.ns / 1e9;
    assert.ok(seconds > 1.9 && seconds < 2.1, `${seconds} s for 36 ticks of a PIT`);
    assert.ok(final.count < 1000);
  });

  test('a recording gives the run again, input and buttons included', async () => {
    const recorded = await run(ECHO, {}, async (machine) => {
      await machine.serial.expect('>');
      await machine.serial.write('a line that is longer than the port holds at once\r');
      await machine.serial.expect('once\r');
      await machine.pressPowerButton();
      await machine.writeMemory(0x30_0000, Uint8Array.of(1, 2, 3));
      await machine.writeRegister('r9', 0x1234_5678_9abc_def0n);
      await machine.serial.write('and another one.');
    });
    assert.equal(recorded.end.reason, 'power-off');
    const again = await replayed(ECHO, recorded);
    assert.deepEqual(again, recorded);
    assert.match(again.output, /^>a line .* once\rand another one\.$/);
  });

  test('a replay ends where the recorded machine was stopped', async () => {
    const recorded = await run(SPIN, {}, (machine) => machine.stop());
    assert.equal(recorded.end.reason, 'stopped');
    assert.deepEqual(await replayed(SPIN, recorded), recorded);
  });

  test('nobody else has a say in a replay', async () => {
    const recorded = await run(ECHO, {}, async (machine) => {
      await machine.serial.expect('>');
      await machine.serial.write('x.');
    });
    const again = await run(ECHO, { replay: recorded.recording }, async (machine) => {
      await machine.serial.write('y').catch(() => undefined);
      await assert.rejects(machine.nmi(), { code: 'BAD_STATE' });
    });
    assert.deepEqual(again.final, recorded.final);
  });

  test('a replay that leaves the recorded path says where', async () => {
    const recorded = await run(ECHO, {}, async (machine) => {
      await machine.serial.expect('>');
      await machine.serial.write('abc.');
    });
    const { recording } = recorded;
    const changed = { ...recorded, recording: recording.replace(/"\$hex":"61/, '"$hex":"2e') };
    assert.notEqual(changed.recording, recording);
    const early = await replayed(ECHO, changed);
    assert.ok(early.end.reason === 'diverged');
    assert.match(early.end.message, /instruction \d+/);
    const otherEnd = { ...recorded, recording: recording.replace(/"sha256":"./, '"sha256":"x') };
    const end = (await replayed(ECHO, otherEnd)).end;
    assert.ok(end.reason === 'diverged');
    assert.match(end.message, /in another state/);
  });

  test('a recorded command that cannot be carried out ends the replay', async () => {
    const recorded = await run(SPIN, {}, async (machine) => {
      await machine.writeRegister('rbx', 1n);
      await machine.stop();
    });
    const recording = recorded.recording.replace('"rbx"', '"rbp2"');
    const { end } = await replayed(SPIN, { ...recorded, recording });
    assert.ok(end.reason === 'diverged');
    assert.match(end.message, /^writeRegister is refused at instruction \d+/);
  });

  test('with idle set to wait, a halted guest takes as long as it would', async () => {
    // The RTC's 2 Hz, masked at the PIC, keeps a timer armed; nothing wakes the guest, which is stopped.
    const rtc = [
      0xb0, 0x0a, 0xe6, 0x70, 0xb0, 0x2f, 0xe6, 0x71, 0xb0, 0x0b, 0xe6, 0x70, 0xb0, 0x42, 0xe6,
      0x71,
    ];
    const started = performance.now();
    const { final } = await run(
      [...rtc, ...print('!'), ...STOP],
      { deterministic: { idle: 'wait' } },
      async (machine) => {
        await machine.serial.expect('!');
        await new Promise((resolve) => setTimeout(resolve, 300));
        await machine.stop();
      },
    );
    assert.ok(final.ns / 1e6 <= performance.now() - started, `${final.ns} ns of guest time`);
  });

  test('a recording is refused by a machine that is made from something else', async () => {
    const recorded = await run([...POWER_OFF, ...STOP]);
    const refused = { code: 'BAD_RECORDING' };
    await assert.rejects(replayed(ECHO, recorded), { ...refused, message: /another kernel/ });
    await assert.rejects(replayed([...POWER_OFF, ...STOP], recorded, { memory: '17M' }), {
      ...refused,
      message: /another memoryBytes/,
    });
  });

  test('the hash can be asked for on the way, and changes nothing', async () => {
    const recorded = await run(ECHO, {}, async (machine) => {
      await machine.serial.expect('>');
      const { sha256, count } = await machine.stateHash();
      assert.match(sha256, /^[\da-f]{64}$/);
      assert.ok(count > 0);
      assert.match(await machine.monitor('info hash'), /^[\da-f]{64} {2}behind \d+ instructions$/);
      await machine.serial.write('.');
    });
    // Nobody asks for it there.
    assert.deepEqual((await replayed(ECHO, recorded)).final, recorded.final);
  });
});
