import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mailbox, SERIAL_INPUT_RING_BYTES } from './mailbox.ts';
import { SerialPort } from './serial.ts';

function makePort(): { port: SerialPort; mailbox: Mailbox; send: (text: string) => void } {
  const mailbox = new Mailbox();
  const port = new SerialPort(mailbox);
  const send = (text: string) => void port.deliver(new TextEncoder().encode(text));
  return { port, mailbox, send };
}

test('expect finds text that came before and text that comes later, and moves past it', async () => {
  const { port, send } = makePort();
  send('boot\nlogin: ');
  assert.equal((await port.expect('login: ')).before, 'boot\n');
  const next = port.expect(/login: $/);
  send('Password: \nlog');
  send('in: ');
  assert.equal((await next).before, 'Password: \n');
});

test('expect returns the groups of an expression', async () => {
  const { port, send } = makePort();
  send('load 0.25\n');
  const { groups, text } = await port.expect(/load (\d+)\.(\d+)(x)?/g);
  assert.deepEqual(groups, ['0', '25', undefined]);
  assert.equal(text, 'load 0.25');
});

test('expectations that wait together are served in order', async () => {
  const { port, send } = makePort();
  const both = [port.expect('a'), port.expect('a')];
  send('1a');
  assert.equal((await both[0])?.before, '1');
  send('2a');
  assert.equal((await both[1])?.before, '2');
});

test('a timeout quotes the last output', async () => {
  const { port, send } = makePort();
  send('one\ntwo');
  await assert.rejects(port.expect('three', { timeoutMs: 10 }), {
    code: 'EXPECT_TIMEOUT',
    message: /"three" did not come within 0.01 s\n.*\n {2}\| one\n {2}\| two$/,
  });
});

test('an abort signal ends expect with its reason', async () => {
  const { port } = makePort();
  const controller = new AbortController();
  const waiting = port.expect('never', { signal: controller.signal });
  controller.abort(new Error('changed my mind'));
  await assert.rejects(waiting, { message: 'changed my mind' });
});

test('the end of the machine fails what waits for it and what comes after', async () => {
  const { port, send } = makePort();
  send('bye\n');
  const waiting = port.expect('hello');
  port.end('power-off');
  await assert.rejects(waiting, { code: 'MACHINE_ENDED', message: /\(power-off\).*bye/s });
  await assert.rejects(port.expect('hello'), { code: 'MACHINE_ENDED' });
  assert.equal((await port.expect('bye')).text, 'bye');
});

test('a reader of the stream that is slow makes delivery wait, and gets every byte', async () => {
  const { port } = makePort();
  const reader = port.readable.getReader();
  let held = 0;
  const total = 40;
  const sending = (async () => {
    for (let count = 0; count < total; count++) {
      const delivered = port.deliver(new Uint8Array(8192).fill(count));
      if (delivered !== undefined) held++;
      await delivered;
    }
    port.end('power-off');
  })();
  await new Promise(setImmediate);
  let received = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    assert.equal(value[0], Math.floor(received / 8192));
    received += value.length;
  }
  await sending;
  assert.equal(received, total * 8192);
  assert.ok(held > 0);
});

test('several deliveries that wait are released together', async () => {
  const { port } = makePort();
  const reader = port.readable.getReader();
  const held = [1, 2, 3].map(() => port.deliver(new Uint8Array(1 << 17)));
  assert.ok(held.every((delivery) => delivery instanceof Promise));
  for (let count = 0; count < 3; count++) await reader.read();
  await Promise.all(held);
});

test('a cancelled stream no longer holds the guest', async () => {
  const { port } = makePort();
  const stream = port.readable;
  const held = port.deliver(new Uint8Array(1 << 17));
  assert.ok(held instanceof Promise);
  await stream.cancel();
  await held;
  assert.equal(port.deliver(new Uint8Array(1 << 17)), undefined);
});

test('writes keep their order and wait for room', async () => {
  const { port, mailbox } = makePort();
  const large = new Uint8Array(SERIAL_INPUT_RING_BYTES + 10).fill(1);
  let done = false;
  const writing = Promise.all([port.write(large), port.sendLine('x')]).then(() => {
    done = true;
  });
  await new Promise(setImmediate);
  assert.equal(done, false);
  const taken: number[] = [...mailbox.serialInput.read(1 << 20)];
  await writing;
  taken.push(...mailbox.serialInput.read(1 << 20));
  assert.equal(taken.length, large.length + 2);
  assert.deepEqual(taken.slice(-3), [1, 'x'.charCodeAt(0), 13]);
});

test('a write that waits for room fails when the machine ends', async () => {
  const { port } = makePort();
  const writing = port.write(new Uint8Array(SERIAL_INPUT_RING_BYTES + 1));
  await new Promise(setImmediate);
  port.end('stopped');
  await assert.rejects(writing, { code: 'MACHINE_ENDED' });
});
