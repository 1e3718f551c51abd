import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, TimerQueue } from './virtual-clock.ts';

function hostClock(startNs: number): { ns: number; readNs: () => number } {
  const host = { ns: startNs, readNs: () => host.ns };
  return host;
}

test('guest time starts at zero and leaves pauses out', () => {
  const host = hostClock(5000);
  const clock = new TimerQueue(host.readNs);
  host.ns += 100;
  assert.equal(clock.now(), 100);
  clock.pause();
  host.ns += 1000;
  assert.equal(clock.now(), 100);
  clock.resume();
  host.ns += 10;
  assert.equal(clock.now(), 110);
});

test('guest time never runs backwards when the host clock does', () => {
  const host = hostClock(1000);
  const clock = new TimerQueue(host.readNs);
  host.ns = 1500;
  assert.equal(clock.now(), 500);
  host.ns = 1200;
  assert.equal(clock.now(), 500);
});

test('expired timers run in the order of their deadlines, equal ones as armed', () => {
  const host = hostClock(0);
  const clock = new TimerQueue(host.readNs);
  const ran: string[] = [];
  const arm = (name: string, ns: number): void => clock.timer(() => ran.push(name)).arm(ns);
  arm('c', 30);
  arm('a', 10);
  arm('b1', 20);
  arm('b2', 20);
  arm('late', 50);
  host.ns = 30;
  assert.equal(clock.runExpired(), 4);
  assert.deepEqual(ran, ['a', 'b1', 'b2', 'c']);
  assert.equal(clock.nextDeadlineNs(), 50);
});

test('a timer armed in the past by a callback waits for the next run', () => {
  const host = hostClock(0);
  const clock = new TimerQueue(host.readNs);
  let runs = 0;
  const timer = clock.timer(() => {
    runs += 1;
    timer.arm(0);
  });
  timer.arm(0);
  assert.equal(runs, 0);
  clock.runExpired();
  assert.equal(runs, 1);
  clock.runExpired();
  assert.equal(runs, 2);
});

test('a timer cancelled or moved by an earlier callback of the same run does not expire', () => {
  const host = hostClock(0);
  const clock = new TimerQueue(host.readNs);
  const ran: string[] = [];
  const cancelled = clock.timer(() => ran.push('cancelled'));
  const moved = clock.timer(() => ran.push('moved'));
  const first = clock.timer(() => {
    cancelled.cancel();
    moved.arm(100);
  });
  first.arm(1);
  cancelled.arm(2);
  moved.arm(3);
  host.ns = 10;
  clock.runExpired();
  assert.deepEqual(ran, []);
  assert.equal(clock.nextDeadlineNs(), 100);
  assert.equal(cancelled.deadlineNs, undefined);
});

test('no timer runs while the clock is paused', () => {
  const host = hostClock(0);
  const clock = new TimerQueue(host.readNs);
  let runs = 0;
  clock.timer(() => (runs += 1)).arm(10);
  host.ns = 20;
  clock.pause();
  clock.runExpired();
  assert.equal(runs, 0);
  clock.resume();
  clock.runExpired();
  assert.equal(runs, 1);
});

test('a change of the next deadline is reported, another change is not', () => {
  const host = hostClock(0);
  let changes = 0;
  const clock = new TimerQueue(host.readNs, () => {
    changes += 1;
  });
  const early = clock.timer(() => {});
  const late = clock.timer(() => {});
  early.arm(10);
  assert.equal(changes, 1);
  late.arm(20);
  assert.equal(changes, 1);
  early.cancel();
  assert.equal(changes, 2);
});

test('a restored clock goes on from the saved time', () => {
  const host = hostClock(7000);
  const clock = new TimerQueue(host.readNs);
  clock.restore(123);
  assert.equal(clock.now(), 123);
  host.ns += 7;
  assert.equal(clock.now(), 130);
});

test('the manual clock stops at every deadline, also at those armed on the way', () => {
  const clock = new ManualClock();
  const times: number[] = [];
  const timer = clock.timer(() => {
    times.push(clock.now());
    timer.arm(clock.now() + 10);
  });
  timer.arm(10);
  clock.advance(35);
  assert.deepEqual(times, [10, 20, 30]);
  assert.equal(clock.now(), 35);
});

test('a jump of the manual clock expires a timer late and once', () => {
  const clock = new ManualClock();
  const times: number[] = [];
  clock.timer(() => times.push(clock.now())).arm(10);
  clock.jump(1000);
  assert.deepEqual(times, [1000]);
});
