import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type InterruptMessage, ManualClock } from '@mimic/base';
import { InterruptBus } from './interrupt-bus.ts';
import { LocalApic } from './local-apic.ts';
import { PERIOD_MIN_NS } from './timer.ts';

/** A machine of local APICs on one bus, with a log of what they tell their processors. */
function machine(count = 1) {
  const clock = new ManualClock();
  const bus = new InterruptBus();
  const log: string[] = [];
  const apics = Array.from({ length: count }, (_, n): LocalApic => {
    const say = (what: string) => log.push(count > 1 ? `${n}:${what}` : what);
    const apic: LocalApic = new LocalApic(
      {
        clock,
        // A time-stamp counter of 2 GHz.
        tsc: { toNs: (tsc) => Number(tsc) / 2 },
        ipis: bus.sinkFor(n),
        pendingChanged: (isPending) => say(isPending ? 'pending' : 'idle'),
        endOfInterrupt: (vector) => say(`eoi ${vector}`),
        nmi: () => say('nmi'),
        smi: () => say('smi'),
        init: () => {
          say('init');
          apic.init();
        },
        startUp: (vector) => say(`sipi ${vector}`),
        acknowledgeExternal: () => 0x30,
      },
      { id: n, isBootstrap: n === 0, timerHz: 1_000_000_000, physicalAddressBits: 40 },
    );
    bus.attach(apic);
    return apic;
  });
  return { clock, bus, log, apics, apic: apics[0]! };
}

function enabled(count = 1) {
  const m = machine(count);
  for (const apic of m.apics) apic.write(0xf0, 4, 0x1ff);
  return m;
}

function x2apic(count = 1) {
  const m = enabled(count);
  for (const apic of m.apics) assert.equal(apic.writeBase(apic.readBase() | 0x400n), true);
  return m;
}

const fixed = (vector: number, rest: Partial<InterruptMessage> = {}): InterruptMessage => ({
  destination: 0, logical: false, deliveryMode: 0, vector, level: false, ...rest,
}); // biome-ignore format: one message

test('registers after power-up are those of SDM vol 3A §11.4.7.1', () => {
  const { apic } = machine();
  const expected: readonly [number, number][] = [
    [0x20, 0], [0x30, 0x50014], [0x80, 0], [0xa0, 0], [0xd0, 0], [0xe0, 0xffff_ffff], [0xf0, 0xff],
    [0x320, 0x10000], [0x350, 0x10000], [0x360, 0x10000], [0x370, 0x10000], [0x380, 0], [0x3e0, 0],
  ]; // biome-ignore format: register and value
  for (const [offset, value] of expected) assert.equal(apic.read(offset, 4), value, `${offset}`);
  assert.equal(apic.readBase(), 0xfee0_0900n);
  assert.equal(apic.mappedAt, 0xfee0_0000);
});

test('the highest vector is delivered first, and lower ones only after its EOI', () => {
  const { apic, bus, log } = enabled();
  bus.send(fixed(0x41));
  bus.send(fixed(0x52));
  assert.equal(apic.acknowledge(), 0x52);
  assert.equal(apic.acknowledge(), -1);
  assert.equal(apic.read(0xa0, 4), 0x50);
  assert.equal(apic.read(0x120, 4), 1 << 18);
  assert.equal(apic.read(0x220, 4), 1 << 1);
  apic.write(0xb0, 4, 0);
  assert.equal(apic.acknowledge(), 0x41);
  assert.deepEqual(log, ['pending', 'idle', 'pending', 'idle']);
});

test('a vector of the class that is in service waits, one of a higher class interrupts', () => {
  const { apic, bus } = enabled();
  bus.send(fixed(0x51));
  assert.equal(apic.acknowledge(), 0x51);
  bus.send(fixed(0x5f));
  assert.equal(apic.isInterruptPending, false);
  bus.send(fixed(0x60));
  assert.equal(apic.acknowledge(), 0x60);
});

test('TPR and CR8 hold back vectors of their class and below', () => {
  const { apic, bus } = enabled();
  apic.cr8 = 5;
  assert.equal(apic.read(0x80, 4), 0x50);
  bus.send(fixed(0x5f));
  assert.equal(apic.isInterruptPending, false);
  apic.write(0x80, 4, 0x4f);
  assert.equal(apic.cr8, 4);
  assert.equal(apic.read(0xa0, 4), 0x4f);
  assert.equal(apic.acknowledge(), 0x5f);
});

test('only level-triggered interrupts have their EOI broadcast', () => {
  const { apic, bus, log } = enabled();
  for (const level of [false, true]) {
    bus.send(fixed(0x33, { level }));
    assert.equal(apic.read(0x190, 4), level ? 1 << 19 : 0);
    apic.acknowledge();
    apic.write(0xb0, 4, 0);
  }
  assert.deepEqual(
    log.filter((line) => line.startsWith('eoi')),
    ['eoi 51'],
  );
});

test('a software-disabled APIC masks its LVT and takes NMI and INIT, but no vectors', () => {
  const { apic, bus, log } = enabled();
  apic.write(0x320, 4, 0x30);
  apic.write(0xf0, 4, 0xff);
  assert.equal(apic.read(0x320, 4), 0x10030);
  apic.write(0x320, 4, 0x30);
  assert.equal(apic.read(0x320, 4), 0x10030);
  bus.send(fixed(0x40));
  bus.send(fixed(0, { deliveryMode: 4 }));
  bus.send(fixed(0, { deliveryMode: 5 }));
  assert.deepEqual(
    log.filter((line) => line !== 'idle'),
    ['nmi', 'init'],
  );
});

test('the one-shot timer counts down at the divided rate and fires once', () => {
  const { apic, clock } = enabled();
  apic.write(0x3e0, 4, 0b0011); // divide by 16
  apic.write(0x320, 4, 0xec);
  apic.write(0x380, 4, 1000);
  clock.advance(8000);
  assert.equal(apic.read(0x390, 4), 500);
  clock.advance(7999);
  assert.equal(apic.isInterruptPending, false);
  clock.advance(1);
  assert.equal(apic.acknowledge(), 0xec);
  assert.equal(apic.read(0x390, 4), 0);
  apic.write(0xb0, 4, 0);
  clock.advance(1_000_000);
  assert.equal(apic.isInterruptPending, false);
});

test('divide values are those of figure 11-10', () => {
  const divisors: readonly [number, number][] = [
    [0b0000, 2], [0b0001, 4], [0b0010, 8], [0b0011, 16], [0b1000, 32], [0b1001, 64], [0b1010, 128], [0b1011, 1],
  ]; // biome-ignore format: code and divisor
  for (const [code, divisor] of divisors) {
    const { apic, clock } = enabled();
    apic.write(0x3e0, 4, code);
    apic.write(0x380, 4, 1000);
    clock.advance(100 * divisor);
    assert.equal(apic.read(0x390, 4), 900, `${code}`);
  }
});

test('the periodic timer keeps its phase when the host is late', () => {
  const { apic, clock } = enabled();
  apic.write(0x3e0, 4, 0b1011);
  apic.write(0x320, 4, 0x200ec);
  apic.write(0x380, 4, 100_000);
  clock.jump(350_000);
  assert.equal(apic.acknowledge(), 0xec);
  apic.write(0xb0, 4, 0);
  assert.equal(apic.read(0x390, 4), 50_000);
  clock.advance(50_000);
  assert.equal(apic.acknowledge(), 0xec);
});

test('a periodic timer cannot run faster than its limit', () => {
  const { apic, clock } = enabled();
  apic.write(0x3e0, 4, 0b1011);
  apic.write(0x320, 4, 0x200ec);
  apic.write(0x380, 4, 1);
  clock.advance(1);
  const before = clock.nextDeadlineNs()!;
  assert.equal(before - clock.now(), PERIOD_MIN_NS);
});

test('the TSC deadline fires at its time, reads 0 afterwards, and only exists in its mode', () => {
  const { apic, clock } = enabled();
  apic.tscDeadline = 2000n;
  assert.equal(apic.tscDeadline, 0n);
  apic.write(0x320, 4, 0x400ec);
  apic.tscDeadline = 2000n;
  apic.write(0x380, 4, 5);
  assert.equal(apic.read(0x380, 4), 0);
  assert.equal(apic.tscDeadline, 2000n);
  clock.advance(999);
  assert.equal(apic.isInterruptPending, false);
  clock.advance(1);
  assert.equal(apic.acknowledge(), 0xec);
  assert.equal(apic.tscDeadline, 0n);
  apic.tscDeadline = 9000n;
  apic.write(0x320, 4, 0xec);
  assert.equal(apic.tscDeadline, 0n);
  assert.equal(clock.nextDeadlineNs(), undefined);
});

test('a masked timer runs without interrupting', () => {
  const { apic, clock } = enabled();
  apic.write(0x320, 4, 0x100ec);
  apic.write(0x380, 4, 10);
  clock.advance(1000);
  assert.equal(apic.isInterruptPending, false);
});

test('logical destinations match in the flat and in the cluster model', () => {
  const { apic } = enabled();
  const logical = (destination: number) =>
    apic.matches(fixed(0x40, { destination, logical: true }));
  apic.write(0xd0, 4, 0x0400_0000);
  assert.deepEqual([4, 5, 3, 0xff].map(logical), [true, true, false, true]);
  apic.write(0xe0, 4, 0x0fff_ffff);
  apic.write(0xd0, 4, 0x2100_0000);
  assert.deepEqual([0x21, 0x23, 0x22, 0x31, 0xff].map(logical), [true, true, false, false, true]);
});

test('in x2APIC mode the logical id follows from the id', () => {
  const { apics } = x2apic(3);
  assert.equal(apics[2]!.readMsr(0x80d), 4n);
  const hit = (destination: number) =>
    apics.map((a) => a.matches(fixed(0x40, { destination, logical: true })));
  assert.deepEqual(hit(0x0000_0006), [false, true, true]);
  assert.deepEqual(hit(0x0001_0007), [false, false, false]);
  assert.deepEqual(hit(0xffff_ffff), [true, true, true]);
});

const IPI_CASES: readonly [string, number, number, string[]][] = [
  ['physical', 1 << 24, 0x4041, ['1:pending']],
  ['broadcast', 0xff00_0000, 0x4041, ['0:pending', '1:pending', '2:pending']],
  ['self', 0, 0x4_4041, ['0:pending']],
  ['all', 0, 0x8_4041, ['0:pending', '1:pending', '2:pending']],
  ['others', 0, 0xc_4041, ['1:pending', '2:pending']],
  ['NMI to others', 0, 0xc_4400, ['1:nmi', '2:nmi']],
  ['INIT', 1 << 24, 0xc500, ['1:init', '1:idle']],
  ['INIT de-assert', 1 << 24, 0x8500, []],
  ['SIPI', 1 << 24, 0x4699, ['1:sipi 153']],
  ['reserved mode', 1 << 24, 0x4300, []],
];
for (const [name, high, low, expected] of IPI_CASES) {
  test(`an IPI reaches whom it is for: ${name}`, () => {
    const { apic, log } = enabled(3);
    apic.write(0x310, 4, high);
    apic.write(0x300, 4, low);
    assert.deepEqual(log, expected);
  });
}

test('lowest-priority delivery goes to the processor with the lowest priority that is enabled', () => {
  const { apics, bus, log } = enabled(3);
  apics[0]!.cr8 = 4;
  apics[1]!.cr8 = 2;
  apics[2]!.write(0xf0, 4, 0xff);
  bus.send(fixed(0x51, { destination: 0xff, deliveryMode: 1 }));
  assert.deepEqual(log, ['1:pending']);
});

test('errors show in ESR after a write to it, and raise the error interrupt', () => {
  const { apic, bus } = enabled();
  apic.write(0x370, 4, 0xfe);
  bus.send(fixed(3));
  assert.equal(apic.read(0x280, 4), 0);
  assert.equal(apic.acknowledge(), 0xfe);
  apic.write(0x300, 4, 0x4_4002);
  apic.read(0x40, 4);
  apic.write(0x280, 4, 0);
  assert.equal(apic.read(0x280, 4), 0xe0);
  apic.write(0x280, 4, 0);
  assert.equal(apic.read(0x280, 4), 0);
});

test('ExtINT on LINT0 follows the level of the PIC and takes its vector', () => {
  const { apic, log } = machine();
  apic.setLint0(true);
  assert.deepEqual(log, []);
  apic.setVirtualWireMode();
  assert.equal(apic.acknowledge(), 0x30);
  apic.setLint0(false);
  assert.deepEqual(log, ['pending', 'idle']);
  assert.equal(apic.acknowledge(), -1);
});

test('with the APIC disabled LINT0 is INTR and LINT1 is NMI', () => {
  const { apic, log } = machine();
  assert.equal(apic.writeBase(0xfee0_0000n), true);
  assert.equal(apic.mappedAt, undefined);
  apic.setLint0(true);
  apic.setLint1(true);
  assert.deepEqual(log.slice(-2), ['pending', 'nmi']);
  assert.equal(apic.acknowledge(), 0x30);
});

test('a level-triggered LINT pin that is still high asks again after EOI', () => {
  const { apic } = enabled();
  apic.write(0x350, 4, 0x8045);
  apic.setLint0(true);
  assert.equal(apic.acknowledge(), 0x45);
  assert.equal(apic.read(0x350, 4), 0xc045);
  apic.write(0xb0, 4, 0);
  assert.equal(apic.acknowledge(), 0x45);
  apic.setLint0(false);
  apic.write(0xb0, 4, 0);
  assert.equal(apic.acknowledge(), -1);
});

const BASE_CASES: readonly [string, bigint[], boolean][] = [
  ['xAPIC to x2APIC', [0xfee0_0c00n], true],
  ['x2APIC to xAPIC', [0xfee0_0c00n, 0xfee0_0800n], false],
  ['x2APIC to disabled', [0xfee0_0c00n, 0xfee0_0000n], true],
  ['disabled to x2APIC', [0xfee0_0000n, 0xfee0_0c00n], false],
  ['x2APIC without enable', [0xfee0_0400n], false],
  ['a reserved low bit', [0xfee0_0801n], false],
  ['an address beyond the physical width', [(1n << 40n) | 0x800n], false],
  ['another base', [0x1234_5800n], true],
];
for (const [name, writes, accepted] of BASE_CASES) {
  test(`IA32_APIC_BASE: ${name} ${accepted ? 'is accepted' : 'is #GP'}`, () => {
    const { apic } = machine();
    const results = writes.map((value) => apic.writeBase(value));
    assert.equal(results.at(-1), accepted);
    if (accepted) assert.equal(apic.readBase(), writes.at(-1)! | 0x100n);
  });
}

const MSR_WRITES: readonly [string, number, bigint, boolean][] = [
  ['TPR', 0x808, 0x20n, true],
  ['TPR with a reserved bit', 0x808, 0x100n, false],
  ['EOI of 0', 0x80b, 0n, true],
  ['EOI of 1', 0x80b, 1n, false],
  ['ESR of 1', 0x828, 1n, false],
  ['ID', 0x802, 0n, false],
  ['LDR', 0x80d, 0n, false],
  ['DFR', 0x80e, 0n, false],
  ['ICR high', 0x831, 0n, false],
  ['ICR with a reserved bit', 0x830, 0x10000n, false],
  ['timer LVT with a reserved bit', 0x832, 0x1000n, false],
  ['self IPI', 0x83f, 0x45n, true],
  ['a register that is not there', 0x840, 0n, false],
];
for (const [name, msr, value, accepted] of MSR_WRITES) {
  test(`x2APIC: writing ${name} ${accepted ? 'is accepted' : 'is #GP'}`, () => {
    assert.equal(x2apic().apic.writeMsr(msr, value), accepted);
  });
}

test('x2APIC registers are only there in x2APIC mode', () => {
  const { apic } = enabled();
  assert.equal(apic.readMsr(0x802), undefined);
  assert.equal(apic.writeMsr(0x808, 0n), false);
});

test('an x2APIC command has its destination in the upper half', () => {
  const { apic, log } = x2apic(2);
  assert.equal(apic.writeMsr(0x830, 0x1_0000_4041n), true);
  assert.deepEqual(log, ['1:pending']);
  assert.equal(apic.readMsr(0x830), 0x1_0000_4041n);
});

test('a restored APIC goes on where the saved one was', () => {
  const { apic, clock } = enabled();
  apic.write(0x3e0, 4, 0b1011);
  apic.write(0x320, 4, 0xec);
  apic.write(0x380, 4, 1000);
  clock.advance(400);
  apic.setLint1(true);
  const other = machine();
  other.clock.advance(400);
  other.apic.restore(structuredClone(apic.save()));
  assert.deepEqual(other.apic.save(), apic.save());
  assert.equal(other.apic.read(0x390, 4), 600);
  other.clock.advance(600);
  assert.equal(other.apic.acknowledge(), 0xec);
  assert.equal(apic.isInterruptPending, false);
});

test('INIT resets all but the base, and reset all of it', () => {
  const { apic } = x2apic();
  apic.writeMsr(0x808, 0x30n);
  apic.init();
  assert.equal(apic.mode, 'x2apic');
  assert.equal(apic.readMsr(0x808), 0n);
  assert.equal(apic.readMsr(0x80f), 0xffn);
  apic.reset();
  assert.equal(apic.mode, 'xapic');
});

test('any access a guest can make is answered', () => {
  const { apic } = enabled(1);
  for (let offset = 0; offset < 4096; offset++) {
    for (const size of [1, 2, 4] as const) {
      const value = apic.read(offset, size);
      assert.ok(value >= 0 && value < 2 ** (size * 8), `${offset}`);
      apic.write(offset, size, 0xffff_ffff);
    }
  }
});
