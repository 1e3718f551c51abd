export { type AccessSize, allOnes, type Device } from './device.ts';
