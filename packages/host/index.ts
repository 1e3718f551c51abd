export { fileError, HostError, type HostErrorCode } from './errors.ts';
export { cacheFolder } from './node/cache-folder.ts';
export { type DiskOptions, openDiskImage } from './node/disk-image.ts';
export { openSharedFolder, type ShareOptions } from './node/host-folder.ts';
export { type NodeHostOptions, nodeHost } from './node/node-host.ts';
export { TcpConsole } from './node/tcp-console.ts';
export { Terminal } from './node/terminal.ts';
