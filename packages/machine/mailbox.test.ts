import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMAND_RING_BYTES, Mailbox } from './mailbox.ts';

test('commands arrive in order with their 64-bit numbers and bytes', async () => {
  const host = new Mailbox();
  const worker = new Mailbox(host.buffer);
  const first = {
    id: 1,
    argument: { value: 0xffff_ffff_8000_0000n, bytes: Uint8Array.of(0, 255) },
  };
  await host.post(first);
  await host.post({ id: 2, argument: { text: 'größer' } });
  assert.deepEqual(worker.take(), first);
  assert.deepEqual(worker.take(), { id: 2, argument: { text: 'größer' } });
  assert.equal(worker.take(), undefined);
});

test('a command that does not fit waits until earlier ones have been taken', async () => {
  const host = new Mailbox();
  const worker = new Mailbox(host.buffer);
  const large = 'x'.repeat(COMMAND_RING_BYTES / 2);
  await host.post(large);
  let posted = false;
  const second = host.post(large).then(() => {
    posted = true;
  });
  await new Promise(setImmediate);
  assert.equal(posted, false);
  assert.equal(worker.take(), large);
  await second;
  assert.equal(worker.take(), large);
});

test('a bell that rang before the sleep ends it at once', () => {
  const host = new Mailbox();
  const worker = new Mailbox(host.buffer);
  const bell = worker.bell;
  host.ring();
  const start = performance.now();
  worker.sleep(bell, 10_000);
  assert.ok(performance.now() - start < 5_000);
});

test('acknowledged bytes are counted modulo 2^32', () => {
  const mailbox = new Mailbox();
  mailbox.acknowledge(0xffff_fff0);
  mailbox.acknowledge(0x20);
  assert.equal(mailbox.acknowledged, 0x10);
});
