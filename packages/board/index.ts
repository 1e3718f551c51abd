export { type Access, AddressSpace, type Mapping, type Target } from './address-space.ts';
export type { Board, BoardState, KernelFiles, Part } from './board.ts';
export { BootError, type BootErrorCode } from './boot/errors.ts';
export type { DescriptorTableState, ProcessorState, SegmentState } from './boot/image.ts';
export { BoardError, type BoardErrorCode } from './errors.ts';
export { Pc } from './pc.ts';
export { CPU_COUNT_MAX, type PcOptions, type SerialWires } from './pc-options.ts';
