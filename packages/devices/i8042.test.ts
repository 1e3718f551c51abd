import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import { RecordingLine } from './contract-cases.ts';
import { I8042 } from './i8042.ts';

const DATA = 0;
const COMMAND = 4;

interface Bench {
  clock: ManualClock;
  keyboardIrq: RecordingLine;
  mouseIrq: RecordingLine;
  a20: boolean[];
  resets: number;
  rooms: number;
  device: I8042;
}

/** Both ports open with interrupts; `translate` as firmware leaves it. */
function bench(options: { mode?: number } = {}): Bench {
  const clock = new ManualClock();
  const keyboardIrq = new RecordingLine();
  const mouseIrq = new RecordingLine();
  const made: Bench = {
    clock,
    keyboardIrq,
    mouseIrq,
    a20: [],
    resets: 0,
    rooms: 0,
    device: new I8042({
      keyboardIrq,
      mouseIrq,
      clock,
      reset: () => {
        made.resets += 1;
      },
      a20: (enabled) => made.a20.push(enabled),
      keyRoomAvailable: () => {
        made.rooms += 1;
      },
    }),
  };
  made.device.write(COMMAND, 1, 0x60);
  made.device.write(DATA, 1, options.mode ?? 0x43);
  return made;
}

/**
 * Everything the output buffer gives, as the driver reads it: marked if it is from the aux port.
 */
function drain(device: I8042): string[] {
  const bytes: string[] = [];
  for (let count = 0; count < 64; count += 1) {
    const status = device.read(COMMAND, 1);
    if ((status & 1) === 0) break;
    const hex = device.read(DATA, 1).toString(16).padStart(2, '0');
    bytes.push(status & 0x20 ? `m${hex}` : hex);
  }
  return bytes;
}

function keyboard(device: I8042, ...bytes: number[]): string[] {
  for (const byte of bytes) device.write(DATA, 1, byte);
  return drain(device);
}

function mouse(device: I8042, ...bytes: number[]): string[] {
  const answers: string[] = [];
  for (const byte of bytes) {
    device.write(COMMAND, 1, 0xd4);
    device.write(DATA, 1, byte);
    answers.push(...drain(device));
  }
  return answers;
}

function controller(device: I8042, command: number): string[] {
  device.write(COMMAND, 1, command);
  return drain(device);
}

test('the controller and both ports pass their tests, and the command byte reads back', () => {
  const { device } = bench();
  assert.deepEqual(controller(device, 0xaa), ['55']);
  assert.deepEqual(controller(device, 0xab), ['00']);
  assert.deepEqual(controller(device, 0xa9), ['00']);
  assert.deepEqual(controller(device, 0x20), ['47'], 'with the system flag of the self test');
  assert.equal(device.read(COMMAND, 1) & 0x14, 0x14);
  assert.deepEqual(controller(device, 0xa4), ['f1']);
});

test('Linux finds the aux port: loopback, its interrupt, its bit in the mode', () => {
  const { device, mouseIrq } = bench();
  device.write(COMMAND, 1, 0xd3);
  device.write(DATA, 1, 0xa5);
  assert.equal(mouseIrq.high, true);
  assert.deepEqual(drain(device), ['ma5']);
  assert.equal(mouseIrq.high, false);
  controller(device, 0xa7);
  assert.deepEqual(controller(device, 0x20), ['63']);
  controller(device, 0xa8);
  assert.deepEqual(controller(device, 0x20), ['43']);
});

test('0xfe pulses reset, and so does the output port; other pulses do not', () => {
  const made = bench();
  made.device.write(COMMAND, 1, 0xfe);
  assert.equal(made.resets, 1);
  made.device.write(COMMAND, 1, 0xff);
  assert.equal(made.resets, 1);
  made.device.write(COMMAND, 1, 0xd1);
  made.device.write(DATA, 1, 0xfe);
  assert.equal(made.resets, 2);
});

test('the output port gates A20', () => {
  const { device, a20 } = bench();
  assert.deepEqual(controller(device, 0xd0), ['03']);
  device.write(COMMAND, 1, 0xd1);
  device.write(DATA, 1, 0xdd);
  assert.deepEqual(a20, [false]);
  device.write(COMMAND, 1, 0xdf);
  assert.deepEqual(a20, [false, true]);
});

test('the keyboard resets, identifies, echoes and asks again for what it does not know', () => {
  const { device } = bench({ mode: 0x03 });
  assert.deepEqual(keyboard(device, 0xff), ['fa', 'aa']);
  assert.deepEqual(keyboard(device, 0xf2), ['fa', 'ab', '83']);
  assert.deepEqual(keyboard(device, 0xee), ['ee']);
  assert.deepEqual(keyboard(device, 0xed, 0x07), ['fa', 'fa']);
  assert.deepEqual(keyboard(device, 0xf3, 0x00), ['fa', 'fa']);
  assert.deepEqual(keyboard(device, 0xf0, 0x00), ['fa', 'fa', '02']);
  assert.deepEqual(keyboard(device, 0x12), ['fe']);
});

test('translation turns the identification into what Linux knows as a translated keyboard', () => {
  const { device } = bench();
  assert.deepEqual(keyboard(device, 0xf2), ['fa', 'ab', '41']);
});

for (const [code, mode, down, up] of [
  ['KeyA', 0x43, '1e', '9e'],
  ['KeyA', 0x03, '1c', 'f0 1c'],
  ['ArrowUp', 0x43, 'e0 48', 'e0 c8'],
  ['ArrowUp', 0x03, 'e0 75', 'e0 f0 75'],
  ['F7', 0x43, '41', 'c1'],
  ['PrintScreen', 0x43, 'e0 2a e0 37', 'e0 b7 e0 aa'],
  ['Pause', 0x43, 'e1 1d 45 e1 9d c5', ''],
  ['ControlRight', 0x43, 'e0 1d', 'e0 9d'],
  ['NumpadEnter', 0x43, 'e0 1c', 'e0 9c'],
] as const) {
  const translated = mode & 0x40 ? 'translated' : 'as it is';
  test(`${code} ${translated} is ${down}, then ${up || 'nothing'}`, () => {
    const { device } = bench({ mode });
    assert.equal(device.pressKey(code, true), true);
    assert.equal(drain(device).join(' '), down);
    device.pressKey(code, false);
    assert.equal(drain(device).join(' '), up);
  });
}

test('Print Screen with Alt held is SysRq', () => {
  const { device } = bench();
  device.pressKey('AltLeft', true);
  drain(device);
  device.pressKey('PrintScreen', true);
  assert.deepEqual(drain(device), ['54']);
});

test('scan code sets 1 and 3 come from the keyboard itself', () => {
  const { device } = bench({ mode: 0x03 });
  keyboard(device, 0xf0, 0x01);
  device.pressKey('ArrowUp', true);
  device.pressKey('ArrowUp', false);
  assert.deepEqual(drain(device), ['e0', '48', 'e0', 'c8']);
  keyboard(device, 0xf0, 0x03);
  device.pressKey('ArrowUp', true);
  device.pressKey('ArrowUp', false);
  assert.deepEqual(drain(device), ['63', 'f0', '63']);
});

test('in set 3 single keys can be made not to send breaks', () => {
  const { device } = bench({ mode: 0x03 });
  assert.deepEqual(keyboard(device, 0xf0, 0x03, 0xfd, 0x1c, 0xf4), ['fa', 'fa', 'fa', 'fa', 'fa']);
  for (const code of ['KeyA', 'KeyB']) {
    device.pressKey(code, true);
    device.pressKey(code, false);
  }
  assert.deepEqual(drain(device), ['1c', '32', 'f0', '32']);
});

test('each byte is an interrupt edge of its own', () => {
  const { device, keyboardIrq } = bench();
  const before = keyboardIrq.rises;
  device.pressKey('ArrowUp', true);
  assert.equal(keyboardIrq.rises, before + 1);
  drain(device);
  assert.equal(keyboardIrq.rises, before + 2);
  assert.equal(keyboardIrq.high, false);
});

test('a held key repeats after half a second, 10.9 times a second, until it is released', () => {
  const { device, clock } = bench();
  device.pressKey('KeyA', true);
  device.pressKey('KeyA', true);
  assert.deepEqual(drain(device), ['1e'], 'the repetition of the host is not passed on');
  clock.advance(499e6);
  assert.deepEqual(drain(device), []);
  let repetitions = 0;
  for (let step = 0; step < 1000; step += 1) {
    clock.advance(1e6);
    repetitions += drain(device).length;
  }
  assert.ok(repetitions >= 10 && repetitions <= 12, `${repetitions} in a second`);
  device.pressKey('KeyA', false);
  drain(device);
  clock.advance(2e9);
  assert.deepEqual(drain(device), []);
});

test('repetitions do not pile up for a guest that does not read', () => {
  const { device, clock } = bench();
  device.pressKey('KeyA', true);
  clock.advance(60e9);
  assert.ok(drain(device).length <= 2);
});

test('a full buffer refuses a key, and says when there is room', () => {
  const made = bench();
  const { device } = made;
  let taken = 0;
  while (taken < 100 && device.pressKey(`Digit${taken % 10}`, taken % 20 < 10)) taken += 1;
  assert.ok(taken >= 12 && taken <= 17, `${taken} taken`);
  assert.equal(made.rooms, 0);
  drain(device);
  assert.equal(made.rooms, 1);
  assert.equal(device.pressKey('KeyZ', true), true);
});

test('a key pressed from the room callback comes after what is already on its way', () => {
  const clock = new ManualClock();
  let next = 0;
  const keys = ['KeyA', 'KeyB', 'KeyC', 'KeyD', 'KeyE', 'KeyF', 'KeyG', 'KeyH', 'KeyI', 'KeyJ'];
  const type = (): void => {
    while (next < 2 * keys.length) {
      const code = keys[next >> 1]!;
      if (!device.pressKey(code, next % 2 === 0)) return;
      next += 1;
    }
  };
  const device = new I8042({
    keyboardIrq: new RecordingLine(),
    mouseIrq: new RecordingLine(),
    clock,
    reset: () => {},
    a20: () => {},
    keyRoomAvailable: type,
  });
  device.write(COMMAND, 1, 0x60);
  device.write(DATA, 1, 0x43);
  type();
  const made = ['1e', '30', '2e', '20', '12', '21', '22', '23', '17', '24'];
  const expected = made.flatMap((hex) => [hex, (Number.parseInt(hex, 16) | 0x80).toString(16)]);
  assert.deepEqual(drain(device), expected);
});

test('a disabled keyboard keeps its keys until it is enabled', () => {
  const { device } = bench();
  device.write(COMMAND, 1, 0xad);
  device.pressKey('KeyA', true);
  assert.deepEqual(drain(device), []);
  device.write(COMMAND, 1, 0xae);
  assert.deepEqual(drain(device), ['1e']);
});

test('with scanning off keys are dropped', () => {
  const { device } = bench();
  keyboard(device, 0xf5);
  device.pressKey('KeyA', true);
  assert.deepEqual(drain(device), []);
  keyboard(device, 0xf4);
  device.pressKey('KeyB', true);
  assert.deepEqual(drain(device), ['30']);
});

test('an unknown key is refused', () => {
  const { device } = bench();
  assert.equal(device.pressKey('Unidentified', true), false);
  assert.equal(device.pressKey('constructor', true), false);
});

test('the mouse resets, identifies and reports its settings', () => {
  const { device } = bench();
  assert.deepEqual(mouse(device, 0xff), ['mfa', 'maa', 'm00']);
  assert.deepEqual(mouse(device, 0xf2), ['mfa', 'm00']);
  assert.deepEqual(mouse(device, 0xe8, 0x03, 0xf3, 0x28, 0xe7, 0xf4).length, 6);
  assert.deepEqual(mouse(device, 0xe9), ['mfa', 'm30', 'm03', 'm28']);
  assert.deepEqual(mouse(device, 0xe8, 0x09), ['mfa', 'mfc']);
});

test('the right sample rates make a wheel mouse, and then one with five buttons', () => {
  const { device } = bench();
  mouse(device, 0xf3, 200, 0xf3, 100, 0xf3, 80);
  assert.deepEqual(mouse(device, 0xf2), ['mfa', 'm03']);
  mouse(device, 0xf4);
  device.moveMouse({ dx: 1, dy: 0, wheel: -1, buttons: 0 });
  assert.deepEqual(drain(device), ['m08', 'm01', 'm00', 'mff']);
  mouse(device, 0xf3, 200, 0xf3, 200, 0xf3, 80);
  assert.deepEqual(mouse(device, 0xf2), ['mfa', 'm04']);
  device.moveMouse({ dx: 0, dy: 0, wheel: 0, buttons: 0x18 });
  assert.deepEqual(drain(device), ['m08', 'm00', 'm00', 'm30']);
});

test('motion is sent in nine bits with y upwards, and what does not fit follows', () => {
  const { device } = bench();
  mouse(device, 0xf4);
  device.moveMouse({ dx: -300, dy: 5, wheel: 0, buttons: 1 });
  assert.deepEqual(drain(device), ['m39', 'm01', 'mfb', 'm19', 'md3', 'm00']);
});

test('motion that the guest does not read is summed up, clicks are kept in order', () => {
  const { device } = bench();
  mouse(device, 0xf4);
  for (let step = 0; step < 100; step += 1) {
    device.moveMouse({ dx: 1, dy: 0, wheel: 0, buttons: 0 });
  }
  device.moveMouse({ dx: 0, dy: 0, wheel: 0, buttons: 1 });
  device.moveMouse({ dx: 0, dy: 0, wheel: 0, buttons: 0 });
  const packets = drain(device);
  assert.deepEqual(
    packets.filter((_, index) => index % 3 === 0),
    ['m08', 'm09', 'm08'],
  );
  const x = packets
    .filter((_, index) => index % 3 === 1)
    .map((hex) => Number.parseInt(hex.slice(1), 16));
  assert.equal(
    x.reduce((sum, step) => sum + step),
    100,
  );
});

test('remote mode sends on request only, wrap mode echoes', () => {
  const { device } = bench();
  mouse(device, 0xf0, 0xf4);
  device.moveMouse({ dx: 3, dy: 0, wheel: 0, buttons: 2 });
  assert.deepEqual(drain(device), []);
  assert.deepEqual(mouse(device, 0xeb), ['mfa', 'm0a', 'm03', 'm00']);
  assert.deepEqual(mouse(device, 0xee, 0x55, 0xec), ['mfa', 'm55', 'mfa']);
  assert.deepEqual(mouse(device, 0xeb), ['mfa', 'm0a', 'm00', 'm00']);
});

test('a mouse that is not enabled is silent', () => {
  const { device } = bench();
  device.moveMouse({ dx: 3, dy: 4, wheel: 1, buttons: 7 });
  assert.deepEqual(drain(device), []);
});

test('the controller memory beyond the command byte holds bytes', () => {
  const { device } = bench();
  device.write(COMMAND, 1, 0x65);
  device.write(DATA, 1, 0x77);
  assert.deepEqual(controller(device, 0x25), ['77']);
});
