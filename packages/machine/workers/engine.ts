// What a host's process imports that builds the processor's engine. It ends when it has done so: lifting the whole
// table leaves tens of megabytes behind, which no process should have that lives on.

export { buildEngine, compileEngine } from '@mimic/cpu';
