import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PanicNews, PanicWatcher } from './panic.ts';

/** Pushes the text a few bytes at a time and returns the news in order. */
function watch(watcher: PanicWatcher, text: string): PanicNews[] {
  const bytes = new TextEncoder().encode(text);
  const news: PanicNews[] = [];
  for (let at = 0; at < bytes.length; at += 7) {
    const found = watcher.push(bytes.subarray(at, at + 7));
    if (found !== undefined) news.push(found);
  }
  return news;
}

const PANIC =
  '[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n';
const REASON = 'VFS: Unable to mount root fs on unknown-block(0,0)';

test('a panic is noticed with its reason, across any split of the output', () => {
  const watcher = new PanicWatcher();
  assert.deepEqual(watch(watcher, `hello\r\n${PANIC}more\r\n`), [
    { message: REASON, final: false },
  ]);
  assert.equal(watcher.message, REASON);
});

test('the end marker says that the kernel will hang', () => {
  const watcher = new PanicWatcher();
  const end = `[    1.3] ---[ end Kernel panic - not syncing: ${REASON} ]---\r\n`;
  assert.deepEqual(watch(watcher, PANIC + end), [
    { message: REASON, final: false },
    { message: REASON, final: true },
  ]);
});

test('an end marker alone is text that somebody printed', () => {
  const watcher = new PanicWatcher();
  assert.deepEqual(watch(watcher, '---[ end Kernel panic - not syncing: old ]---\r\n'), []);
});

test('an orderly restart or a new boot after the text takes it back', () => {
  const watcher = new PanicWatcher();
  watch(watcher, `${PANIC}[   60.1] reboot: Restarting system\r\n`);
  assert.equal(watcher.message, undefined);
  watch(watcher, PANIC);
  watcher.forget();
  assert.equal(watcher.message, undefined);
});

test('an endless line costs no memory', () => {
  const watcher = new PanicWatcher();
  const start = performance.now();
  for (let count = 0; count < 2000; count++) watcher.push(new Uint8Array(4096).fill(0x41));
  assert.ok(performance.now() - start < 5_000);
  assert.deepEqual(watch(watcher, `\n${PANIC}`).length, 1);
});
