// A whole PC in its worker, from the API's end: small kernels of our own drive the real processor and board.

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
import { idleProcessorUs } from './testing/waiting.ts';

function create(code: readonly number[], options: Partial<MachineOptions> = {}): Promise<Machine> {
  return Machine.create(
    { kernel: tinyKernel(code), memory: '16M', ...options },
    nodeHost(undefined, { keepTranslations: false }),
  );
}

async function run(
  code: readonly number[],
  options: Partial<MachineOptions> = {},
): Promise<MachineEnd> {
  await using machine = await create(code, options);
  await machine.start();
  return await machine.exited;
}

// Building the engine takes most of each test; two at a time is what small machines have processors for.
describe('a PC', { concurrency: 2 }, () => {
  test('a kernel prints on the serial port and turns the machine off', async () => {
    await using machine = await create([...print('Hello!\n'), ...POWER_OFF, ...STOP]);
    await machine.start();
    assert.deepEqual(await machine.exited, { reason: 'power-off' });
    assert.equal(machine.serial.tail, 'Hello!\n');
  });

  test('typed bytes come back from a kernel that polls the port', async () => {
    const echo = [
      ...[0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7], // mov dx, 0x3fd; in al, dx; test al, 1; jz
      ...[0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xef], // mov dx, 0x3f8; in al, dx; out dx, al; jmp
    ];
    await using machine = await create([...print('>'), ...echo]);
    await machine.start();
    await machine.serial.expect('>');
    const text = Array.from({ length: 1000 }, (_, index) => `${index},`).join('');
    await machine.serial.write(`${text}.`);
    assert.equal((await machine.serial.expect('.')).before, text);
  });

  test('input that is held comes once the receive interrupt is on, not before', async () => {
    const copyOne = [
      ...[0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7],
      ...[0x66, 0xba, 0xf8, 0x03, 0xec, 0xee],
    ];
    // FIFO control 7 empties the port, as drivers do; then the interrupt is enabled, which nobody serves.
    const driver = [...out8(0x3fa, 7), ...out8(0x3f9, 1), ...copyOne, ...copyOne, ...STOP];
    const wait = [0xb9, 0x00, 0x00, 0x80, 0x00, 0xe2, 0xfe]; // mov ecx, 0x800000; loop $
    await using machine = await create([...wait, ...driver], { earlySerialInput: 'hold' });
    await machine.serial.write('ok');
    await machine.start();
    await machine.serial.expect('ok');
  });

  test('a triple fault ends the machine where it happened', async () => {
    const end = await run([0xf8, 0x0f, 0x0b]); // clc; ud2, without an IDT
    assert.ok(end.reason === 'triple-fault');
    assert.equal(end.registers.rip, BigInt(TINY_KERNEL_GPA + 1));
  });

  test('a triple fault boots again if that was asked for', async () => {
    await using machine = await create([...print('boot '), 0x0f, 0x0b], { onTripleFault: 'reset' });
    await machine.start();
    await machine.serial.expect('boot boot boot ');
  });

  test('reset boots the same kernel on the same machine', async () => {
    const count = [0xff, 0x05, 0x00, 0x00, 0x20, 0x00]; // inc dword [0x200000]
    await using machine = await create([...count, ...print('up\n'), ...out8(0xcf9, 6), ...STOP]);
    await machine.start();
    await machine.serial.expect('up\nup\nup\n');
    await machine.pause();
    const booted = new DataView((await machine.readMemory(0x20_0000, 4)).buffer).getUint32(0, true);
    assert.ok(booted >= 3);
    assert.deepEqual(await run(out8(0xcf9, 6), { onReset: 'stop' }), { reason: 'reset' });
    assert.deepEqual(await run(out8(0x64, 0xfe), { onReset: 'stop' }), { reason: 'reset' });
  });

  test('a guest that spins can be paused, moved and let run', async () => {
    await using machine = await create([0xeb, 0xfe, ...print('moved'), ...STOP]); // jmp $
    await machine.start();
    await machine.pause();
    assert.equal(await machine.readRegister('rip'), BigInt(TINY_KERNEL_GPA));
    await machine.writeRegister('rip', BigInt(TINY_KERNEL_GPA + 2));
    await machine.resume();
    await machine.serial.expect('moved');
  });

  test('code that is written from outside runs in place of the old', async () => {
    await using machine = await create([0xeb, 0xfe, ...print('new'), ...STOP]);
    await machine.start();
    await machine.pause();
    await machine.writeMemory(TINY_KERNEL_GPA, Uint8Array.of(0x90, 0x90));
    await machine.resume();
    await machine.serial.expect('new');
  });

  test('code above 2 GiB runs, also across a page and when it is rewritten', async () => {
    await using machine = await create([0xeb, 0xfe], { memory: '3584M' });
    const high = 0xdeadb000;
    for (const start of [high - 6, high - 1]) {
      await machine.writeMemory(start, Uint8Array.from([...print('high '), 0xeb, 0xfe]));
      await machine.writeRegister('rip', BigInt(start));
      await machine.start();
      await machine.serial.expect('high ');
      await machine.pause();
    }
  });

  test('the monitor looks into a real machine', async () => {
    await using machine = await create([0xf8, 0x31, 0xc0, ...STOP]);
    assert.match(
      await machine.monitor('disasm $rip 2'),
      /100000 {2}f8 +clc\n.*31 c0 +xor eax, eax$/,
    );
    assert.match(
      await machine.monitor('info registers'),
      /rip +0000000000100000.*\n(.*\n)*cs +0010 base/,
    );
    assert.match(
      await machine.monitor('info pic'),
      /^local-apic-0.*\n(.*\n)*ioapic {2}memory 0xfec00000/,
    );
    assert.match(await machine.monitor('info devices'), /^com1 {2}ports 0x3f8-0x3ff$/m);
    await assert.rejects(machine.monitor('info mem'), /paging turned off/);
  });

  test('every kind of trace writes its lines, in the order of what happened', async () => {
    let text = '';
    const idtless = [0x0f, 0x0b];
    const mmio = [0xa1, 0x00, 0x00, 0xd0, 0xfe]; // mov eax, [0xfed00000]: the HPET
    const end = await run([0xf8, ...out8(0x80, 0x42), ...mmio, ...idtless], {
      trace: ['instructions', 'ports', 'mmio', 'exceptions'],
      onTrace: (lines) => {
        text += new TextDecoder().decode(lines);
      },
    });
    assert.equal(end.reason, 'triple-fault');
    const lines = text.trim().split('\n');
    assert.equal(lines[0], 'instruction 0010:00100000 clc');
    const port = lines.indexOf('port write 0x0080 <- 0x42 post-code');
    assert.match(lines[port - 1] ?? '', /out dx, al$/);
    const access = lines.findIndex((line) => line.startsWith('mmio read 0xfed00000 -> 0x'));
    assert.match(lines[access - 1] ?? '', /mov eax, \[0xfed00000\]$/);
    assert.match(lines[access] ?? '', / hpet$/);
    assert.match(lines.slice(access).join('\n'), /exception #UD at 0010:001000/);
    assert.match(text, /exception #GP code 0x43 /);
  });

  test('a seed gives every run the same random numbers', async () => {
    const rdrand = [0x0f, 0xc7, 0xf0, 0xa3, 0x00, 0x00, 0x20, 0x00]; // rdrand eax; mov [0x200000], eax
    const draw = async (rng: MachineOptions['rng']) => {
      await using machine = await create([...rdrand, ...print('.'), ...STOP], rng ? { rng } : {});
      await machine.start();
      await machine.serial.expect('.');
      return Buffer.from(await machine.readMemory(0x20_0000, 4)).toString('hex');
    };
    assert.equal(await draw({ seed: 7 }), await draw({ seed: 7 }));
    assert.notEqual(await draw({ seed: 7 }), await draw({ seed: 8 }));
  });

  test('a file that is no kernel fails before anything runs', async () => {
    const kernel = new TextEncoder().encode('#!/bin/sh\n');
    await assert.rejects(
      Machine.create({ kernel }, nodeHost(undefined, { keepTranslations: false })),
      { code: 'BOOT_NOT_A_KERNEL' },
    );
  });
});

test('a halted guest wakes for nothing and costs nothing', async () => {
  await using machine = await create([...print('halted'), ...STOP]);
  await machine.start();
  await machine.serial.expect('halted');
  await machine.readRegister('rip');
  const idleUs = await idleProcessorUs(100_000);
  assert.ok(idleUs < 100_000, `${idleUs} µs of processor time in 500 ms`);
});
