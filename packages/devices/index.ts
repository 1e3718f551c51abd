export {
  ACPI_DISABLE,
  ACPI_ENABLE,
  ACPI_PM,
  AcpiPm,
  type AcpiPmState,
  type AcpiPmWires,
} from './acpi-pm.ts';
export { CoprocessorError, type CoprocessorErrorState } from './coprocessor-error.ts';
export { DebugPort } from './debug-port.ts';
export { type AccessSize, allOnes, type Device } from './device.ts';
export {
  HPET_BLOCK_ID,
  HPET_PERIOD_NS,
  HPET_ROUTES,
  HPET_TIMER_COUNT,
  Hpet,
  type HpetState,
  type HpetWires,
} from './hpet.ts';
export { I8042, type I8042State, type I8042Wires } from './i8042.ts';
export { IOAPIC_PINS, Ioapic, type IoapicState } from './ioapic.ts';
export {
  PciBus,
  type PciConnection,
  type PciFunction,
  type PciLocation,
  pirqOf,
} from './pci/bus.ts';
export {
  type BarRegion,
  COMMAND as PCI_COMMAND,
  CONFIG as PCI_CONFIG,
  ConfigSpace,
  type MappingChanged,
  type PciIdentity,
  type Registers,
} from './pci/config-space.ts';
export { HostBridge, type HostBridgeState } from './pci/host-bridge.ts';
export { type MsiWire, Msix, type MsixState } from './pci/msix.ts';
export { Piix3Isa, type Piix3IsaState, type Piix3IsaWires } from './pci/piix3-isa.ts';
export { Piix4Pm, type Piix4PmState, type Piix4PmWires } from './pci/piix4-pm.ts';
export { Pic8259, type PicState } from './pic8259.ts';
export { Pit8254, type PitState } from './pit8254.ts';
export { PostCode, type PostCodeState } from './post-code.ts';
export type { MouseMotion } from './ps2-mouse.ts';
export { registerWindow } from './register-window.ts';
export { ResetControl, type ResetControlState, type ResetControlWires } from './reset-control.ts';
export { CMOS_SIZE, RTC_CENTURY, Rtc, type RtcState, type RtcWires } from './rtc.ts';
export { type SpeakerTimer, SystemControlPort } from './system-control-port.ts';
export { type ModemLines, Uart16550, type UartState, type UartWires } from './uart16550.ts';
export {
  type BlockDone,
  type BlockError,
  type BlockStore,
  VirtioBlock,
} from './virtio/block.ts';
export {
  CONSOLE_PORTS_MAX,
  type ConsolePort,
  type ConsolePortOptions,
  VirtioConsole,
} from './virtio/console.ts';
export type { VirtioDevice, VirtioLink } from './virtio/device.ts';
export { type Filesystem9pOptions, VirtioFilesystem9p } from './virtio/filesystem-9p.ts';
export {
  type AttributeChange,
  ERRNO as FOLDER_ERRNO,
  type FileKind,
  type FileStatus,
  type FolderDone,
  type FolderEntry,
  type FolderError,
  type FolderErrorCode,
  type FolderPath,
  type HostFolder,
  type OpenFile,
  type OpenOptions,
} from './virtio/host-folder.ts';
export { type NetworkBackend, VirtioNet } from './virtio/net.ts';
export { type FillRandom, VirtioRng } from './virtio/rng.ts';
export { VirtioPci, type VirtioPciState } from './virtio/transport-pci.ts';
