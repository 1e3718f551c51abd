// Records the host processor's answers: node packages/cpu/isa/testing/x87/record.ts

import { writeFileSync } from 'node:fs';
import { runNative } from './native.ts';
import { RECORDED_PER_TARGET, RECORDING_FILE, recordedCases } from './recorded-cases.ts';
import { encode } from './recording.ts';

const cases = recordedCases();
const file = encode(cases, runNative(cases));
writeFileSync(RECORDING_FILE, file);
console.log(`${cases.length} cases, ${RECORDED_PER_TARGET} for each form, ${file.length} bytes`);
