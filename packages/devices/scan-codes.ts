// Scan codes of the PS/2 keyboard by KeyboardEvent.code (UI Events, W3C): sets 2 and 3 as the
// keyboard knows them, set 1 as the controller's translation of set 2. IBM PS/2 Hardware Interface
// Technical Reference, "Keyboards".

/**
 * A key's set 2 code (0xe0 in the high byte if it is an extended one) and its set 3 code; 0 is
 * none.
 */
type Codes = readonly [set2: number, set3: number];

/** Keys whose set 3 code is their set 2 code. */
// biome-ignore format: a table.
const SAME: Readonly<Record<string, number>> = {
  KeyA: 0x1c, KeyB: 0x32, KeyC: 0x21, KeyD: 0x23, KeyE: 0x24, KeyF: 0x2b, KeyG: 0x34,
  KeyH: 0x33, KeyI: 0x43, KeyJ: 0x3b, KeyK: 0x42, KeyL: 0x4b, KeyM: 0x3a, KeyN: 0x31,
  KeyO: 0x44, KeyP: 0x4d, KeyQ: 0x15, KeyR: 0x2d, KeyS: 0x1b, KeyT: 0x2c, KeyU: 0x3c,
  KeyV: 0x2a, KeyW: 0x1d, KeyX: 0x22, KeyY: 0x35, KeyZ: 0x1a,
  Digit1: 0x16, Digit2: 0x1e, Digit3: 0x26, Digit4: 0x25, Digit5: 0x2e,
  Digit6: 0x36, Digit7: 0x3d, Digit8: 0x3e, Digit9: 0x46, Digit0: 0x45,
  Backquote: 0x0e, Minus: 0x4e, Equal: 0x55, Backspace: 0x66, Space: 0x29, Tab: 0x0d,
  Enter: 0x5a, ShiftLeft: 0x12, ShiftRight: 0x59, BracketLeft: 0x54, BracketRight: 0x5b,
  Semicolon: 0x4c, Quote: 0x52, Comma: 0x41, Period: 0x49, Slash: 0x4a, IntlRo: 0x51,
  Numpad0: 0x70, Numpad1: 0x69, Numpad2: 0x72, Numpad3: 0x7a, Numpad4: 0x6b, Numpad5: 0x73,
  Numpad6: 0x74, Numpad7: 0x6c, Numpad8: 0x75, Numpad9: 0x7d, NumpadDecimal: 0x71,
};

// biome-ignore format: a table.
const DIFFERENT: Readonly<Record<string, Codes>> = {
  Escape: [0x76, 0x08], CapsLock: [0x58, 0x14], ControlLeft: [0x14, 0x11], AltLeft: [0x11, 0x19],
  ControlRight: [0xe014, 0x58], AltRight: [0xe011, 0x39],
  MetaLeft: [0xe01f, 0x8b], MetaRight: [0xe027, 0x8c], ContextMenu: [0xe02f, 0x8d],
  Backslash: [0x5d, 0x5c], IntlBackslash: [0x61, 0x13], IntlYen: [0x6a, 0x5d],
  KanaMode: [0x13, 0x87], Convert: [0x64, 0x86], NonConvert: [0x67, 0x85],
  F1: [0x05, 0x07], F2: [0x06, 0x0f], F3: [0x04, 0x17], F4: [0x0c, 0x1f],
  F5: [0x03, 0x27], F6: [0x0b, 0x2f], F7: [0x83, 0x37], F8: [0x0a, 0x3f],
  F9: [0x01, 0x47], F10: [0x09, 0x4f], F11: [0x78, 0x56], F12: [0x07, 0x5e],
  ScrollLock: [0x7e, 0x5f], NumLock: [0x77, 0x76], NumpadDivide: [0xe04a, 0x77],
  NumpadMultiply: [0x7c, 0x7e], NumpadSubtract: [0x7b, 0x84], NumpadAdd: [0x79, 0x7c],
  NumpadEnter: [0xe05a, 0x79],
  Insert: [0xe070, 0x67], Delete: [0xe071, 0x64], Home: [0xe06c, 0x6e], End: [0xe069, 0x65],
  PageUp: [0xe07d, 0x6f], PageDown: [0xe07a, 0x6d],
  ArrowUp: [0xe075, 0x63], ArrowDown: [0xe072, 0x60], ArrowLeft: [0xe06b, 0x61],
  ArrowRight: [0xe074, 0x6a],
  PrintScreen: [0xe07c, 0x57], Pause: [0xe17e, 0x62],
  AudioVolumeMute: [0xe023, 0], AudioVolumeDown: [0xe021, 0], AudioVolumeUp: [0xe032, 0],
  MediaTrackNext: [0xe04d, 0], MediaTrackPrevious: [0xe015, 0], MediaStop: [0xe03b, 0],
  MediaPlayPause: [0xe034, 0], MediaSelect: [0xe050, 0],
  LaunchMail: [0xe048, 0], LaunchApp1: [0xe040, 0], LaunchApp2: [0xe02b, 0],
  BrowserHome: [0xe03a, 0], BrowserSearch: [0xe010, 0], BrowserFavorites: [0xe018, 0],
  BrowserRefresh: [0xe020, 0], BrowserStop: [0xe028, 0], BrowserForward: [0xe030, 0],
  BrowserBack: [0xe038, 0],
  Power: [0xe037, 0], Sleep: [0xe03f, 0], WakeUp: [0xe05e, 0],
};

/** What the controller makes of a byte below 0x80 when it translates set 2 into set 1. */
// biome-ignore format: a table.
const SET_2_TO_1 = [
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
  0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
  0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
  0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
  0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
  0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
  0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
  0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
] as const;

/** Before a code: the key was released. Sets 2 and 3. */
export const BREAK_PREFIX = 0xf0;
const BREAK_SET_1 = 0x80;
const ALT_PRINT_SCREEN = 0x84;

export type ScanSet = 1 | 2 | 3;

/** What decides the codes of a key besides the key. */
export interface Modifiers {
  readonly shift: boolean;
  readonly control: boolean;
  readonly alt: boolean;
}

export function isKey(code: string): boolean {
  return Object.hasOwn(SAME, code) || Object.hasOwn(DIFFERENT, code);
}

/** The key's set 3 code, by which sets of keys are told apart; 0 is none. */
export function set3Code(code: string): number {
  return Object.hasOwn(SAME, code) ? SAME[code]! : (DIFFERENT[code]?.[1] ?? 0);
}

/**
 * The byte that the controller passes on for one byte of set 2; a prefix before it said `released`.
 */
export function translateByte(byte: number, released: boolean): number {
  let translated: number = SET_2_TO_1[byte] ?? byte;
  if (byte === 0x83) translated = 0x41;
  if (byte === ALT_PRINT_SCREEN) translated = 0x54;
  return released ? translated | BREAK_SET_1 : translated;
}

/** The bytes sent when the key goes down or up; none for a key that the set does not have. */
export function scanCodes(
  code: string,
  down: boolean,
  options: { set: ScanSet; modifiers: Modifiers },
): number[] {
  if (options.set === 3) {
    const single = set3Code(code);
    if (single === 0) return [];
    return down ? [single] : [BREAK_PREFIX, single];
  }
  const codes = set2Codes(code, down, options.modifiers);
  return options.set === 2 ? codes : toSet1(codes);
}

function set2Codes(code: string, down: boolean, modifiers: Modifiers): number[] {
  if (code === 'Pause') return pauseCodes(down, modifiers);
  if (code === 'PrintScreen') return printScreenCodes(down, modifiers);
  const set2 = Object.hasOwn(SAME, code) ? SAME[code]! : (DIFFERENT[code]?.[0] ?? 0);
  if (set2 === 0) return [];
  const prefix = set2 > 0xff ? [set2 >> 8] : [];
  return [...prefix, ...(down ? [] : [BREAK_PREFIX]), set2 & 0xff];
}

/** Pause sends everything when it goes down; with Control it is Break. */
function pauseCodes(down: boolean, modifiers: Modifiers): number[] {
  if (!down) return [];
  if (modifiers.control) return [0xe0, 0x7e, 0xe0, BREAK_PREFIX, 0x7e];
  return [0xe1, 0x14, 0x77, 0xe1, BREAK_PREFIX, 0x14, BREAK_PREFIX, 0x77];
}

/** Print Screen brings its own shift key along unless one is held; with Alt it is SysRq. */
function printScreenCodes(down: boolean, modifiers: Modifiers): number[] {
  if (modifiers.alt) return down ? [ALT_PRINT_SCREEN] : [BREAK_PREFIX, ALT_PRINT_SCREEN];
  if (modifiers.shift || modifiers.control) {
    return down ? [0xe0, 0x7c] : [0xe0, BREAK_PREFIX, 0x7c];
  }
  if (down) return [0xe0, 0x12, 0xe0, 0x7c];
  return [0xe0, BREAK_PREFIX, 0x7c, 0xe0, BREAK_PREFIX, 0x12];
}

function toSet1(codes: readonly number[]): number[] {
  const translated: number[] = [];
  let released = false;
  for (const byte of codes) {
    if (byte === BREAK_PREFIX) {
      released = true;
      continue;
    }
    translated.push(translateByte(byte, released));
    released = false;
  }
  return translated;
}
