// Makes test cases from the instruction table: sequences of one to a few instructions of given forms, with random
// registers, flags, x87 and SSE state and memory around them.

import type { TableForm } from '../../packages/cpu/interpreter/handlers.ts';
import { type Built, InstructionBuilder, isString, type Poke } from './encode.ts';
import type { PlacedForm } from './forms.ts';
import {
  CODE,
  CODE_BYTES_MAX,
  FX,
  MEMORY_BYTES,
  MEMORY_PARTS,
  PAGE,
  STACK,
  TEST,
} from './layout.ts';
import type { Random } from './random.ts';
import {
  isStackBig,
  SEGMENT_NAMES,
  segmentBase,
  WORLDS,
  type World,
  type WorldName,
} from './worlds.ts';

const VECTOR_SOURCE = /^(xmm|mmx|vsib)/;
const FLAG = { fixed: 2n, tf: 0x100n, if: 0x200n, df: 0x400n, arithmetic: 0x8d5n, ac: 0x4_0000n };

export interface TestCase {
  readonly world: WorldName;
  readonly forms: readonly TableForm[];
  /** What was encoded for each form. */
  readonly built: readonly Built[];
  /** struct test of runner.c. */
  readonly bytes: Uint8Array;
}

/** A sequence of instructions in one world, with a random state around it. */
export function generateCase(random: Random, placed: readonly PlacedForm[]): TestCase {
  const worldName = placed[0]!.world;
  const world: World = WORLDS[worldName];
  const forms = placed.map((p) => p.table);
  const bytes = new Uint8Array(TEST.size);
  const view = new DataView(bytes.buffer);
  const code: number[] = [];
  const offset = random.chance(10)
    ? PAGE - random.below(4 + 6 * forms.length)
    : 64 + random.below(2048);
  const built = forms.map((t) => {
    const made = new InstructionBuilder(random, t, world).build(CODE + offset + code.length);
    code.push(...made.bytes);
    return made;
  });
  code.push(0xcc);
  if (code.length > CODE_BYTES_MAX) throw new Error('the sequence is too long');
  bytes.set(code, TEST.code);
  view.setUint32(TEST.codeOffset, offset, true);
  view.setUint32(TEST.codeLength, code.length, true);
  view.setBigUint64(TEST.rip, BigInt(CODE + offset - segmentBase(world, 'cs')), true);
  fillSegments(view, world);
  fillRegisters(random, view, world, built);
  view.setBigUint64(TEST.rflags, initialFlags(random, forms), true);
  fillFx(random, view, forms);
  for (const b of built) for (const [n, words] of b.vectors) setVector(view, n, words);
  fillMemory(random, view);
  for (const b of built) for (const poke of b.pokes) applyPoke(bytes, poke);
  return { world: worldName, forms, built, bytes };
}

export function fillSegments(view: DataView, world: World): void {
  for (const [n, name] of SEGMENT_NAMES.entries())
    view.setUint16(TEST.selectors + 2 * n, world.selectors[name], true);
  view.setBigUint64(TEST.fsBase, BigInt(world.fsBase ?? 0), true);
  view.setBigUint64(TEST.gsBase, BigInt(world.gsBase ?? 0), true);
}

function fillRegisters(
  random: Random,
  view: DataView,
  world: World,
  built: readonly Built[],
): void {
  const asked = new Map(built.flatMap((b) => [...b.registers]));
  const width = world.bits === 64 ? 64 : 32;
  for (let n = 0; n < 16; n++) {
    const value =
      width === 32 && n >= 8 ? 0n : BigInt.asUintN(width, asked.get(n) ?? random.integer());
    view.setBigUint64(TEST.gpr + 8 * n, value, true);
  }
  const top = STACK + PAGE / 2 - 16 + 8 * random.below(8) - segmentBase(world, 'ss');
  // The upper half of ESP means nothing to a 16-bit stack, and stays.
  const high = isStackBig(world) ? 0n : random.u64() & 0xffff_0000n;
  const rsp = asked.get(4) ?? BigInt.asUintN(32, BigInt(top)) & (isStackBig(world) ? ~0n : 0xffffn);
  view.setBigUint64(TEST.gpr + 32, BigInt.asUintN(width, rsp | high), true);
}

function initialFlags(random: Random, forms: readonly TableForm[]): bigint {
  const df = forms.some(isString) && random.chance(30) ? FLAG.df : 0n;
  // INT1 raises the same exception as a step, and a step into a transfer tells nothing more.
  const tf = random.chance(4) && !forms.some((t) => t.instruction.name === 'INT1') ? FLAG.tf : 0n;
  const ac = random.chance(3) ? FLAG.ac : 0n;
  return (random.u64() & FLAG.arithmetic) | FLAG.fixed | FLAG.if | df | tf | ac;
}

export function fillFx(random: Random, view: DataView, forms: readonly TableForm[]): void {
  const fx = TEST.fx;
  const usesX87 = forms.some(
    (t) =>
      t.form.unit === 'x87' ||
      /^(D[89A-F]|9B)/.test(t.form.encoding) ||
      t.instruction.name.startsWith('FX'),
  );
  const usesMmx = forms.some((t) => t.form.operands.some((o) => o.source.startsWith('mmx')));
  const control = random.chance(60)
    ? 0x37f
    : random.chance(70)
      ? (random.u32() & 0xf00) | 0x7f
      : random.u32() & 0xf3f;
  view.setUint16(fx + FX.control, control | 0x40, true);
  const top = usesX87 || usesMmx ? random.below(8) : 0;
  const flags = usesX87 ? random.u32() & (random.chance(10) ? 0x473f : 0x4700) : 0;
  view.setUint16(fx + FX.status, (top << 11) | flags, true);
  const tags = usesX87 || usesMmx ? (random.chance(75) ? 0xff : random.below(256)) : 0;
  view.setUint8(fx + FX.tag, tags);
  const masks = random.chance(85) ? 0x1f80 : random.u32() & 0x1f80;
  const rounding = random.chance(60) ? 0 : random.below(4) << 13;
  const special = (random.chance(15) ? 0x40 : 0) | (random.chance(15) ? 0x8000 : 0);
  view.setUint32(fx + FX.mxcsr, masks | rounding | special | (random.u32() & 0x3f), true);
  for (let n = 0; n < 8; n++) {
    const value = usesX87 ? random.extended() : (0xffffn << 64n) | random.u64();
    view.setBigUint64(fx + FX.st + 16 * n, value & 0xffff_ffff_ffff_ffffn, true);
    view.setUint16(fx + FX.st + 16 * n + 8, Number(value >> 64n), true);
  }
  const usesVectors = forms.some((t) => t.form.operands.some((o) => VECTOR_SOURCE.test(o.source)));
  const fill = usesVectors ? random.below(4) : 3;
  for (let n = 0; n < 16; n++) {
    for (let half = 0; half < 2; half++) {
      const at = fx + FX.xmm + 16 * n + 8 * half;
      if (fill === 3) {
        view.setUint32(at, random.u32(), true);
        view.setUint32(at + 4, random.u32(), true);
      } else view.setBigUint64(at, vectorHalf(random, fill), true);
    }
    if (!usesVectors) continue;
    for (let half = 0; half < 2; half++)
      view.setBigUint64(TEST.ymm + 16 * n + 8 * half, vectorHalf(random, fill), true);
  }
}
/** Four 64-bit words of YMM n. */
function setVector(view: DataView, n: number, words: readonly bigint[]): void {
  words.forEach((word, i) => {
    const at = i < 2 ? TEST.fx + FX.xmm + 16 * n + 8 * i : TEST.ymm + 16 * n + 8 * (i - 2);
    view.setBigUint64(at, word, true);
  });
}

export function vectorHalf(random: Random, fill: number): bigint {
  if (fill === 0) return random.double();
  if (fill === 1) return random.single() | (random.single() << 32n);
  return random.integer();
}

/** Numbers of one kind at the edges, where operands lie; plain random bits elsewhere. */
function fillMemory(random: Random, view: DataView): void {
  const fill = random.below(4);
  for (let at = 0; at < MEMORY_BYTES; at += 4) view.setUint32(TEST.memory + at, random.u32(), true);
  if (fill === 3) return;
  for (let at = 0; at < MEMORY_BYTES; at += 8) {
    if (at < 128 || at >= 640) view.setBigUint64(TEST.memory + at, vectorHalf(random, fill), true);
  }
}

/** Bytes that lie in none of the parts are dropped. */
function applyPoke(bytes: Uint8Array, poke: Poke): void {
  poke.bytes.forEach((byte, n) => {
    const place = memoryPlace(poke.address + n);
    if (place !== undefined) bytes[TEST.memory + place] = byte;
  });
}
/** Index in a case's memory of a linear address, if it is kept. */
export function memoryPlace(linear: number): number | undefined {
  let at = 0;
  for (const part of MEMORY_PARTS) {
    if (linear >= part.address && linear < part.address + part.bytes)
      return at + linear - part.address;
    at += part.bytes;
  }
  return undefined;
}
