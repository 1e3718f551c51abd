// A vCPU's accesses to the board in another worker: values, order, posting, sleeping; commands and replies.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { ACCESS, type Access, ENDED, ProcessorChannel } from './channel.ts';

const HERE = new URL('./channel.ts', import.meta.url).href;
/** Between two looks of a board that is busy with other things: longer than an access spins. */
const BUSY_MS = 3;

/** Runs `body` as a vCPU's worker would, with `ask` and `post`; resolves with what it returned. */
function asVcpu(channel: ProcessorChannel, body: string): Promise<unknown> {
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    import(${JSON.stringify(HERE)}).then(({ ProcessorChannel, ACCESS }) => {
      const channel = new ProcessorChannel(workerData);
      const ask = (kind, address, size, value = 0) =>
        channel.ask({ kind, address, size, value }, () => {});
      const post = (kind, address, size, value = 0) =>
        channel.post({ kind, address, size, value }, () => {});
      parentPort.postMessage((() => { ${body} })());
    });`;
  const worker = new Worker(source, { eval: true, workerData: channel.buffer });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

/** Serves until the vCPU is done, as the board does. */
async function serveUntil<T>(
  done: Promise<T>,
  channel: ProcessorChannel,
  handle: (access: Access) => number,
): Promise<T> {
  let isDone = false;
  const finished = done.finally(() => {
    isDone = true;
  });
  while (!isDone) {
    while (channel.serve(handle));
    await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
  }
  return await finished;
}

test('an access arrives with all its bits, and so does its answer', async () => {
  const channel = new ProcessorChannel();
  const seen: Access[] = [];
  const vcpu = asVcpu(
    channel,
    `return [
      ask(ACCESS.portRead, 0xffff, 2),
      ask(ACCESS.portWrite, 0x3f8, 1, 0xff),
      ask(ACCESS.memoryRead, 0xff_fedc_ba98, 4),
      ask(ACCESS.memoryWrite, 2 ** 40 - 4, 4, 0xffff_fffe),
    ];`,
  );
  const answers = await serveUntil(vcpu, channel, (access) => {
    seen.push(access);
    return 0xffff_fff0 + seen.length;
  });
  assert.deepEqual(answers, [0xffff_fff1, 0xffff_fff2, 0xffff_fff3, 0xffff_fff4]);
  const { portRead, portWrite, memoryRead, memoryWrite } = ACCESS;
  assert.deepEqual(seen, [
    { kind: portRead, address: 0xffff, size: 2, value: 0 },
    { kind: portWrite, address: 0x3f8, size: 1, value: 0xff },
    { kind: memoryRead, address: 0xff_fedc_ba98, size: 4, value: 0 },
    { kind: memoryWrite, address: 2 ** 40 - 4, size: 4, value: 0xffff_fffe },
  ]);
});

test('a posted access does not wait, and what follows it comes behind it', async () => {
  const channel = new ProcessorChannel();
  const order: number[] = [];
  const vcpu = asVcpu(
    channel,
    `post(ACCESS.memoryWrite, 1, 4);
     post(ACCESS.memoryWrite, 2, 4);
     post(ACCESS.endOfInterrupt, 3, 0);
     return ask(ACCESS.memoryRead, 4, 4);`,
  );
  const answer = await serveUntil(vcpu, channel, ({ address }) => {
    order.push(address);
    return address * 10;
  });
  assert.equal(answer, 40);
  assert.deepEqual(order, [1, 2, 3, 4]);
  // With nobody serving, the one posted access leaves at once.
  const alone = new ProcessorChannel();
  assert.equal(await asVcpu(alone, 'post(ACCESS.memoryWrite, 7, 4); return 5;'), 5);
  assert.ok(alone.serve(({ address }) => address));
  assert.ok(!alone.serve(() => 0));
});

test('thousands of accesses get their own answers, spinning or asleep', async () => {
  const channel = new ProcessorChannel();
  const vcpu = asVcpu(
    channel,
    `let wrong = 0;
     for (let n = 0; n < 3000; n++) {
       if (n % 7 === 0) post(ACCESS.memoryWrite, n, 4, n);
       if (ask(ACCESS.memoryRead, n, 4) !== ((n * 3) >>> 0)) wrong++;
     }
     return wrong;`,
  );
  let served = 0;
  let isDone = false;
  const done = vcpu.finally(() => {
    isDone = true;
  });
  while (!isDone) {
    for (let spin = 0; spin < 2000; spin++)
      if (channel.serve(({ address }) => address * 3)) served += 1;
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assert.equal(await done, 0);
  assert.equal(served, 3000 + Math.ceil(3000 / 7));
});

test('commands and replies keep their kinds; an end is seen', () => {
  const board = new ProcessorChannel();
  const vcpu = new ProcessorChannel(board.buffer);
  assert.equal(vcpu.takeCommand(), undefined);
  const command = { name: 'writeRegister', argument: { register: 'rax', value: 2n ** 64n - 1n } };
  board.command(command);
  assert.deepEqual(vcpu.takeCommand(), command);
  vcpu.reply({ value: Uint8Array.of(1, 2, 3) });
  assert.deepEqual(board.takeReply(), { value: Uint8Array.of(1, 2, 3) });
  assert.equal(board.takeReply(), undefined);
  assert.equal(board.ended, 0);
  vcpu.end(ENDED.shutdown);
  assert.equal(board.ended, ENDED.shutdown);
});
