import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import { Recorder, RecordingLine } from './contract-cases.ts';
import { Uart16550 } from './uart16550.ts';

const DATA = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

interface Bench {
  clock: ManualClock;
  irq: RecordingLine;
  out: Recorder;
  uart: Uart16550;
  room: number;
}

function bench(): Bench {
  const clock = new ManualClock();
  const irq = new RecordingLine();
  const out = new Recorder();
  const roomAvailable = (): void => {
    made.room += 1;
  };
  const wires = { irq, out, clock, roomAvailable };
  const made: Bench = { clock, irq, out, uart: new Uart16550(wires), room: 0 };
  return made;
}

/** 115200 8N1. */
function program(uart: Uart16550, options: { fcr: number; ier: number }): void {
  uart.write(LCR, 1, 0x80);
  uart.write(DATA, 1, 1);
  uart.write(IER, 1, 0);
  uart.write(LCR, 1, 0x03);
  uart.write(FCR, 1, options.fcr);
  uart.write(IER, 1, options.ier);
}

function bytes(count: number, first = 0): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => first + index);
}

test('what is written goes out and the transmitter is empty again', () => {
  const { uart, out } = bench();
  for (const byte of [0x48, 0x69]) uart.write(DATA, 1, byte);
  assert.deepEqual(out.entries(), [0x48, 0x69]);
  assert.equal(uart.read(LSR, 1), 0x60);
});

test('the divisor lies behind DLAB', () => {
  const { uart, out } = bench();
  uart.write(LCR, 1, 0x83);
  uart.write(DATA, 2, 0x1234);
  assert.equal(uart.read(DATA, 2), 0x1234);
  uart.write(LCR, 1, 0x03);
  assert.equal(uart.read(IER, 1), 0);
  assert.deepEqual(out.entries(), []);
});

test('Linux finds a 16550A: IER, scratch, loopback of the modem lines, FIFOs', () => {
  const { uart } = bench();
  uart.write(IER, 1, 0xff);
  assert.equal(uart.read(IER, 1), 0x0f);
  uart.write(IER, 1, 0);
  uart.write(SCR, 1, 0xa5);
  assert.equal(uart.read(SCR, 1), 0xa5);
  uart.write(MCR, 1, 0x10 | 0x0a);
  assert.equal(uart.read(MSR, 1) & 0xf0, 0x90);
  uart.write(MCR, 1, 0);
  uart.write(FCR, 1, 0x01);
  assert.equal(uart.read(IIR, 1) >> 6, 3);
  uart.write(FCR, 1, 0x21);
  assert.equal(uart.read(IIR, 1) & 0x20, 0, 'no 64-byte FIFO of a 16750');
});

test('a received byte interrupts and reading it ends that', () => {
  const { uart, irq } = bench();
  program(uart, { fcr: 0, ier: 1 });
  assert.equal(uart.receive(bytes(1, 0x41)), 1);
  assert.equal(irq.high, true);
  assert.equal(uart.read(IIR, 1), 0x04);
  assert.equal(uart.read(LSR, 1), 0x61);
  assert.equal(uart.read(DATA, 1), 0x41);
  assert.equal(irq.high, false);
  assert.equal(uart.read(LSR, 1), 0x60);
});

test('THRE interrupt comes on enabling and after each byte, and clears when IIR is read', () => {
  const { uart, irq } = bench();
  program(uart, { fcr: 1, ier: 2 });
  assert.equal(irq.high, true);
  assert.equal(uart.read(IIR, 1), 0xc2);
  assert.equal(irq.high, false);
  assert.equal(uart.read(IIR, 1), 0xc1);
  uart.write(DATA, 1, 0x30);
  assert.equal(irq.high, true);
  uart.write(IER, 1, 0);
  assert.equal(irq.high, false);
  uart.write(IER, 1, 2);
  assert.equal(uart.read(IIR, 1), 0xc2);
});

test('reading IIR for a more urgent source leaves the THRE interrupt pending', () => {
  const { uart } = bench();
  program(uart, { fcr: 0, ier: 3 });
  uart.receive(bytes(1));
  assert.equal(uart.read(IIR, 1), 0x04);
  uart.read(DATA, 1);
  assert.equal(uart.read(IIR, 1), 0x02);
});

for (const [fcr, level] of [
  [0x01, 1],
  [0x41, 4],
  [0x81, 8],
  [0xc1, 14],
] as const) {
  test(`trigger level ${level} interrupts at ${level} bytes`, () => {
    const { uart, irq } = bench();
    program(uart, { fcr, ier: 1 });
    uart.receive(bytes(level - 1));
    assert.equal(irq.high, false);
    uart.receive(bytes(1));
    assert.equal(uart.read(IIR, 1), 0xc4);
    uart.read(DATA, 1);
    assert.equal(irq.high, false);
  });
}

test('bytes below the trigger level come by timeout after four characters', () => {
  const { uart, irq, clock } = bench();
  program(uart, { fcr: 0xc1, ier: 1 });
  uart.receive(bytes(3));
  clock.advance(340e3);
  assert.equal(irq.high, false);
  clock.advance(10e3);
  assert.equal(uart.read(IIR, 1), 0xcc);
  uart.read(DATA, 1);
  assert.equal(irq.high, false, 'a read restarts the timeout');
  clock.advance(350e3);
  assert.equal(irq.high, true);
});

test('without a clock the timeout comes at once', () => {
  const irq = new RecordingLine();
  const uart = new Uart16550({ irq, out: new Recorder() });
  program(uart, { fcr: 0xc1, ier: 1 });
  uart.receive(bytes(1));
  assert.equal(uart.read(IIR, 1), 0xcc);
});

test('receive takes what fits, and tells once the guest has emptied the FIFO', () => {
  const made = bench();
  const { uart } = made;
  program(uart, { fcr: 1, ier: 0 });
  assert.equal(uart.receive(bytes(20)), 16);
  for (let index = 0; index < 15; index += 1) uart.read(DATA, 1);
  assert.equal(made.room, 0);
  assert.equal(uart.read(DATA, 1), 15);
  assert.equal(made.room, 1);
  uart.receive(bytes(1));
  uart.read(DATA, 1);
  assert.equal(made.room, 1, 'nothing was refused this time');
});

test('without FIFOs one byte fits', () => {
  const { uart } = bench();
  assert.equal(uart.receive(bytes(5)), 1);
});

test('resetting the receiver FIFO drops its bytes and makes room', () => {
  const made = bench();
  program(made.uart, { fcr: 1, ier: 0 });
  made.uart.receive(bytes(17));
  made.uart.write(FCR, 1, 0x03);
  assert.equal(made.uart.read(LSR, 1) & 1, 0);
  assert.equal(made.room, 1);
});

test('in loopback sent bytes come back and nothing passes the pins', () => {
  const made = bench();
  const { uart, out } = made;
  program(uart, { fcr: 1, ier: 0 });
  uart.write(MCR, 1, 0x10);
  uart.write(DATA, 1, 0x55);
  assert.equal(uart.read(DATA, 1), 0x55);
  assert.deepEqual(out.entries(), []);
  assert.equal(uart.receive(bytes(1)), 0);
  uart.write(MCR, 1, 0);
  assert.equal(made.room, 1, 'leaving loopback reconnects the line');
});

test('too many bytes in loopback overrun, which LSR tells once', () => {
  const { uart, irq } = bench();
  program(uart, { fcr: 1, ier: 4 });
  uart.write(MCR, 1, 0x10);
  for (let index = 0; index < 17; index += 1) uart.write(DATA, 1, index);
  assert.equal(irq.high, true);
  assert.equal(uart.read(IIR, 1), 0xc6);
  assert.equal(uart.read(LSR, 1) & 0x02, 0x02);
  assert.equal(uart.read(LSR, 1) & 0x02, 0);
  assert.equal(irq.high, false);
  assert.equal(uart.read(DATA, 1), 0);
});

test('a break shows in LSR when its byte is next, and as FIFO error before', () => {
  const { uart } = bench();
  program(uart, { fcr: 1, ier: 4 });
  uart.receive(bytes(1, 0x61));
  uart.receiveBreak();
  assert.equal(uart.read(LSR, 1), 0xe1);
  assert.equal(uart.read(DATA, 1), 0x61);
  assert.equal(uart.read(LSR, 1), 0xf1);
  assert.equal(uart.read(DATA, 1), 0);
  assert.equal(uart.read(LSR, 1), 0x60);
});

test('a change of a modem line sets its delta and interrupts until MSR is read', () => {
  const { uart, irq } = bench();
  uart.write(IER, 1, 8);
  uart.setModem({ cts: false, dsr: true, ri: false, dcd: true });
  assert.equal(irq.high, true);
  assert.equal(uart.read(IIR, 1), 0x00);
  assert.equal(uart.read(MSR, 1), 0xa1);
  assert.equal(uart.read(MSR, 1), 0xa0);
  assert.equal(irq.high, false);
});

test('of the ring indicator only the trailing edge counts', () => {
  const { uart } = bench();
  uart.setModem({ cts: true, dsr: true, ri: true, dcd: true });
  assert.equal(uart.read(MSR, 1), 0xf0);
  uart.setModem({ cts: true, dsr: true, ri: false, dcd: true });
  assert.equal(uart.read(MSR, 1), 0xb4);
});
