// PCI functions for contract.test.ts: their registers are configuration space; what lies behind
// their BARs is reached by stimuli. The virtio devices have no RAM here, their rings are tested in
// virtio/.

import type { GuestMemory } from '@mimic/base';
import { type ContractCase, type Random, Recorder, RecordingLine } from '../contract-cases.ts';
import type { AccessSize } from '../device.ts';
import { VirtioBlock } from '../virtio/block.ts';
import { VirtioConsole } from '../virtio/console.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { VirtioFilesystem9p } from '../virtio/filesystem-9p.ts';
import { VirtioNet } from '../virtio/net.ts';
import { VirtioRng } from '../virtio/rng.ts';
import { TestFolder } from '../virtio/test-folder.ts';
import { VirtioPci } from '../virtio/transport-pci.ts';
import { PciBus } from './bus.ts';
import { CONFIG_SPACE_BYTES, type Registers } from './config-space.ts';
import { HostBridge } from './host-bridge.ts';
import { Piix3Isa } from './piix3-isa.ts';
import { Piix4Pm } from './piix4-pm.ts';

const NO_RAM: GuestMemory = {
  sizeBytes: 0,
  read: () => false,
  write: () => false,
  readU16: () => undefined,
  readU32: () => undefined,
  readU64: () => undefined,
  writeU16: () => false,
  writeU32: () => false,
  writeU64: () => false,
  view: () => undefined,
  written: () => {},
};

/** A few random accesses to a register block. */
function poke(registers: Registers, sizeBytes: number, random: Random): void {
  for (let count = 0; count < 8; count += 1) {
    const size = ([1, 2, 4] as const)[random(3)] as AccessSize;
    const offset = random(sizeBytes);
    if (random(2) === 0) registers.read(offset, size);
    else registers.write(offset, size, random(2) === 0 ? random(16) : random(2 ** (8 * size)));
  }
}

/** Reset, VERSION_1, FEATURES_OK, enable a queue, DRIVER_OK, notify: in the layout of the BAR. */
const TO_DRIVER_OK = [
  [0x14, 1, 0],
  [0x08, 4, 1],
  [0x0c, 4, 1],
  [0x14, 1, 11],
  [0x1c, 2, 1],
  [0x14, 1, 15],
  [0x3000, 2, 0],
] as const;

function virtioCase(makeDevice: (recorder: Recorder) => VirtioDevice): ContractCase {
  const { kind } = makeDevice(new Recorder());
  return {
    name: `${kind}-pci`,
    sizeBytes: CONFIG_SPACE_BYTES,
    create() {
      const recorder = new Recorder();
      const intx = new RecordingLine();
      let bar: Registers | undefined;
      const device = new VirtioPci({
        connection: {
          intx: [intx, intx, intx, intx],
          mappingChanged: (region, address) => {
            bar = address === undefined ? undefined : region.registers;
          },
        },
        device: makeDevice(recorder),
        memory: NO_RAM,
        msi: (address, data) => recorder.add([address, data]),
      });
      return {
        device,
        lines: { intx },
        observed: () => recorder.entries(),
        forget: () => recorder.forget(),
        stimulate: (random) => {
          device.write(0x10, 4, 0xfe00_0000);
          device.write(0x04, 2, 0x6 + 0x400 * random(2));
          poke(bar!, random(2) === 0 ? 0x38 : 0x8000, random);
          if (random(4) > 0) return;
          // Random writes do not get through the negotiation.
          for (const [offset, size, value] of TO_DRIVER_OK) bar!.write(offset, size, value);
        },
      };
    },
  };
}

export const PCI_CONTRACT_CASES: readonly ContractCase[] = [
  {
    name: 'i440fx',
    sizeBytes: CONFIG_SPACE_BYTES,
    create() {
      const line = new RecordingLine();
      const bus = new PciBus({ pirqs: [line, line, line, line], mappingChanged: () => {} });
      const device = bus.add({ device: 0 }, () => new HostBridge({ bus }));
      return {
        device,
        lines: {},
        observed: () => device.ports.read(0, 4),
        stimulate: (random) => poke(device.ports, 8, random),
      };
    },
  },
  {
    name: 'piix3-isa',
    sizeBytes: CONFIG_SPACE_BYTES,
    create() {
      const recorder = new Recorder();
      return {
        device: new Piix3Isa({ routeChanged: (pirq, irq) => recorder.add([pirq, irq]) }),
        lines: {},
        observed: () => recorder.entries(),
        forget: () => recorder.forget(),
      };
    },
  },
  {
    name: 'piix4-pm',
    sizeBytes: CONFIG_SPACE_BYTES,
    create() {
      const recorder = new Recorder();
      return {
        device: new Piix4Pm({ baseChanged: (port) => recorder.add(port) }, { base: 0x600 }),
        lines: {},
        observed: () => recorder.entries(),
        forget: () => recorder.forget(),
      };
    },
  },
  virtioCase(
    () =>
      new VirtioBlock({
        sizeBytes: 0x1_0000,
        readOnly: false,
        serial: 'contract',
        read: (_offset, _into, done) => done(),
        write: (_offset, _from, done) => done(),
        flush: (done) => done(),
      }),
  ),
  virtioCase((out) => new VirtioConsole([{ out }, { name: 'port', out }], { cols: 80, rows: 25 })),
  virtioCase(
    () => new VirtioFilesystem9p({ folder: new TestFolder(), tag: 'tag', nowMs: () => 0 }),
  ),
  virtioCase(() => new VirtioRng((bytes) => bytes.fill(1))),
  virtioCase(
    (recorder) =>
      new VirtioNet(
        { send: (frame) => recorder.write(frame) },
        { mac: new Uint8Array(6), mtu: 1500 },
      ),
  ),
];
