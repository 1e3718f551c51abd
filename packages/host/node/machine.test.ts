// A whole machine in its worker, with a scripted computer in place of processor and board: lifecycle, serial port,
// events, monitor, and what happens at the edges.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Machine, type MachineEnd, type MachineOptions } from '@mimic/machine';
import { nodeHost } from './node-host.ts';
import { idleProcessorUs } from './testing/waiting.ts';

const HOST = nodeHost(new URL('./testing/scripted-worker.ts', import.meta.url));

function create(script: string, options: Partial<MachineOptions> = {}): Promise<Machine> {
  return Machine.create({ kernel: new TextEncoder().encode(script), ...options }, HOST);
}

async function run(script: string, options: Partial<MachineOptions> = {}): Promise<MachineEnd> {
  await using machine = await create(script, options);
  await machine.start();
  return await machine.exited;
}

test('a guest that turns itself off ends the machine', async () => {
  assert.deepEqual(await run('print hello\\n\npoweroff'), { reason: 'power-off' });
});

test('nothing of the output is lost, to the last byte before the end', async () => {
  const lineCount = 400_000;
  await using machine = await create(`flood ${lineCount}\npoweroff`);
  const chunks: Uint8Array[] = [];
  const reading = (async () => {
    for await (const chunk of machine.serial.readable) chunks.push(chunk);
  })();
  await machine.start();
  await machine.exited;
  await reading;
  const text = Buffer.concat(chunks).toString();
  assert.equal(text.length, lineCount * 8);
  const lines = text.trimEnd().split('\n');
  assert.ok(lines.every((line, index) => Number(line) === index));
});

test('a reader that does not read holds the guest, which goes on when it does', async () => {
  const pieces = Array(40).fill('flood 8192').join('\n');
  await using machine = await create(`${pieces}\npoweroff`);
  const reader = machine.serial.readable.getReader();
  await machine.start();
  const early = await Promise.race([
    machine.exited,
    new Promise((resolve) => setTimeout(resolve, 200, 'still running')),
  ]);
  assert.equal(early, 'still running');
  let total = 0;
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    total += chunk.value.length;
  }
  assert.equal(total, 40 * 8192 * 8);
  assert.deepEqual(await machine.exited, { reason: 'power-off' });
});

test('what is typed reaches the guest through its small buffer, in order', async () => {
  await using machine = await create('echo');
  await machine.start();
  await machine.serial.expect('echoing');
  const text = Array.from({ length: 5000 }, (_, index) => `${index} `).join('');
  await machine.serial.write(`${text}end`);
  const { before } = await machine.serial.expect('end');
  assert.equal(before.trimStart(), text);
});

test('each console port has its own stream both ways, and wakes a guest that sleeps', async () => {
  await using machine = await create('halt', { consoles: [{}, { name: 'org.example.b' }] });
  await machine.start();
  const text = (name: string) =>
    Array.from({ length: 30_000 }, (_, index) => `${name}${index} `).join('');
  const [first, second] = machine.consoles;
  assert.ok(first !== undefined && second !== undefined && machine.consoles.length === 2);
  // Twice what a ring holds, so that the writers have to wait for the reader.
  const written = [first.write(`${text('a')}.`), second.write(`${text('b')}.`)];
  assert.equal((await first.expect('.')).before, text('a'));
  assert.equal((await second.expect('.')).before, text('b'));
  await Promise.all(written);
  await machine.stop();
  await assert.rejects(second.expect('more'), { code: 'MACHINE_ENDED' });
  assert.equal(machine.serial.tail, '');
});

test('an idle guest costs the host next to nothing, and wakes for input and timers', async () => {
  await using machine = await create('print idle\\n\nsleep 300\nprint awake\\n');
  await machine.start();
  await machine.serial.expect('awake');
  await machine.serial.sendLine('print typed\\n');
  await machine.serial.expect('typed');
  await machine.serial.sendLine('sleep 600000');
  const idleUs = await idleProcessorUs(100_000);
  assert.ok(idleUs < 100_000, `${idleUs} µs of processor time in 500 ms`);
});

test('commands reach a guest that never halts', async () => {
  await using machine = await create('print busy\\n\nspin');
  await machine.start();
  await machine.serial.expect('busy');
  await machine.pause();
  assert.equal(machine.state, 'paused');
  assert.equal(await machine.readRegister('rip'), 0x10_0000n);
  await machine.resume();
  assert.equal(machine.state, 'running');
  await machine.stop();
  assert.deepEqual(machine.end, { reason: 'stopped' });
  await machine.stop();
});

test('guest time stands still while the machine is paused', async () => {
  // A busy computer may pause it only behind the sleep, which shows nothing: then a longer one.
  for (let sleepMs = 50; ; sleepMs *= 4) {
    await using machine = await create(`print a\\n\nsleep ${sleepMs}\nprint b\\n`);
    await machine.start();
    await machine.serial.expect('a');
    await machine.pause();
    if (machine.serial.tail.includes('b')) continue;
    const late = machine.serial.expect('b', { timeoutMs: 4 * sleepMs });
    await assert.rejects(late, { code: 'EXPECT_TIMEOUT' });
    await machine.resume();
    await machine.serial.expect('b');
    return;
  }
});

test('a reset boots again, or ends the machine if that was asked for', async () => {
  await using machine = await create('print booted\\n');
  let resets = 0;
  machine.on('reset', () => resets++);
  await machine.start();
  await machine.serial.expect('booted');
  await machine.serial.sendLine('reset');
  await machine.serial.expect('booted');
  await machine.reset();
  await machine.serial.expect('booted');
  assert.equal(resets, 2);
  assert.deepEqual(await run('reset', { onReset: 'stop' }), { reason: 'reset' });
});

test('a reset after the last words of a kernel is a panic', async () => {
  const words = 'print [ 1.0] Kernel panic - not syncing: No working init found.\\n';
  await using machine = await create(`${words}\nreset`, { onReset: 'stop' });
  const news: unknown[] = [];
  machine.on('panic', (detail) => news.push(detail));
  await machine.start();
  assert.deepEqual(await machine.exited, {
    reason: 'panic',
    message: 'No working init found.',
  });
  assert.deepEqual(news, [{ message: 'No working init found.', final: false }]);
});

test('a triple fault ends the machine and brings the registers', async () => {
  const end = await run('triple-fault');
  assert.equal(end.reason, 'triple-fault');
  assert.ok(end.reason === 'triple-fault' && end.registers.rip === 0x10_0000n);
});

test('a bug in the worker ends the machine with its stack, and later calls say so', async () => {
  await using machine = await create('crash');
  await machine.start();
  const end = await machine.exited;
  assert.ok(end.reason === 'crashed' && end.stack.includes('told to crash'));
  await assert.rejects(machine.readRegister('rip'), { code: 'BAD_STATE' });
});

test('the power button works for a guest that listens to it', async () => {
  await using machine = await create('answer-power-button\nprint up\\n\nhalt');
  await machine.start();
  await machine.serial.expect('up');
  await machine.pressPowerButton();
  assert.deepEqual(await machine.exited, { reason: 'power-off' });
});

test('memory is read and written by physical and by virtual address', async () => {
  await using machine = await create('halt');
  const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => index * 7);
  await machine.writeMemory(0x1000, bytes);
  assert.deepEqual(await machine.readMemory(0x1000, bytes.length), bytes);
  assert.deepEqual(await machine.readVirtualMemory(0x1ffen, 4), bytes.slice(0xffe, 0x1002));
  await machine.writeVirtualMemory(0x2000n, Uint8Array.of(1, 2, 3));
  assert.deepEqual(await machine.readMemory(0x2000, 3), Uint8Array.of(1, 2, 3));
  assert.equal(await machine.translate(1n << 40n), undefined);
  await assert.rejects(machine.readVirtualMemory(1n << 40n, 4), { code: 'BAD_ADDRESS' });
  await assert.rejects(machine.readMemory(2 ** 40, 4), { code: 'BAD_ADDRESS' });
  await assert.rejects(machine.readMemory(-4, 4), { code: 'BAD_ADDRESS' });
});

test('registers are read and written by name', async () => {
  await using machine = await create('halt');
  await machine.writeRegister('rax', 0xffff_ffff_ffff_fffen);
  assert.equal(await machine.readRegister('rax'), 0xffff_ffff_ffff_fffen);
  assert.deepEqual(Object.keys(await machine.readRegisters()).slice(0, 2), ['rax', 'rip']);
  await assert.rejects(machine.readRegister('eip'), { code: 'BAD_REGISTER' });
  await assert.rejects(machine.writeRegister('foo', 1n), { code: 'BAD_REGISTER' });
});

test('the monitor prints registers, memory, devices, and says what it did not understand', async () => {
  await using machine = await create('halt');
  await machine.writeMemory(0x1000, new TextEncoder().encode('Hello, monitor!!'));
  await machine.writeRegister('rax', 0xff8n);
  assert.match(await machine.monitor('info registers'), /rax +0000000000000ff8/);
  assert.equal(await machine.monitor('xp/4xb 0x1000'), '0x0000000000001000: 0x48 0x65 0x6c 0x6c');
  assert.match(await machine.monitor('x/5c $rax+8'), /H e l l o$/);
  assert.match(await machine.monitor('x /1dw 0x2000-0x1000'), /: 1819043144$/);
  assert.match(await machine.monitor('info pic'), /pic8259 {2}ports 0x20-0x21\n {2}imr: 0xff/);
  assert.match(await machine.monitor('page-walk 0x1000'), /paging is off/);
  assert.equal((await machine.monitor('disasm $rip 3')).split('\n').length, 3);
  for (const row of (await machine.monitor('help')).split('\n')) assert.match(row, /^\S.* {2}\S/);
  for (const line of ['frobnicate', 'info', 'x/9999999xb 0', 'x/1z 0', 'x', 'x 5$', 'toString']) {
    await assert.rejects(machine.monitor(line), { code: 'BAD_COMMAND' }, line);
  }
  assert.equal(await machine.monitor(''), '');
  assert.equal(await machine.monitor('quit'), 'ended');
  assert.equal(machine.state, 'ended');
});

test('trace lines go where they were asked to, and can be turned off', async () => {
  let text = '';
  await using machine = await create('print one\\n', {
    trace: ['instructions'],
    onTrace: (lines) => {
      text += new TextDecoder().decode(lines);
    },
  });
  await machine.start();
  await machine.serial.expect('one');
  await machine.trace([]);
  await machine.serial.sendLine('print two\\n');
  await machine.serial.expect('two');
  assert.equal(text, 'instruction print one\\n\n');
});

test('disks are given back when the machine ends, and when it could not be made', async () => {
  let closed = 0;
  const disk = { sizeBytes: 512, readOnly: true, descriptor: null, close: () => closed++ };
  await run('poweroff', { disks: [disk] });
  assert.equal(closed, 1);
  await assert.rejects(create('halt', { disks: [disk], memory: '1M' }), { code: 'BAD_OPTION' });
  assert.equal(closed, 2);
});
