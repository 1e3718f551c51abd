import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { TcpConsole } from './tcp-console.ts';

test('a caller sees the last output, then what follows, and types to the guest', async () => {
  const typed: string[] = [];
  const server = await TcpConsole.listen('127.0.0.1:0', async (bytes) => {
    typed.push(new TextDecoder().decode(bytes));
  });
  await server.write(new TextEncoder().encode('before '));
  const caller = connect(server.port, '127.0.0.1');
  caller.setEncoding('utf8');
  let seen = '';
  caller.on('data', (text) => {
    seen += text;
  });
  await once(caller, 'data');
  caller.write('ls\n');
  await server.write(new TextEncoder().encode('after'));
  while (typed.length === 0) await new Promise(setImmediate);
  const ended = once(caller, 'end');
  await server.close();
  await ended;
  assert.equal(seen, 'before after');
  assert.deepEqual(typed, ['ls\n']);
});

test('a second caller is told that the console is taken', async () => {
  const server = await TcpConsole.listen('127.0.0.1:0', async () => undefined);
  const first = connect(server.port, '127.0.0.1');
  await once(first, 'connect');
  const second = connect(server.port, '127.0.0.1');
  const [text] = await once(second, 'data');
  assert.match(String(text), /someone else is connected/);
  await server.close();
});

test('an address that is taken or makes no sense is refused', async () => {
  const server = await TcpConsole.listen('127.0.0.1:0', async () => undefined);
  const listen = (address: string) => TcpConsole.listen(address, async () => undefined);
  await assert.rejects(listen(`127.0.0.1:${server.port}`), { code: 'ADDRESS_IN_USE' });
  await assert.rejects(listen('nonsense'), { code: 'ADDRESS_BAD' });
  await assert.rejects(listen('127.0.0.1:99999'), { code: 'ADDRESS_BAD' });
  await assert.rejects(listen('192.0.2.1:4000'), { code: 'ADDRESS_UNAVAILABLE' });
  await server.close();
});
