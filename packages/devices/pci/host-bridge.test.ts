import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PciBus, type PciConnection } from './bus.ts';
import { ConfigSpace } from './config-space.ts';
import { HostBridge } from './host-bridge.ts';
import { Piix3Isa } from './piix3-isa.ts';
import { Piix4Pm } from './piix4-pm.ts';

function lines() {
  const levels = [false, false, false, false];
  const line = (index: number) => ({
    set: (high: boolean) => {
      levels[index] = high;
    },
  });
  return { levels, pirqs: [line(0), line(1), line(2), line(3)] as const };
}

function fixture() {
  const { levels, pirqs } = lines();
  const events: string[] = [];
  const bus = new PciBus({ pirqs, mappingChanged: () => {} });
  const isa = bus.add(
    { device: 1 },
    () =>
      new Piix3Isa({
        routeChanged: (pirq, irq) => events.push(`pirq${pirq}->${irq}`),
      }),
  );
  const pm = bus.add(
    { device: 1, function: 3 },
    () => new Piix4Pm({ baseChanged: (port) => events.push(`pm@${port?.toString(16)}`) }),
  );
  const resetControl = {
    read: () => 0x06,
    write: (offset: number, size: number, value: number) => {
      events.push(`cf9 ${offset} ${size} ${value}`);
    },
  };
  const bridge = bus.add({ device: 0 }, () => new HostBridge({ bus, resetControl }));
  const select = (device: number, fn: number, register: number) =>
    bridge.ports.write(0, 4, 0x8000_0000 + ((device * 8 + fn) << 8) + register);
  return { bus, bridge, isa, pm, events, levels, select };
}

test('mechanism #1 reaches functions by dword, word and byte', () => {
  const { bridge, select } = fixture();
  select(0, 0, 0);
  assert.equal(bridge.ports.read(4, 4), 0x1237_8086);
  assert.equal(bridge.ports.read(6, 2), 0x1237);
  assert.equal(bridge.ports.read(7, 1), 0x12);
  select(1, 0, 0x0c);
  assert.equal(bridge.ports.read(6, 1), 0x80, 'the PIIX is a multi-function device');
  select(1, 3, 0);
  assert.equal(bridge.ports.read(4, 4), 0x7113_8086);
});

test('absent functions, other buses and a cleared enable bit read all ones', () => {
  const { bridge, select } = fixture();
  select(2, 0, 0);
  assert.equal(bridge.ports.read(4, 4), 0xffff_ffff);
  bridge.ports.write(0, 4, 0x8001_0000);
  assert.equal(bridge.ports.read(4, 2), 0xffff);
  bridge.ports.write(0, 4, 0);
  assert.equal(bridge.ports.read(4, 1), 0xff);
  select(0, 0, 0);
  assert.equal(bridge.ports.read(6, 4), 0xffff_ffff, 'beyond CONFIG_DATA');
});

test('CONFIG_ADDRESS takes dwords only and reads back without its reserved bits', () => {
  const { bridge } = fixture();
  bridge.ports.write(0, 4, 0xffff_ffff);
  assert.equal(bridge.ports.read(0, 4), 0x80ff_fffc);
  bridge.ports.write(0, 1, 0);
  bridge.ports.write(2, 2, 0);
  assert.equal(bridge.ports.read(0, 4), 0x80ff_fffc);
});

test('the byte at port CF9h is the reset control register', () => {
  const { bridge, events } = fixture();
  bridge.ports.write(1, 1, 0x06);
  assert.deepEqual(events, ['cf9 0 1 6']);
  assert.equal(bridge.ports.read(1, 1), 0x06);
  assert.equal(bridge.ports.read(0, 4), 0, 'and no part of CONFIG_ADDRESS');
});

test('PIRQ routes are told when they change and only to routable interrupts', () => {
  const { bridge, isa, events, select } = fixture();
  select(1, 0, 0x60);
  assert.equal(bridge.ports.read(4, 4), 0x8080_8080);
  bridge.ports.write(4, 4, 0x020b_800a);
  assert.deepEqual(events.splice(0), ['pirq0->10', 'pirq2->11']);
  assert.deepEqual(
    [0, 1, 2, 3].map((pirq) => isa.route(pirq)),
    [10, undefined, 11, undefined],
  );
  isa.reset();
  assert.deepEqual(events.splice(0), ['pirq0->undefined', 'pirq2->undefined']);
});

test('the PM block appears when its base is set and enabled', () => {
  const { pm, events } = fixture();
  pm.write(0x40, 4, 0x0000_b03f);
  assert.equal(pm.read(0x40, 4), 0xb001);
  assert.deepEqual(events, []);
  pm.write(0x80, 1, 1);
  assert.deepEqual(events.splice(0), ['pm@b000']);
  const state = pm.save();
  pm.reset();
  assert.deepEqual(events.splice(0), ['pm@undefined']);
  pm.restore(state);
  assert.deepEqual(events.splice(0), ['pm@b000']);
});

test('INTx pins rotate over the PIRQs and share them', () => {
  const { bus, levels } = fixture();
  const connections: PciConnection[] = [];
  const plug = (device: number) =>
    bus.add({ device }, (connection) => {
      connections.push(connection);
      const config = new ConfigSpace({ identity: { vendorId: 1, deviceId: 1, classCode: 0 } });
      return {
        kind: 'test',
        read: (offset, size) => config.read(offset, size),
        write: (offset, size, value) => config.write(offset, size, value),
        reset: () => config.reset(),
        save: () => config.save(),
        restore: () => {},
      };
    });
  plug(2); // INTA# is PIRQB.
  plug(6); // And so is this one's.
  connections[0]!.intx[0].set(true);
  connections[1]!.intx[0].set(true);
  assert.deepEqual(levels, [false, true, false, false]);
  connections[0]!.intx[0].set(false);
  connections[0]!.intx[0].set(false);
  assert.deepEqual(levels, [false, true, false, false], 'device 6 still holds it');
  connections[1]!.intx[0].set(false);
  connections[1]!.intx[3].set(true);
  assert.deepEqual(levels, [true, false, false, false]);
  assert.deepEqual(
    [...bus.functions()].map(({ device, function: fn }) => `${device}.${fn}`),
    ['0.0', '1.0', '1.3', '2.0', '6.0'],
  );
});

test('the host bridge saves its address register and configuration', () => {
  const { bridge, select } = fixture();
  select(1, 3, 0x40);
  bridge.write(0x59, 1, 0x30);
  const state = bridge.save();
  bridge.reset();
  assert.equal(bridge.ports.read(0, 4), 0);
  bridge.restore(state);
  assert.equal(bridge.ports.read(0, 4), 0x8000_0b40);
  assert.equal(bridge.read(0x59, 1), 0x30);
});
