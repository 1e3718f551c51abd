// What a host's worker imports that builds the processor's engine. It ends when it has done so: lifting the whole
// table leaves tens of megabytes behind, which no thread should have that lives on.

export { buildEngine, compileEngine } from '@mimic/cpu';
